import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { loadReplayWorkload, simulateReplay } from '../../src/cli/replay.js';
import { addReplayFlags, planReplay } from '../../src/cli/replay-flags.js';
import { executeScenario, prepareWorkload } from '../../src/sim/execute.js';
import { scenarioOf } from '../scenario/support.js';

const text = (pools: string, more = ''): string => `workload: {synthetic: {isl: 600, osl: 40}, load: {concurrency: 24}, requests: 120}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: {block_size: 16, max_num_seqs: 8, context_length: 4096}, ${pools}}
timing: polynomial
${more}`;

async function run(pools: string, more = '') {
  const scenario = scenarioOf(text(pools, more));
  return executeScenario(scenario, await prepareWorkload(scenario));
}

async function replay(args: object) {
  const load = ['--input-tokens', '600', '--output-tokens', '40', '--request-count', '120', '--replay-concurrency', '24', '--num-workers', '2'];
  const command = addReplayFlags(new Command().argument('[trace...]')).parse([...load, '--extra-engine-args', JSON.stringify({ block_size: 16, max_num_seqs: 8, max_model_len: 4096, ...args })], { from: 'user' });
  const plan = planReplay(command.args, command.opts());
  return simulateReplay(plan, await loadReplayWorkload(plan));
}

describe('a scenario and a replay of the same deployment agree', () => {
  it.each([
    ['data-parallel ranks', 'agg: {replicas: 2, dp: 3}, kv: {blocks: 400}', { dp_size: 3, num_gpu_blocks: 400 }],
    ['the other block manager', 'agg: {replicas: 2}, kv: {blocks: 250, eviction: lineage}', { g1_backend: 'kvbm', num_gpu_blocks: 250 }],
  ])('%s', async (_name, pools, args) => {
    const ours = (await run(pools, 'run: {fidelity: dynosim}')).observations!.requests;
    const theirs = (await replay(args)).requests;
    for (const column of ['admitMs', 'firstTokenMs', 'lastTokenMs', 'reusedTokens', 'decodeWorker'] as const) expect([...ours[column]], column).toEqual([...theirs[column]]);
  });
});

describe('data-parallel ranks in a report', () => {
  it('GPUs of all ranks, blocks of one, and a busy share of at most all of the time', async () => {
    const { report } = await run('agg: {replicas: 2, tp: 2, dp: 3}, kv: {blocks: 400}');
    expect(report.requests.completed).toBe(120);
    expect(report.gpu.peak).toBe(12);
    expect(report.pools).toMatchObject([{ shape: 'tp2dp3', gpus_per_worker: 6, kv_blocks: 400 }]);
    expect(report.pools[0]!.busy_ratio).toBeGreaterThan(0.5);
    expect(report.pools[0]!.busy_ratio).toBeLessThanOrEqual(1);
  });

  it.each(['vllm', 'sglang', 'trtllm'])('also of prefill and decode workers: %s', async (engine) => {
    const pools = 'prefill: {replicas: 1, dp: 2}, decode: {replicas: 2, dp: 2, kv: {blocks: 300}}, kv: {blocks: 500}';
    const scenario = scenarioOf(text(pools, 'router: kv').replace('engine: {', `engine: {name: ${engine}, `));
    const { report } = executeScenario(scenario, await prepareWorkload(scenario));
    expect([report.requests.completed, report.gpu.peak, ...report.pools.map(({ shape }) => shape)]).toEqual([120, 6, 'tp1dp2', 'tp1dp2']);
  });
});
