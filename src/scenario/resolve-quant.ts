import type { Environment, QuantWish } from './environment.js';
import type { Reader } from './reader.js';
import type { EngineName, PoolSpec, Quant } from './scenario.js';

const QUANT_PARTS = ['weights', 'moe', 'attention', 'kv'] as const;
export type QuantPart = (typeof QUANT_PARTS)[number];

interface QuantQuestion {
  readonly reader: Reader;
  readonly environment: Environment;
  readonly role: PoolSpec['role'];
  readonly model: string;
  readonly hardware: string;
  readonly engine: EngineName;
  /** Whether anything depends on a part; why not, and what to do about it, where nothing does. */
  readonly reads: (part: QuantPart) => boolean;
  readonly why: string;
}

/** Where a part of a pool's precision is set: its own field, else the deployment's. */
function quantPath(reader: Reader, role: PoolSpec['role'], part: QuantPart): string {
  const own = `deployment.${role}.quant.${part}`;
  return reader.has(own) ? own : `deployment.quant.${part}`;
}

/**
 * The precision of one pool; undefined = the checkpoint's own. `weights` without `moe` is of the experts
 * as well. Parts that are `auto` count as read and set nothing.
 */
export function resolvePoolQuant({ reader, environment, role, model, hardware, engine, reads, why }: QuantQuestion): Quant | undefined {
  if (!QUANT_PARTS.some((part) => reader.has(quantPath(reader, role, part)))) return undefined;
  const mode = <T extends string>(part: QuantPart): T | undefined => {
    if (!reads(part)) {
      reader.unread(quantPath(reader, role, part), why, 'remove it');
      return undefined;
    }
    const value = reader.choice<T | 'auto'>(quantPath(reader, role, part));
    return value === 'auto' ? undefined : value;
  };
  const weights = mode<Quant['weights']>('weights');
  const experts = environment.hasExperts(model);
  const alone = reader.has(quantPath(reader, role, 'moe'));
  if (!experts && alone) reader.unread(quantPath(reader, role, 'moe'), `${model} has no experts`, 'remove it');
  const wish: QuantWish = { weights, moe: alone && experts ? mode<Quant['moe']>('moe') : weights, attention: mode<Quant['attention']>('attention'), kv: mode<Quant['kv']>('kv') };
  if (Object.values(wish).every((part) => part === undefined)) return undefined;
  const answer = environment.quant({ model, hardware, engine, wish });
  if (answer.ok) return answer.value;
  const part = answer.problem.field.split('.').at(-1) as QuantPart;
  const path = quantPath(reader, role, part);
  reader.problem(answer.problem.code, reader.has(path) ? path : quantPath(reader, role, 'weights'), answer.problem.what, answer.problem.hint);
  return undefined;
}
