import type { Problem } from '../core/problem.js';
import { checkTree } from './check.js';
import { TOPOLOGY_FIELDS } from './fields.js';
import type { PoolSpec } from './scenario.js';
import type { Tree } from './tree.js';

/** One way to spend the GPUs on workers. */
export interface Layout {
  readonly mode: 'agg' | 'disagg';
  /** `2×tp2`, or `1×tp2 + 3×tp1` (prefill + decode). */
  readonly label: string;
  readonly pools: readonly { readonly role: PoolSpec['role']; readonly replicas: number; readonly tp: number }[];
}

interface Shapes {
  readonly agg: readonly number[];
  /** Prefill and decode sizes that may stand together. */
  readonly pairs: readonly (readonly [number, number])[];
}

/** Dense models: tensor-parallel sizes tried by `shapes: auto` (spec: perf-model section 4.3). */
const AUTO_SHAPES = [1, 2, 4, 8];

const MOST_LAYOUTS = 100_000;

/** Reads `topology {modes, gpus, shapes, fill}` into every layout within its GPUs; whether the model fits is judged per candidate. */
export function readTopology(tree: Tree, path: string, problems: Problem[]): readonly Layout[] {
  if (tree.kind !== 'map') {
    problems.push({ code: 'E-TYPE', ...tree.at, path, what: 'not a mapping', hint: "write '{modes: [agg, disagg], gpus: 8}'" });
    return [];
  }
  const found: Problem[] = [];
  const settings = checkTree(tree, TOPOLOGY_FIELDS, found);
  const gpus = settings.leaves.get('gpus');
  if (!gpus) found.push({ code: 'E-MISSING', ...tree.at, path: 'gpus', what: 'required', hint: "add 'gpus: 8'" });
  const shapes = readShapes(tree.entries.get('shapes')?.value, found);
  problems.push(...found.map((problem) => ({ ...problem, path: `${path}.${problem.path}` })));
  if (found.length > 0 || typeof gpus?.value !== 'number' || !shapes) return [];
  const modes = (settings.leaves.get('modes')?.value ?? ['agg', 'disagg']) as readonly Layout['mode'][];
  const layouts = listLayouts(gpus.value, shapes, modes, settings.leaves.get('fill')?.value !== 'any');
  if (layouts.length > MOST_LAYOUTS) {
    problems.push({ code: 'E-SPACE', ...gpus.at, path: `${path}.gpus`, what: `more than ${MOST_LAYOUTS} layouts of ${gpus.value} GPUs`, hint: "lower gpus, name fewer shapes or set 'fill: max'" });
    return [];
  }
  if (layouts.length === 0) {
    problems.push(
      modes.length === 0
        ? { code: 'E-SPACE', ...settings.leaves.get('modes')!.at, path: `${path}.modes`, what: 'an empty list', hint: 'write [agg, disagg]' }
        : { code: 'E-SPACE', ...gpus.at, path: `${path}.gpus`, what: `no layout fits ${gpus.value} GPUs`, hint: 'raise gpus or allow smaller shapes' },
    );
  }
  return layouts;
}

function readShapes(tree: Tree | undefined, problems: Problem[]): Shapes | null {
  if (tree === undefined || (tree.kind === 'scalar' && tree.value === 'auto')) return { agg: AUTO_SHAPES, pairs: AUTO_SHAPES.map((tp) => [tp, tp]) };
  const refuse = (at: Tree, what: string): null => {
    problems.push({ code: 'E-TYPE', ...at.at, path: 'shapes', what, hint: "write 'auto', '[tp1, tp2]' or '{prefill: [tp1], decode: [tp2]}'" });
    return null;
  };
  const list = (shapes: Tree): number[] | null => {
    if (shapes.kind !== 'list' || shapes.items.length === 0) return refuse(shapes, 'not a list of shapes');
    const sizes = shapes.items.map((item) => (item.kind === 'scalar' ? Number(/^tp([1-9]\d*)$/.exec(String(item.value))?.[1]) : NaN));
    const wrong = sizes.findIndex(Number.isNaN);
    return wrong < 0 ? [...new Set(sizes)] : refuse(shapes.items[wrong]!, 'not a shape such as tp4');
  };
  if (tree.kind !== 'map') {
    const sizes = list(tree);
    return sizes && { agg: sizes, pairs: sizes.map((tp) => [tp, tp]) };
  }
  const other = [...tree.entries.keys()].find((name) => name !== 'prefill' && name !== 'decode');
  const [prefill, decode] = [tree.entries.get('prefill'), tree.entries.get('decode')];
  if (other !== undefined || !prefill || !decode) return refuse(tree, 'not prefill and decode lists');
  const [prefills, decodes] = [list(prefill.value), list(decode.value)];
  if (!prefills || !decodes) return null;
  return { agg: [...new Set([...prefills, ...decodes])], pairs: prefills.flatMap((p) => decodes.map((d): [number, number] => [p, d])) };
}

function listLayouts(gpus: number, shapes: Shapes, modes: readonly Layout['mode'][], full: boolean): Layout[] {
  const layouts: Layout[] = [];
  const roomFor = (used: number, tp: number): boolean => used + tp <= gpus;
  if (modes.includes('agg')) {
    for (const tp of shapes.agg) {
      for (let n = 1; n * tp <= gpus; n++) {
        if (full && roomFor(n * tp, tp)) continue;
        layouts.push({ mode: 'agg', label: `${n}×tp${tp}`, pools: [{ role: 'agg', replicas: n, tp }] });
      }
    }
  }
  if (modes.includes('disagg')) {
    for (const [p, d] of shapes.pairs) {
      for (let n = 1; n * p + d <= gpus; n++) {
        for (let m = 1; n * p + m * d <= gpus; m++) {
          if (full && roomFor(n * p + m * d, Math.min(p, d))) continue;
          const pools = [{ role: 'prefill', replicas: n, tp: p }, { role: 'decode', replicas: m, tp: d }] as const;
          if (layouts.push({ mode: 'disagg', label: `${n}×tp${p} + ${m}×tp${d}`, pools }) > MOST_LAYOUTS) return layouts;
        }
      }
    }
  }
  return layouts;
}
