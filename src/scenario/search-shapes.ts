import type { Environment } from './environment.js';
import { besideFile, isModelPath } from './paths.js';
import type { EngineName } from './scenario.js';
import { expertLayout, shapeName, type Shape } from './shape.js';
import { treeAt, type MapTree, type Tree } from './tree.js';

/** Shapes that `shapes: auto` tries in `gpus` GPUs. */
export type ShapeSource = (gpus: number) => readonly Shape[];

/** Where nothing is known of the model: what a dense one could take. */
const PLAIN: readonly Shape[] = [1, 2, 4, 8].map((tp) => ({ tp, dp: 1, pp: 1 }));

/**
 * The shapes of every model, GPU and engine that a sweep names, in its base or as dimensions. One that a
 * candidate's own model or engine does not take is no legal candidate, which is judged there.
 */
export function shapeSource(base: MapTree, space: Tree, environment: Environment): ShapeSource {
  const named = (...paths: readonly string[]): readonly Tree[] => paths.flatMap((path) => [treeAt(base, path.split('.')), ...dimensionsAt(space, path)]).flatMap((tree) => (tree === undefined ? [] : tree.kind === 'list' ? tree.items : [tree]));
  const models = named('deployment.model').flatMap((tree) => {
    const value = text(tree);
    return value === null ? [] : [isModelPath(value) ? besideFile(tree.at.file, value) : value];
  });
  const hardware = named('deployment.hardware').flatMap((tree) => text(tree) ?? []);
  const engines = named('deployment.engine', 'deployment.engine.name').flatMap((tree) => text(tree)?.split('@')[0] ?? []).filter((name): name is EngineName => name === 'vllm' || name === 'sglang' || name === 'trtllm');
  return (gpus) => {
    const found = new Map<string, Shape>();
    for (const model of models.filter((name) => environment.hasModel(name))) {
      for (const gpu of hardware.filter((name) => environment.hasHardware(name))) {
        for (const engine of engines.length > 0 ? engines : (['vllm'] as const)) for (const shape of environment.shapes({ model, hardware: gpu, engine, gpus }).map(asWritten)) found.set(shapeName(shape), shape);
      }
    }
    return found.size > 0 ? [...found.values()] : PLAIN;
  };
}

/** Without degrees of experts that the rule gives to one rank: what models with and without experts have in common. */
function asWritten(shape: Shape): Shape {
  const { tp, dp, pp } = shape;
  return dp === 1 && expertLayout(shape).moeTp === tp ? { tp, dp, pp } : shape;
}

/** The domain of a path in a space and in its branches. */
function dimensionsAt(space: Tree, path: string): Tree[] {
  if (space.kind !== 'map') return [];
  const branches = space.entries.get('branches')?.value;
  const inside = branches?.kind === 'map' ? [...branches.entries.values()].flatMap(({ value }) => dimensionsAt(value, path)) : [];
  const own = space.entries.get(path)?.value;
  return own ? [own, ...inside] : inside;
}

function text(tree: Tree): string | null {
  return tree.kind === 'scalar' && typeof tree.value === 'string' ? tree.value : null;
}
