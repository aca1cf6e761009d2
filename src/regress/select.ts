import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { InputError } from '../core/problem.js';
import type { Gate } from '../scenario/gate.js';

/** A gate's own key, at the start of a line. */
const GATE_KEY = /^(["']?)gate\1\s*:/m;

/** Files as given, and the gate files in and below folders, by name. Throws `E-FILE` for what is not there. */
export function gateFiles(paths: readonly string[]): string[] {
  return [...new Set(paths.flatMap((path) => (path !== '-' && existsSync(path) && statSync(path).isDirectory() ? gatesIn(path) : [path])))];
}

function gatesIn(folder: string): string[] {
  const found = below(folder).filter((file) => /\.ya?ml$/.test(file) && GATE_KEY.test(readFileSync(file, 'utf8')));
  if (found.length > 0) return found;
  throw new InputError({ code: 'E-FILE', file: folder, what: 'no gate file in or below this folder', hint: "a gate file is YAML with 'gate:' at the start of a line" });
}

/** Files of a folder and those below, hidden ones and node_modules left out. */
function below(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !name.startsWith('.') && name !== 'node_modules');
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? below(path) : entry.isFile() ? [path] : [];
  });
}

/** Whether one of the changed files is a file of the gate, or lies in a folder that it names. */
export function isTouched({ files }: Gate, changed: readonly string[]): boolean {
  const paths = changed.map((path) => resolve(path));
  return files.some((file) => {
    const own = resolve(file);
    return paths.some((path) => path === own || path.startsWith(own.endsWith(sep) ? own : `${own}${sep}`));
  });
}
