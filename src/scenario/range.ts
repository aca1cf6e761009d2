import type { Problem } from '../core/problem.js';
import { formatQuantity, parseQuantity } from '../core/units.js';
import { parseScalar } from './check.js';
import type { Kind } from './field-kinds.js';
import { suggest } from './suggest.js';
import { fromData, type MapTree, type Tree } from './tree.js';

const KEYS = ['from', 'to', 'step', 'count', 'scale'] as const;
const VALUE_LIMIT = 100_000;
const COUNT: Extract<Kind, { type: 'number' }> = { type: 'number', rule: { integer: true, min: 2 } };

/** The values of `{from, to}` with one of step, count, scale: both ends included, ascending. */
export function rangeValues(tree: MapTree, field: Kind, path: string, problems: Problem[]): readonly Tree[] {
  const kind = inOwnDimension(field.type === 'either' ? field.scalar : field, tree);
  const refuse = (what: string, hint: string, at = tree.at): readonly Tree[] => {
    problems.push({ code: 'E-SPACE', ...at, path, what, hint });
    return [];
  };
  for (const [name, { key }] of tree.entries) {
    if ((KEYS as readonly string[]).includes(name)) continue;
    const guess = suggest(name, KEYS);
    problems.push({ code: 'E-FIELD', ...key, path: `${path}.${name}`, what: 'unknown field', hint: guess ? `did you mean '${guess}'?` : `a range has ${KEYS.join(', ')}` });
    return [];
  }
  if (kind.type !== 'number' && kind.type !== 'quantity') return refuse('a range needs a field with a number', 'write a list of values');
  const value = (name: string, of: typeof kind = kind): number | undefined => {
    const entry = tree.entries.get(name);
    return entry && readNumber(entry.value, of, `${path}.${name}`, problems);
  };
  if (!tree.entries.has('from') || !tree.entries.has('to')) return refuse('a range needs from and to', "write for example '{from: 1, to: 8, step: 1}'");
  const [from, to] = [value('from'), value('to')];
  const scaleTree = tree.entries.get('scale')?.value;
  const scale = scaleTree?.kind === 'scalar' ? scaleTree.value : undefined;
  if (from === undefined || to === undefined) return [];
  if (from > to) return refuse(`from is above to`, 'write the smaller end first');
  const given = ['step', 'count', 'scale'].filter((name) => tree.entries.has(name) && !(name === 'count' && scale === 'log'));
  const show = (number: number): string => (kind.type === 'quantity' ? formatQuantity(number, kind.dimension) : String(number));
  if (given.length !== 1) return refuse('a range needs one of step, count, scale', `for example 'step: ${show(from > 0 ? from : (to - from) / 4 || 1)}'`);
  const count = tree.entries.has('count') ? value('count', COUNT) : undefined;
  let numbers: readonly number[];
  switch (given[0]) {
    case 'step': {
      const step = value('step', kind.type === 'number' ? { type: 'number', rule: { above: 0 } } : { ...kind, positive: true });
      if (step === undefined) return [];
      if ((to - from) / step > VALUE_LIMIT) return refuse(`more than ${VALUE_LIMIT} values`, 'take a larger step');
      numbers = stepped(to, (index) => from + index * step);
      break;
    }
    case 'count':
      if (count === undefined) return [];
      if (count > VALUE_LIMIT) return refuse(`more than ${VALUE_LIMIT} values`, 'take fewer');
      numbers = Array.from({ length: count }, (_, index) => from + ((to - from) * index) / (count - 1));
      break;
    default:
      if (scale !== 'log2' && scale !== 'log') return refuse('scale is neither log2 nor log', "write 'scale: log2', or 'scale: log, count: 8'", scaleTree?.at);
      if (from <= 0) return refuse(`scale ${scale} cannot start at ${show(from)}`, 'start above 0');
      if (scale === 'log2') numbers = stepped(to, (index) => from * 2 ** index);
      else if (!tree.entries.has('count')) return refuse('scale log needs count', "add 'count: 8'");
      else if (count === undefined) return [];
      else if (count > VALUE_LIMIT) return refuse(`more than ${VALUE_LIMIT} values`, 'take fewer');
      else numbers = Array.from({ length: count }, (_, index) => from * (to / from) ** (index / (count - 1)));
  }
  const whole = kind.type === 'number' && kind.rule.integer === true;
  const exact = [...new Set(numbers.map((number) => (whole ? Math.round(number) : Number(number.toPrecision(12)))))];
  return exact.map((number) => fromData(kind.type === 'quantity' ? show(number) : number, tree.at));
}

/** The kind in the dimension that the range starts in, where it has two. */
function inOwnDimension(kind: Kind, { entries }: MapTree): Kind {
  const from = entries.get('from')?.value;
  if (kind.type !== 'quantity' || kind.other === undefined || from?.kind !== 'scalar') return kind;
  const { other, ...own } = kind;
  return parseQuantity(from.value, from.source, other).ok && from.value !== 0 ? { ...own, dimension: other } : own;
}

/** value(0), value(1), … (ascending) up to `to`, which is added when it is not hit. */
function stepped(to: number, value: (index: number) => number): number[] {
  const values: number[] = [];
  for (let index = 0; value(index) < to * (1 - 1e-12); index++) values.push(value(index));
  return [...values, to];
}

/** Reads one scalar of a numeric field; undefined after a problem. */
function readNumber(tree: Tree, kind: Extract<Kind, { type: 'number' | 'quantity' }>, path: string, problems: Problem[]): number | undefined {
  const parsed = tree.kind === 'scalar' ? parseScalar(tree.value, tree.source, kind) : null;
  if (parsed?.ok && typeof parsed.value === 'number') return parsed.value;
  const problem = parsed && !parsed.ok ? parsed : { code: 'E-TYPE', what: 'not a number', hint: 'write a number' };
  problems.push({ code: problem.code, ...tree.at, path, what: problem.what, ...(problem.hint ? { hint: problem.hint } : {}) });
  return undefined;
}
