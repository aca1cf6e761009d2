import type { Problem } from '../core/problem.js';
import { checkTree } from './check.js';
import { TOPOLOGY_FIELDS } from './fields.js';
import type { PoolSpec } from './scenario.js';
import type { ShapeSource } from './search-shapes.js';
import { parseShape, shapeGpus, shapeName, type Shape } from './shape.js';
import type { Tree } from './tree.js';

/** One way to spend the GPUs on workers. */
export interface Layout {
  readonly mode: 'agg' | 'disagg';
  /** `2×tp2`, or `1×tp2 + 3×tp1` (prefill + decode). */
  readonly label: string;
  readonly pools: readonly { readonly role: PoolSpec['role']; readonly replicas: number; readonly shape: Shape }[];
}

interface Shapes {
  readonly agg: readonly Shape[];
  /** Prefill and decode shapes that may stand together. */
  readonly pairs: readonly (readonly [Shape, Shape])[];
}

const MOST_LAYOUTS = 100_000;

/** Reads `topology {modes, gpus, shapes, fill}` into every layout within its GPUs; whether the model fits is judged per candidate. */
export function readTopology(tree: Tree, path: string, auto: ShapeSource, problems: Problem[]): readonly Layout[] {
  if (tree.kind !== 'map') {
    problems.push({ code: 'E-TYPE', ...tree.at, path, what: 'not a mapping', hint: "write '{modes: [agg, disagg], gpus: 8}'" });
    return [];
  }
  const found: Problem[] = [];
  const settings = checkTree(tree, TOPOLOGY_FIELDS, found);
  const gpus = settings.leaves.get('gpus');
  if (!gpus) found.push({ code: 'E-MISSING', ...tree.at, path: 'gpus', what: 'required', hint: "add 'gpus: 8'" });
  const most = gpus?.value;
  const shapes = readShapes(tree.entries.get('shapes')?.value, () => auto(typeof most === 'number' ? most : 1), found);
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

function readShapes(tree: Tree | undefined, auto: () => readonly Shape[], problems: Problem[]): Shapes | null {
  if (tree === undefined || (tree.kind === 'scalar' && tree.value === 'auto')) return { agg: auto(), pairs: auto().map((shape) => [shape, shape]) };
  const refuse = (at: Tree, what: string): null => {
    problems.push({ code: 'E-TYPE', ...at.at, path: 'shapes', what, hint: "write 'auto', '[tp1, tp2]' or '{prefill: [tp1], decode: [tp2]}'" });
    return null;
  };
  const list = (shapes: Tree): Shape[] | null => {
    if (shapes.kind !== 'list' || shapes.items.length === 0) return refuse(shapes, 'not a list of shapes');
    const found = shapes.items.map((item) => (item.kind === 'scalar' ? parseShape(String(item.value)) : null));
    const wrong = found.indexOf(null);
    return wrong < 0 ? distinct(found.filter((shape) => shape !== null)) : refuse(shapes.items[wrong]!, 'not a shape such as tp4');
  };
  if (tree.kind !== 'map') {
    const shapes = list(tree);
    return shapes && { agg: shapes, pairs: shapes.map((shape) => [shape, shape]) };
  }
  const other = [...tree.entries.keys()].find((name) => name !== 'prefill' && name !== 'decode');
  const [prefill, decode] = [tree.entries.get('prefill'), tree.entries.get('decode')];
  if (other !== undefined || !prefill || !decode) return refuse(tree, 'not prefill and decode lists');
  const [prefills, decodes] = [list(prefill.value), list(decode.value)];
  if (!prefills || !decodes) return null;
  return { agg: distinct([...prefills, ...decodes]), pairs: prefills.flatMap((p) => decodes.map((d): [Shape, Shape] => [p, d])) };
}

function distinct(shapes: readonly Shape[]): Shape[] {
  return [...new Map(shapes.map((shape) => [shapeName(shape), shape])).values()];
}

function listLayouts(gpus: number, shapes: Shapes, modes: readonly Layout['mode'][], full: boolean): Layout[] {
  const layouts: Layout[] = [];
  const roomFor = (used: number, more: number): boolean => used + more <= gpus;
  if (modes.includes('agg')) {
    for (const shape of shapes.agg) {
      const size = shapeGpus(shape);
      for (let n = 1; n * size <= gpus; n++) {
        if (full && roomFor(n * size, size)) continue;
        layouts.push({ mode: 'agg', label: `${n}×${shapeName(shape)}`, pools: [{ role: 'agg', replicas: n, shape }] });
      }
    }
  }
  if (modes.includes('disagg')) {
    for (const [prefill, decode] of shapes.pairs) {
      const [p, d] = [shapeGpus(prefill), shapeGpus(decode)];
      for (let n = 1; n * p + d <= gpus; n++) {
        for (let m = 1; n * p + m * d <= gpus; m++) {
          if (full && roomFor(n * p + m * d, Math.min(p, d))) continue;
          const pools = [{ role: 'prefill', replicas: n, shape: prefill }, { role: 'decode', replicas: m, shape: decode }] as const;
          if (layouts.push({ mode: 'disagg', label: `${n}×${shapeName(prefill)} + ${m}×${shapeName(decode)}`, pools }) > MOST_LAYOUTS) return layouts;
        }
      }
    }
  }
  return layouts;
}
