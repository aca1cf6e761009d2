import type { Command } from 'commander';
import { loadSweep } from '../scenario/load.js';
import { createEnvironment } from '../timing/environment.js';
import { addSweepOptions, type SweepCommandOptions } from './options.js';
import { search } from './search.js';

/** `sweep FILE`: all candidates, their front and ranking. */
export function registerSweep(program: Command): void {
  addSweepOptions(program.command('sweep').description('simulate every candidate of a sweep file').argument('<file>', 'sweep file; - = standard input')).action(async (file: string, options: SweepCommandOptions) => {
    const environment = createEnvironment();
    await search('sweep', loadSweep(file, { sets: options.set, environment }), environment, options);
  });
}
