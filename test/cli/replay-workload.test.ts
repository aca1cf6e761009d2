import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { loadReplayWorkload, simulateReplay } from '../../src/cli/replay.js';
import { addReplayFlags, planReplay, type ReplayPlan } from '../../src/cli/replay-flags.js';
import type { Observations } from '../../src/metrics/observations.js';
import { problemOf, temporaryFile } from '../workload/support.js';

function plan(...argv: string[]): ReplayPlan {
  const command = addReplayFlags(new Command().argument('[trace...]').exitOverride().configureOutput({ writeErr: () => undefined })).parse(argv, { from: 'user' });
  return planReplay(command.args, command.opts());
}

const SYNTHETIC = ['--input-tokens', '64', '--output-tokens', '4', '--request-count', '3', '--replay-concurrency', '2'];

describe('which workload a replay runs', () => {
  it('reads formats, several files, prefix groups', () => {
    expect(plan('a.jsonl', 'b.jsonl.gz', '--trace-format', 'dynamo').source).toEqual({ kind: 'trace', paths: ['a.jsonl', 'b.jsonl.gz'], format: 'dynamo', blockTokens: null, sharedPrefix: null });
    expect(plan('a', '--trace-format', 'applied_compute_agentic', '--replay-concurrency', '2', '--trace-shared-prefix-ratio', '0.5', '--trace-num-prefix-groups', '3').source).toMatchObject({ sharedPrefix: { ratio: 0.5, groups: 3 } });
    expect(plan('a', '--trace-format', 'applied_compute_agentic', '--replay-concurrency', '2', '--trace-shared-prefix-ratio', '0.5').source).toMatchObject({ sharedPrefix: null });
  });

  it('makes sessions of several turns', async () => {
    const workload = await loadReplayWorkload(plan(...SYNTHETIC, '--turns-per-session', '2', '--inter-turn-delay-ms', '7.5'));
    expect(workload).toMatchObject({ requestCount: 6, sessionCount: 3 });
    expect([...workload.delayMs]).toEqual([0, 7.5, 0, 7.5, 0, 7.5]);
  });

  it('names flags that change nothing', () => {
    const warningsOf = (...argv: string[]): string[] => plan(...argv).warnings.map(({ code, path }) => `${code} ${path}`);
    expect(warningsOf(...SYNTHETIC, '--inter-turn-delay-ms', '5', '--num-prefix-groups', '2')).toEqual(['W-NO-EFFECT --num-prefix-groups', 'W-NO-EFFECT --inter-turn-delay-ms']);
    expect(warningsOf(...SYNTHETIC, '--inter-turn-delay-ms', '5', '--turns-per-session', '2', '--shared-prefix-ratio', '0.5', '--num-prefix-groups', '2')).toEqual([]);
    expect(warningsOf('a', '--trace-format', 'applied_compute_agentic', '--replay-concurrency', '2', '--trace-shared-prefix-ratio', '0.5')).toEqual(['W-NO-EFFECT --trace-shared-prefix-ratio']);
  });

  it.each<[name: string, argv: string[], code: string, path: string]>([
    ['weka, which 1.4 has not', ['a', '--trace-format', 'weka'], 'E-ENUM', '--trace-format'],
    ['two files of another format', ['a', 'b'], 'E-CONFLICT', 'TRACE'],
    ['agents in a closed loop', ['a', '--trace-format', 'agentic_mooncake', '--replay-concurrency', '2'], 'E-COMBINATION', '--replay-concurrency'],
    ['TRIE in an open loop', ['a', '--trace-format', 'applied_compute_agentic'], 'E-COMBINATION', '--trace-format'],
    ['delta rows on two stages', ['a', '--trace-format', 'mooncake-delta', '--prefill-engine-args', '{"worker_type":"prefill"}', '--decode-engine-args', '{"worker_type":"decode"}'], 'E-COMBINATION', '--trace-format'],
    ['prefix groups of Mooncake rows', ['a', '--trace-num-prefix-groups', '2'], 'E-NO-EFFECT', '--trace-num-prefix-groups'],
    ['a share above 1', ['a', '--trace-format', 'applied_compute_agentic', '--replay-concurrency', '2', '--trace-shared-prefix-ratio', '1.5'], 'E-RANGE', '--trace-shared-prefix-ratio'],
    ['a format without a file', [...SYNTHETIC, '--trace-format', 'dynamo'], 'E-NO-EFFECT', '--trace-format'],
    ['turns with a file', ['a', '--turns-per-session', '2'], 'E-CONFLICT', '--turns-per-session'],
    ['no turn', [...SYNTHETIC, '--turns-per-session', '0'], 'E-RANGE', '--turns-per-session'],
    ['a negative wait', [...SYNTHETIC, '--turns-per-session', '2', '--inter-turn-delay-ms', '-1'], 'E-RANGE', '--inter-turn-delay-ms'],
  ])('refuses %s', async (_name, argv, code, path) => {
    expect(await problemOf(() => plan(...argv))).toMatchObject({ code, path });
  });

  it('refuses recorded agents in a closed loop once it has read them', async () => {
    const record = { schema: 'dynamo.request.trace.v1', event_type: 'request_end', event_time_unix_ms: 9, agent_context: { session_id: 's' }, request: { request_id: 'a', output_tokens: 1, request_received_ms: 1, replay: { trace_block_size: 4, input_length: 4, input_sequence_hashes: [1] } } };
    const made = plan(temporaryFile(JSON.stringify(record)), '--trace-format', 'dynamo', '--replay-concurrency', '2');
    expect(await problemOf(() => loadReplayWorkload(made))).toMatchObject({ code: 'E-COMBINATION' });
  });

  it('rows may replace settings of the router; equal ones change nothing, those without effect are named', async () => {
    const row = (timestamp: number, ids: readonly number[], override?: object): string => JSON.stringify({ timestamp, input_length: 16 * ids.length, output_length: 200, hash_ids: ids, ...(override && { router_config_override: override }) });
    const replay = async (override?: object): Promise<Observations> => {
      const path = temporaryFile([row(0, [1, 2, 3, 4]), row(200, [1, 2, 3, 4, 5], override)].join('\n'));
      const made = plan(path, '--trace-block-size', '16', '--num-workers', '2', '--router-mode', 'kv_router', '--extra-engine-args', '{"block_size": 16}');
      return simulateReplay(made, await loadReplayWorkload(made));
    };
    const workers = ({ requests }: Observations): number[] => [...requests.decodeWorker];
    const plain = await replay();
    expect(new Set(workers(plain)).size).toBe(1);
    expect(await replay({ overlap_score_credit: 1, prefill_load_scale: 1, router_temperature: 0, assume_kv_reuse: true, track_prefill_tokens: true })).toEqual(plain);
    expect(new Set(workers(await replay({ overlap_score_credit: 0, assume_kv_reuse: false }))).size).toBe(2);
    expect((await replay({ shared_cache_multiplier: 1 })).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'router_config_override.shared_cache_multiplier' }]);
  });

  it('a row that names a worker that is not there is refused before anything runs', async () => {
    const path = temporaryFile('{"timestamp": 0, "input_length": 64, "output_length": 2, "hash_ids": [1], "nvext": {"backend_instance_id": 2}}');
    const made = plan(path, '--trace-block-size', '64', '--num-workers', '2', '--extra-engine-args', '{"block_size": 16}');
    const workload = await loadReplayWorkload(made);
    await expect(simulateReplay(made, workload)).rejects.toMatchObject({ problems: [{ code: 'E-TRACE', line: 1, path: 'nvext.backend_instance_id' }] });
  });

  it('a delta turn that cannot run is rejected, and the prompts after it are named', async () => {
    const row = (session: string, tokens: number, extra: string): string => `{"session_id": "${session}", ${extra}, "input_length": ${tokens}, "output_length": 2, "hash_ids": [${Array.from({ length: Math.ceil(tokens / 64) }, (_, i) => i)}]}`;
    const path = temporaryFile([row('a', 64, '"timestamp": 0'), row('b', 6400, '"timestamp": 0'), row('a', 64, '"delay": 1'), row('b', 64, '"delay": 1')].join('\n'));
    const made = plan(path, '--trace-format', 'mooncake-delta', '--trace-block-size', '64', '--extra-engine-args', '{"block_size": 16, "num_gpu_blocks": 100}');
    const { requests, warnings } = await simulateReplay(made, await loadReplayWorkload(made));
    expect([...requests.status]).toEqual([1, 2, 1, 2]);
    expect(requests.reusedTokens[2]).toBe(64);
    expect(warnings.map(({ code, line }) => `${code} ${line}`)).toEqual(['W-HISTORY 2', 'W-REJECTED undefined']);
  });
});
