import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';

const slashes = (path: string): string => path.split(sep).join('/');

/** `value` as written in `file`, made relative to the current folder like `file` itself; `/` separates on every platform. */
export function besideFile(file: string, value: string): string {
  const folder = file === '-' || file.startsWith('--set') ? '.' : dirname(file);
  return slashes(isAbsolute(value) ? value : join(folder, value));
}

/** How a file in `folder` writes `path`, which is relative to the current folder. */
export function asWrittenIn(folder: string, path: string): string {
  return slashes(relative(resolve(folder), resolve(path)));
}

/** True when a model is named by the path of its configuration. */
export function isModelPath(model: string): boolean {
  return model.endsWith('.json') || /^\.{0,2}\//.test(model);
}

/** What the path of a routing policy's module looks like. */
export const MODULE_PATH = /\.[cm]?[jt]s$/;

/** True when a routing policy is named by the path of its module. */
export function isModulePath(policy: string): boolean {
  return MODULE_PATH.test(policy);
}

/** True for words of a command that are paths (`./x`, `../x`, `/x`), not plain words. */
export const isCommandPath = (word: string): boolean => /^\.{0,2}\//.test(word);
/** Keeps a path in a command apart from plain words. */
const dotted = (path: string): string => (isCommandPath(path) ? path : `./${path}`);

/** A word of `router.exec`: a path becomes one relative to the current folder. */
export function commandWordBeside(file: string, word: string): string {
  return isCommandPath(word) ? dotted(besideFile(file, word)) : word;
}

/** How a file in `folder` writes a word of a command. */
export function commandWordIn(folder: string, word: string): string {
  return isCommandPath(word) ? dotted(asWrittenIn(folder, word)) : word;
}

/** True when the value at a path of keys (also under `space` and in a gate's cases) names a file. */
export function namesFile(path: readonly string[], value: string): boolean {
  const field = path.slice(headLength(path)).join('.');
  return field === 'workload.trace' || field === 'gate.baseline' || path.slice(0, 2).join('.') === 'gate.sources' || field === 'timing.path' || (field === 'deployment.model' && isModelPath(value)) || isRouterFile(field, value);
}

/** Keys before the path of a field: those of a dimension, or of a gate's case. */
function headLength(path: readonly string[]): number {
  if (path[0] === 'space') return path[1] === 'branches' ? 3 : 1;
  return path[0] === 'gate' && path[1] === 'cases' ? 3 : 0;
}

function isRouterFile(field: string, value: string): boolean {
  if (field === 'router.policy' || field === 'router') return isModulePath(value);
  return field === 'router.routes' || field === 'router.queue.classes' || (field === 'router.exec' && isCommandPath(value));
}

/** The value at a path of keys for which `namesFile` holds, relative to the current folder instead of `file`. */
export function localName(path: readonly string[], file: string, value: string): string {
  return path.at(-1) === 'exec' ? commandWordBeside(file, value) : besideFile(file, value);
}

/** Such a value as a file in `folder` writes it. */
export function writtenName(path: readonly string[], folder: string, value: string): string {
  return path.at(-1) === 'exec' ? commandWordIn(folder, value) : asWrittenIn(folder, value);
}
