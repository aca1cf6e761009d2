/** What a sweep thread runs: simulations, one per message. Loaded from `dist/` by `run.ts`. */
import { parentPort } from 'node:worker_threads';
import { InputError } from '../core/problem.js';
import type { Outcome, ThreadRequest } from '../core/thread-pool.js';
import { loadPolicy } from '../router/module-loader.js';
import { executeScenario } from '../sim/execute.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import type { RunInput, RunOutput, SharedWorkload } from './run.js';

const port = parentPort!;
let workload: Workload;
let blockTables: Map<number, BlockTable>;

port.on('message', ({ shared, input }: ThreadRequest<SharedWorkload, RunInput>) => {
  if (shared) ({ workload, blockTables } = shared);
  void execute(input).then((outcome) => port.postMessage(outcome));
});

async function execute({ scenario, series }: RunInput): Promise<Outcome<RunOutput>> {
  try {
    await loadPolicy(scenario.router);
    const outcome = executeScenario(scenario, workload, { blockTables });
    return { ok: true, value: { report: outcome.report, series: series ? outcome.series : null } };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error), ...(error instanceof InputError ? { problems: error.problems } : {}) };
  }
}
