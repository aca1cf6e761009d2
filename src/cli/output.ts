import { formatProblem, type Problem } from '../core/problem.js';

/** Formats every result command understands. */
export const FORMATS = ['table', 'json', 'csv', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** JSON text as every artefact writes it: indent 2, final newline. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Results go to stdout. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Warnings go to stderr, unless `--quiet`. */
export function printWarnings(warnings: readonly Problem[], quiet: boolean): void {
  if (quiet) return;
  for (const warning of warnings) process.stderr.write(`${formatProblem(warning)}\n`);
}
