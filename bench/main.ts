/**
 * `npm run bench -- [TRACE…]`: how fast a replay is, phase by phase, as ratios. Times one process
 * after a warm-up run, polynomial timing, 8 workers; prints virtual seconds per host second and each
 * phase's share. Nothing here is a test.
 */
import { performance } from 'node:perf_hooks';
import { planReplay } from '../src/cli/replay-flags.js';
import { loadReplayWorkload } from '../src/cli/replay.js';
import { replayReport } from '../src/metrics/replay-report.js';
import { drive } from '../src/sim/drive.js';
import { replaySimulation } from '../src/sim/replay-config.js';
import { Simulation } from '../src/sim/simulation.js';
import { expandBlocks } from '../src/workload/expand.js';

const CASES: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['round robin, block 512', { numWorkers: '8', extraEngineArgs: '{"block_size":512}' }],
  ['KV router, block 512', { numWorkers: '8', routerMode: 'kv_router', extraEngineArgs: '{"block_size":512}' }],
  ['round robin, block 64', { numWorkers: '8', extraEngineArgs: '{"block_size":64,"num_gpu_blocks":131072}' }],
  ['KV router, block 64', { numWorkers: '8', routerMode: 'kv_router', extraEngineArgs: '{"block_size":64,"num_gpu_blocks":131072}' }],
  ['closed loop 256', { numWorkers: '8', replayConcurrency: '256', extraEngineArgs: '{"block_size":512}' }],
];

async function measure(trace: string, flags: Readonly<Record<string, string>>): Promise<{ phases: number[]; virtualMs: number; passes: number }> {
  const marks = [performance.now()];
  const plan = planReplay([trace], flags);
  const workload = await loadReplayWorkload(plan);
  marks.push(performance.now());
  const table = expandBlocks(workload, plan.deployment.pools[0]!.args.engine.blockTokens);
  marks.push(performance.now());
  const simulation = new Simulation(replaySimulation(plan.deployment), workload, table);
  drive(simulation);
  const observations = simulation.observe();
  marks.push(performance.now());
  replayReport(observations, { wallTimeMs: 1 });
  marks.push(performance.now());
  return { phases: marks.slice(1).map((mark, i) => mark - marks[i]!), virtualMs: observations.endMs, passes: observations.pools.reduce((sum, pool) => sum + pool.passes, 0) };
}

const traces = process.argv.slice(2);
if (traces.length === 0) traces.push(new URL('../traces/conversation_mini.jsonl', import.meta.url).pathname);
for (const trace of traces) {
  process.stdout.write(`${trace}\n`);
  let first = 0;
  for (const [name, flags] of CASES) {
    await measure(trace, flags);
    const { phases, virtualMs, passes } = await measure(trace, flags);
    const total = phases.reduce((sum, phase) => sum + phase, 0);
    first ||= total;
    const shares = ['read', 'expand', 'simulate', 'report'].map((phase, i) => `${phase} ${((100 * phases[i]!) / total).toFixed(0)}%`).join(', ');
    process.stdout.write(`  ${name.padEnd(24)} ${(virtualMs / total).toFixed(0)}x real time, ${(total / first).toFixed(2)} of the first case, ${(passes / phases[2]! / 1000).toFixed(2)} M passes/s (${shares})\n`);
  }
}
