import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, basename, resolve } from 'node:path';
import { InputError } from './problem.js';

const inProgress = new Set<string>();

/** Removes every unfinished output folder; for the interrupt handler. */
export function discardUnfinished(): void {
  for (const folder of inProgress) rmSync(folder, { recursive: true, force: true });
  inProgress.clear();
}

/** Throws `E-OUT` when `target` exists and may not be replaced. Call before long work. */
export function checkTarget(target: string, overwrite: boolean): void {
  if (existsSync(target) && !overwrite) {
    throw new InputError({ code: 'E-OUT', path: '--out', what: `'${target}' exists`, hint: 'choose another --out or add --overwrite' });
  }
}

/**
 * Writes an output folder whole or not at all: `fill` writes into a temporary folder beside the
 * target, which takes the target's name at the end.
 */
export async function writeFolder(target: string, overwrite: boolean, fill: (folder: string) => Promise<void> | void): Promise<void> {
  checkTarget(target, overwrite);
  const path = resolve(target);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  const old = `${temporary}.old`;
  mkdirSync(temporary, { recursive: true });
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
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError({ code: 'E-FILE', path: option, what: `cannot write '${target}': ${reason}`, hint: `choose another ${option}` });
  } finally {
    inProgress.delete(temporary);
  }
}
