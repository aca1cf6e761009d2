import type { Command } from 'commander';
import { InputError } from '../core/problem.js';
import type { Environment } from '../scenario/environment.js';
import { loadSweep, loadSweepText } from '../scenario/load.js';
import { createEnvironment } from '../timing/environment.js';
import { addSweepOptions, type SweepCommandOptions } from './options.js';
import { print } from './output.js';
import { givenFlags, planDocument, type PlanFlags } from './plan-document.js';
import { search, type LoadedSweep } from './search.js';
import { yamlText } from './yaml-text.js';

type PlanOptions = SweepCommandOptions & PlanFlags;

/** `plan [FILE]`: a sweep, its recommendations and their manifests. Without a file, flags make one. */
export function registerPlan(program: Command): void {
  addSweepOptions(program.command('plan').description('find the deployments worth having and write their manifests').argument('[file]', 'sweep file; - = standard input'))
    .option('--model <name>', 'without a file: model')
    .option('--hardware <name>', 'without a file: GPU')
    .option('--gpus <n>', 'without a file: GPUs to fill')
    .option('--isl <tokens>', 'without a file: prompt length')
    .option('--osl <tokens>', 'without a file: output length')
    .option('--ttft <duration>', "without a file: bound on p99 TTFT, such as '2 s'")
    .option('--itl <duration>', "without a file: bound on p99 inter-token latency, such as '30 ms'")
    .option('--rate <rate>', "without a file: arrivals, such as '5 req/s'")
    .option('--concurrency <n>', 'without a file: requests in flight (default: swept)')
    .action(plan);
}

async function plan(file: string | undefined, options: PlanOptions): Promise<void> {
  const environment = createEnvironment();
  if (file === undefined && options.dryRun === true && options.format === 'yaml') return print(yamlText(load(file, options, environment).document));
  await search('plan', load(file, options, environment), environment, options);
}

function load(file: string | undefined, options: PlanOptions, environment: Environment): LoadedSweep {
  if (file === undefined) return loadSweepText(yamlText(planDocument(options)), 'plan', { sets: options.set, environment });
  const flags = givenFlags(options);
  if (flags.length > 0) throw new InputError({ code: 'E-CONFLICT', path: flags[0], what: `'${file}' says what to plan`, hint: 'give the file or the flags, and change the file with --set' });
  return loadSweep(file, { sets: options.set, environment });
}
