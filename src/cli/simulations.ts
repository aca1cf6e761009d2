import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { Simulations, simulationThreads } from '../calibrate/simulations.js';
import { progressPrinter } from './progress.js';

/** `--parallel`, `--quiet`: commands that simulate cases. */
export interface ThreadOptions {
  readonly parallel: number;
  readonly quiet?: boolean;
}

export function addThreadOptions(command: Command, parse: (text: string) => number): Command {
  return command.option('--parallel <n>', 'threads; never changes a result (default: all cores)', parse, availableParallelism()).option('--quiet', 'no progress on stderr');
}

/** Runs `use` with simulations on threads; progress and the name of each part go to stderr, on terminals only. */
export async function withSimulations<T>({ parallel, quiet }: ThreadOptions, use: (simulations: Simulations, onPart: (name: string) => void) => Promise<T>): Promise<T> {
  const progress = progressPrinter(quiet === true);
  const threads = simulationThreads({ threads: parallel });
  const onPart = (name: string): void => {
    progress.clear();
    if (quiet !== true && process.stderr.isTTY) process.stderr.write(`${name}\n`);
  };
  try {
    return await use(new Simulations(threads.run, (done, of) => progress.show(done, of)), onPart);
  } finally {
    progress.clear();
    await threads.close();
  }
}
