import { readFileSync } from 'node:fs';
import { InputError } from './problem.js';

/** The text of a file. Throws `E-FILE`. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new InputError({ code: 'E-FILE', file: path, what: code === 'ENOENT' ? 'no such file' : `cannot be read (${code ?? message})`, hint: 'check the path' });
  }
}
