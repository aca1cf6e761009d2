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

/** True when the value at a path of keys (also under `space`) names a file. */
export function namesFile(path: readonly string[], value: string): boolean {
  const field = (path[0] === 'space' ? path.slice(path[1] === 'branches' ? 3 : 1) : path).join('.');
  return field === 'workload.trace' || field === 'timing.path' || (field === 'deployment.model' && isModelPath(value));
}
