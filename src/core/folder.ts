import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { InputError } from './problem.js';

const inProgress = new Set<string>();

/** Removes every unfinished output folder; for the interrupt handler. */
export function discardUnfinished(): void {
  for (const folder of inProgress) rmSync(folder, { recursive: true, force: true });
  inProgress.clear();
}

/** Throws `E-OUT` with `option` as its path when `target`, a file or folder, has no name or exists and may not be replaced. Call before long work. */
export function checkTarget(target: string, overwrite: boolean, option: string = '--out'): void {
  if (target === '') throw new InputError({ code: 'E-OUT', path: option, what: 'no name is given', hint: `write for example ${option} out/first` });
  if (existsSync(target) && !overwrite) {
    throw new InputError({ code: 'E-OUT', path: option, what: `'${target}' exists`, hint: `choose another ${option} or add --overwrite` });
  }
}

/**
 * `checkTarget` for an output folder. `--overwrite` replaces only what was written here before: an
 * empty folder or one with a meta.json, never the current folder, one around it, or a file.
 */
export function checkFolder(target: string, overwrite: boolean): void {
  checkTarget(target, overwrite);
  const path = resolve(target);
  let above = dirname(path);
  while (!existsSync(above)) above = dirname(above);
  if (!statSync(above).isDirectory()) throw new InputError({ code: 'E-OUT', path: '--out', what: `cannot make '${target}': '${above}' is a file`, hint: 'choose another --out' });
  if (!existsSync(path)) return;
  const here = `${process.cwd()}${sep}`.startsWith(path.endsWith(sep) ? path : `${path}${sep}`);
  const names = statSync(path).isDirectory() ? readdirSync(path) : null;
  if (!here && names !== null && (names.length === 0 || names.includes('meta.json'))) return;
  throw new InputError({ code: 'E-OUT', path: '--out', what: `'${target}' is no output folder of dynotwin`, hint: 'choose another --out; --overwrite replaces earlier output only' });
}

/**
 * Writes an output folder whole or not at all: `fill` writes into a temporary folder beside the
 * target, which takes the target's name at the end. Throws `E-OUT` (see `checkFolder`), `E-FILE`
 * when the place cannot be written, and what `fill` throws.
 */
export async function writeFolder(target: string, overwrite: boolean, fill: (folder: string) => Promise<void> | void): Promise<void> {
  checkFolder(target, overwrite);
  const path = resolve(target);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  const old = `${temporary}.old`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    mkdirSync(temporary);
  } catch (error) {
    throw unwritable(target, error, '--out');
  }
  inProgress.add(temporary);
  try {
    await fill(temporary);
    const replaced = existsSync(path);
    if (replaced) renameSync(path, old);
    renameSync(temporary, path);
    if (replaced) rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    inProgress.delete(temporary);
  }
}

function unwritable(target: string, error: unknown, option: string): InputError {
  const reason = error instanceof Error ? error.message : String(error);
  return new InputError({ code: 'E-FILE', path: option, what: `cannot write '${target}': ${reason}`, hint: `choose another ${option}` });
}

/** Writes one file whole or not at all. Throws `E-FILE` when the place cannot be written, with `option` as its path. */
export function writeFileWhole(target: string, content: string | Uint8Array, option: string = '--out'): void {
  const path = resolve(target);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  inProgress.add(temporary);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    if (existsSync(temporary)) rmSync(temporary);
    throw unwritable(target, error, option);
  } finally {
    inProgress.delete(temporary);
  }
}
