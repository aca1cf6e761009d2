import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError, type Problem } from '../../src/core/problem.js';
import { WorkloadBuilder } from '../../src/workload/builder.js';
import type { BlockTable, Workload } from '../../src/workload/workload.js';

/** Writes a file into a fresh temporary folder; answers its path. */
export function temporaryFile(content: string | Uint8Array, name = 'trace.jsonl'): string {
  const path = join(mkdtempSync(join(tmpdir(), 'dynotwin-')), name);
  writeFileSync(path, content);
  return path;
}

/** The only problem of the InputError that the work must throw. */
export async function problemOf(work: () => unknown): Promise<Problem> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    if (error.problems.length !== 1) throw new Error(`${error.problems.length} problems`);
    return error.problems[0]!;
  }
  throw new Error('nothing was thrown');
}

/** Open-loop requests at time 0. */
export function workloadOf(blockTokens: number, prompts: readonly { tokens: number; ids: readonly number[] }[]): Workload {
  const builder = new WorkloadBuilder('test', blockTokens);
  prompts.forEach(({ tokens, ids }, i) => {
    builder.addRequest({ session: builder.addSession(`r${i}`), arrivalMs: 0, delayMs: 0, promptTokens: tokens, outputTokens: 1 }, ids);
  });
  return builder.finish([]);
}

export function blocksOf(table: BlockTable, request: number): number[] {
  return [...table.blocks.subarray(table.offsets[request]!, table.offsets[request + 1]!)];
}

/** Length of the common prefix of two block lists. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** first, first + 1, … last. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
