import { formatQuantity } from '../core/units.js';
import { asWrittenIn, besideFile } from './paths.js';
import { parsePolicyClasses, textOf } from './policy-classes.js';
import type { Reader } from './reader.js';
import type { OverloadSpec, QueueClasses, QueueSpec, RouterSpec } from './scenario.js';

/** Policies that count what their workers have still to do. */
const COUNTING: readonly RouterSpec['policy'][] = ['kv', 'recorded'];

/** A router with `router.queue`, `router.overload` and `router.affinity`. Source: spec router sections 5, 7.4 and 7.5. */
export function resolveAdmission(reader: Reader, router: RouterSpec, choiceOfWorkers: boolean, model: string | null = null): RouterSpec {
  const queue = resolveQueue(reader, router, model);
  const overload = resolveOverload(reader, router);
  const affinity = resolveAffinity(reader, router, choiceOfWorkers, queue !== undefined || overload !== undefined);
  return { ...router, ...queue, ...(overload ? { overload } : {}), ...(affinity ? { affinity } : {}) };
}

/** Says why fields that count prompt tokens would change nothing; false when they would not. */
function countsPrompts(reader: Reader, path: string, { policy, trackPrefillTokens }: RouterSpec): boolean {
  if (!COUNTING.includes(policy)) reader.unread(path, `policy ${policy} counts no prompt tokens`, 'remove it or set policy: kv');
  else if (!trackPrefillTokens) reader.unread(path, 'no prompt tokens are counted (track_prefill_tokens: false)', 'remove one of the two');
  return COUNTING.includes(policy) && trackPrefillTokens;
}

/** A log is followed whatever it says. */
function isRecorded(reader: Reader, path: string, { policy }: RouterSpec): boolean {
  if (policy === 'recorded') reader.unread(path, 'recorded choices are followed as they are', 'remove it');
  return policy === 'recorded';
}

function resolveQueue(reader: Reader, router: RouterSpec, model: string | null): Pick<RouterSpec, 'queue' | 'queueClasses'> | undefined {
  const path = 'router.queue';
  if (!reader.has(path) || reader.choice(path) === 'off' || !countsPrompts(reader, path, router)) return undefined;
  if (reader.has(`${path}.classes`)) {
    for (const name of ['threshold', 'policy']) reader.unread(`${path}.${name}`, 'each class of the file has its own', 'remove it, or classes');
    const queueClasses = resolveClasses(reader, `${path}.classes`, model);
    return queueClasses && { queueClasses };
  }
  const queue: QueueSpec = {
    policy: reader.choice<QueueSpec['policy']>(`${path}.policy`) ?? 'fcfs',
    threshold: reader.required(`${path}.threshold`, reader.number(`${path}.threshold`), 0, "add 'threshold: 1', a share of the token budget of a pass"),
  };
  return { queue };
}

/** The classes for the deployment's model; their file's own problems name it. */
function resolveClasses(reader: Reader, path: string, model: string | null): QueueClasses | undefined {
  const written = reader.text(path);
  if (written === undefined) return undefined;
  const file = besideFile(reader.file(path), written);
  const text = textOf(file);
  if (typeof text === 'string') return parsePolicyClasses(text, file, model, reader.problems) ?? undefined;
  reader.problem('E-FILE', path, `'${file}': ${text.reason}`, 'paths are relative to the file they stand in');
  return undefined;
}

function resolveOverload(reader: Reader, router: RouterSpec): OverloadSpec | undefined {
  const path = 'router.overload';
  if (!reader.has(path) || isRecorded(reader, path, router)) return undefined;
  const names = ['decode_blocks', 'prefill_tokens', 'prefill_fraction'] as const;
  if (!names.some((name) => reader.has(`${path}.${name}`))) reader.problem('E-MISSING', path, 'no limit is set', "add 'decode_blocks: 90%', 'prefill_tokens: 100000' or 'prefill_fraction: 4'");
  const prompts = names.slice(1).filter((name) => reader.has(`${path}.${name}`) && countsPrompts(reader, `${path}.${name}`, router));
  const limit = (name: (typeof names)[number]): number | undefined => (name === 'decode_blocks' || prompts.includes(name) ? reader.number(`${path}.${name}`) : undefined);
  const [decodeBlocks, prefillTokens, prefillFraction] = names.map(limit);
  if (decodeBlocks === undefined && prefillTokens === undefined && prefillFraction === undefined) return undefined;
  return {
    ...(decodeBlocks === undefined ? {} : { decodeBlocks }),
    ...(prefillTokens === undefined ? {} : { prefillTokens }),
    ...(prefillFraction === undefined ? {} : { prefillFraction }),
  };
}

function resolveAffinity(reader: Reader, router: RouterSpec, choiceOfWorkers: boolean, mayBeRefused: boolean): RouterSpec['affinity'] {
  const path = 'router.affinity';
  if (!reader.has(path) || isRecorded(reader, path, router)) return undefined;
  if (!choiceOfWorkers) {
    reader.unread(path, 'there is only one worker to choose', 'remove it or add replicas');
    return undefined;
  }
  if (router.policy === 'direct') {
    reader.unread(path, 'policy direct sends each request where it says', 'remove it or set another policy');
    return undefined;
  }
  const by = reader.choice(`${path}.by`) === 'sibling_group' ? { by: 'sibling_group' as const } : {};
  const ttlMs = reader.required(`${path}.ttl`, reader.number(`${path}.ttl`), 1, "add 'ttl: 10 min'");
  if (!mayBeRefused) reader.unread(`${path}.soft`, 'nothing keeps a session from its worker', 'remove it, or set router.queue or router.overload');
  return { ttlMs, soft: (mayBeRefused ? reader.boolean(`${path}.soft`) : undefined) ?? false, ...by };
}

/** The same as a file in `folder` says it. */
export function admissionData({ queue, queueClasses, overload, affinity }: RouterSpec, folder = '.'): Record<string, unknown> {
  return {
    ...(queueClasses ? { queue: { classes: asWrittenIn(folder, queueClasses.path) } } : {}),
    ...(queue ? { queue: { threshold: queue.threshold, policy: queue.policy } } : {}),
    ...(overload
      ? {
          overload: {
            ...(overload.decodeBlocks === undefined ? {} : { decode_blocks: overload.decodeBlocks }),
            ...(overload.prefillTokens === undefined ? {} : { prefill_tokens: overload.prefillTokens }),
            ...(overload.prefillFraction === undefined ? {} : { prefill_fraction: overload.prefillFraction }),
          },
        }
      : {}),
    ...(affinity ? { affinity: { ttl: formatQuantity(affinity.ttlMs, 'time'), by: affinity.by ?? 'session', ...(affinity.soft ? { soft: true } : {}) } } : {}),
  };
}
