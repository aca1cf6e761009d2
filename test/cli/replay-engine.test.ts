import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { loadReplayWorkload, simulateReplay } from '../../src/cli/replay.js';
import { addReplayFlags, planReplay, type ReplayPlan } from '../../src/cli/replay-flags.js';
import { PROFILE, writeNpz } from '../support/npz.js';
import { problemOf } from '../workload/support.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-engine-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SYNTHETIC = ['--input-tokens', '64', '--output-tokens', '3', '--request-count', '1', '--replay-concurrency', '1'];

function plan(...argv: string[]): ReplayPlan {
  const command = addReplayFlags(new Command().argument('[trace...]').exitOverride()).parse([...SYNTHETIC, ...argv], { from: 'user' });
  return planReplay(command.args, command.opts());
}
const withArgs = (args: object): ReplayPlan => plan('--extra-engine-args', JSON.stringify(args));

describe('planner_profile_data', () => {
  const profile = writeNpz(join(folder, 'profile.npz'), PROFILE);

  it('times the passes, those outside it counted', async () => {
    const made = withArgs({ planner_profile_data: profile, block_size: 64 });
    const { requests, pools } = await simulateReplay(made, await loadReplayWorkload(made));
    // Prefill 2 + 0.64 ms; decode 5 ms, a block of 64 tokens (two from the second token on), the context.
    expect(requests.firstTokenMs[0]).toBeCloseTo(2.64 + 5 + 0.064 + 0.64, 6);
    expect(requests.lastTokenMs[0]! - requests.secondTokenMs[0]!).toBeCloseTo(5 + 0.128 + 0.66, 6);
    expect(pools[0]!.extrapolatedPasses).toBe(1);
    expect(made.warnings).toEqual([]);
  });

  it('of each stage are its own', () => {
    const args = (role: string, path: string | null): string => JSON.stringify({ worker_type: role, planner_profile_data: path });
    const { pools } = plan('--prefill-engine-args', args('prefill', profile), '--decode-engine-args', args('decode', null)).deployment;
    expect(pools.map((pool) => pool.profile?.name)).toEqual(['profile.npz', undefined]);
  });

  it.each<[string, () => string, RegExp]>([
    ['is absent', () => join(folder, 'absent.npz'), /absent\.npz': no such file; the polynomial times this run, as in the reference/],
    ['holds 4-byte floats', () => writeNpz(join(folder, 'single.npz'), { ...PROFILE, prefill_isl: { dtype: '<f4', shape: [3], values: PROFILE.prefill_isl } }), /prefill_isl: holds '<f4'/],
    ['does not fit together', () => writeNpz(join(folder, 'odd.npz'), { ...PROFILE, prefill_isl: [1, 2] }), /prefill_ttft_ms: has shape \(3\), expected \(2\)/],
  ])('falls back to the polynomial, and says so, where the file %s', (_name, path, what) => {
    const { deployment, warnings } = withArgs({ planner_profile_data: path() });
    expect(deployment.pools[0]).not.toHaveProperty('profile');
    expect(warnings).toMatchObject([{ code: 'W-FALLBACK', file: '--extra-engine-args', path: 'planner_profile_data', what: expect.stringMatching(what) as string }]);
  });

  it('stops where the reference does', async () => {
    expect(await problemOf(() => withArgs({ planner_profile_data: folder }))).toMatchObject({ code: 'E-FILE', path: 'planner_profile_data', what: `'${folder}' is neither a .npz file nor a folder of the profiler` });
    writeFileSync(join(folder, 'prefill_raw_data.json'), '{"prefill_isl": [1, 2, 3], "prefill_ttft": [3, 2, 1]}');
    writeFileSync(join(folder, 'decode_raw_data.json'), '{}');
    expect(await problemOf(() => withArgs({ planner_profile_data: folder }))).toMatchObject({ code: 'E-FILE', file: join(folder, 'prefill_raw_data.json'), path: 'prefill_ttft' });
    expect(await problemOf(() => withArgs({ planner_profile_data: 7 }))).toMatchObject({ code: 'E-RANGE', path: 'planner_profile_data' });
  });
});

describe('other engine arguments', () => {
  it('startup_time: no worker is ever started', async () => {
    expect(withArgs({ startup_time: 30 }).warnings).toMatchObject([{ code: 'W-IGNORED', path: 'startup_time', what: 'has no effect: every worker is ready at the start, and nothing adds workers' }]);
    expect([withArgs({ startup_time: null }), withArgs({ startup_time: 0 })].flatMap(({ warnings }) => warnings)).toEqual([]);
    expect(await problemOf(() => withArgs({ startup_time: -1 }))).toMatchObject({ code: 'E-RANGE', path: 'startup_time' });
  });

  it('dp_size: not on prefill and decode workers', async () => {
    const split = (dp: number) => plan('--prefill-engine-args', '{"worker_type": "prefill"}', '--decode-engine-args', JSON.stringify({ worker_type: 'decode', dp_size: dp }));
    expect(split(1).deployment.pools).toHaveLength(2);
    expect(await problemOf(() => split(2))).toMatchObject({ code: 'E-COMBINATION', file: '--decode-engine-args', path: 'dp_size' });
  });
});
