import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addReplayFlags, planReplay, type ReplayPlan } from '../../src/cli/replay-flags.js';
import { InputError, formatProblem, type Problem } from '../../src/core/problem.js';
import { replaySimulation } from '../../src/sim/replay-config.js';

/** What the reference refuses or accepts on its command line: engine arguments, router settings, options. */
function plan(...argv: string[]): ReplayPlan {
  const command = addReplayFlags(new Command().argument('[trace...]').exitOverride().configureOutput({ writeErr: () => undefined })).parse(['t.jsonl', ...argv], { from: 'user' });
  const made = planReplay(command.args, command.opts());
  replaySimulation(made.deployment);
  return made;
}

function problemOf(...argv: string[]): Problem {
  try {
    plan(...argv);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    expect(error.problems, error.message).toHaveLength(1);
    return error.problems[0]!;
  }
  throw new Error(`accepted: ${argv.join(' ')}`);
}

const warningsOf = (...argv: string[]): string[] => plan(...argv).warnings.map(({ code, path }) => `${code} ${path}`);

const ENGINE = '--extra-engine-args';

describe('engine arguments that are refused, each at its place', () => {
  it.each<[string, string, string, string, number, RegExp]>([
    ['unknown key', '{"block_size": 64, "blok_size": 64}', 'E-FIELD', 'blok_size', 20, /block_size/],
    ['removed key', '{"watermark": 0.01}', 'E-FIELD', 'watermark', 2, /./],
    ['no block', '{"num_gpu_blocks": 0}', 'E-RANGE', 'num_gpu_blocks', 20, /an integer from 1/],
    ['half a block', '{"num_gpu_blocks": 1.5}', 'E-RANGE', 'num_gpu_blocks', 20, /integer/],
    ['negative speed-up', '{"speedup_ratio": -1}', 'E-RANGE', 'speedup_ratio', 19, /at least 0/],
    ['text for a number', '{"max_num_seqs": "8"}', 'E-RANGE', 'max_num_seqs', 18, /integer of at least 1/],
    ['number for a switch', '{"enable_prefix_caching": 1}', 'E-RANGE', 'enable_prefix_caching', 27, /true or false/],
    ['unknown choice', '{"preemption_mode": "random"}', 'E-RANGE', 'preemption_mode', 21, /lifo, fifo/],
    ['null where none is allowed', '{"speedup_ratio": null}', 'E-TYPE', 'speedup_ratio', 19, /null/],
    ['a block of one token', '{"block_size": 1}', 'E-RANGE', 'block_size', 16, /at least 2/],
    ['role said twice', '{"worker_type": "prefill", "is_prefill": true}', 'E-CONFLICT', 'worker_type', 17, /is_prefill/],
    ['a role in an aggregated run', '{"worker_type": "decode"}', 'E-COMBINATION', 'agg engine arguments', 0, /aggregated/],
    ['operator tables', '{"aic_backend": "vllm"}', 'E-UNSUPPORTED', 'aic_backend', 2, /not supported yet/],
  ])('%s', (_name, json, code, path, col, says) => {
    const problem = problemOf(ENGINE, json);
    expect(problem).toMatchObject(col > 0 ? { code, path, file: ENGINE, line: 1, col } : { code, path });
    expect(formatProblem(problem)).toMatch(says);
  });

  it('place in text of several lines', () => {
    expect(problemOf(ENGINE, '{\n  "block_size": 64,\n  "num_gpu_blocks": 0\n}')).toMatchObject({ code: 'E-RANGE', line: 3, col: 21 });
  });

  it.each([['{', 'E-SYNTAX'], ["{'block_size': 64}", 'E-SYNTAX'], ['', 'E-SYNTAX'], ['[1]', 'E-TYPE'], ['64', 'E-TYPE'], ['null', 'E-TYPE']])('not an object: %s', (json, code) => {
    const problem = problemOf(ENGINE, json);
    expect(problem).toMatchObject({ code, file: ENGINE, line: 1 });
    expect(problem.hint).toBeDefined();
  });

  it('all of them at once', () => {
    try {
      plan(ENGINE, '{"num_gpu_blocks": 0, "speedup_ratio": -1, "blok": 1}');
      expect.unreachable();
    } catch (error) {
      expect((error as InputError).problems.map(({ path }) => path).sort()).toEqual(['blok', 'num_gpu_blocks', 'speedup_ratio']);
    }
  });

  it.each(['{"engine_type": "sglang", "block_size": 1, "sglang": {"page_size": 16}}', '{"num_g3_blocks": 10}', '{"engine_type": "vlm"}', '{"aic_model_path": "no/such-model"}'])('refused in any case: %s', (json) => {
    expect(() => plan(ENGINE, json)).toThrow(InputError);
  });
});

describe('options that are refused', () => {
  const prefill = ['--prefill-engine-args', '{"worker_type": "prefill"}'];
  const decode = ['--decode-engine-args', '{"worker_type": "decode"}'];
  it.each<[string, string[], string, string]>([
    ['no worker', ['--num-workers', '0'], 'E-RANGE', '--num-workers'],
    ['half a worker', ['--num-workers', '1.5'], 'E-TYPE', '--num-workers'],
    ['one worker behind a KV router', ['--router-mode', 'kv_router'], 'E-COMBINATION', '--router-mode'],
    ['an unknown router', ['--router-mode', 'kv'], 'E-ENUM', '--router-mode'],
    ['speed-up 0', ['--arrival-speedup-ratio', '0'], 'E-RANGE', '--arrival-speedup-ratio'],
    ['speed-up NaN', ['--arrival-speedup-ratio', 'nan'], 'E-TYPE', '--arrival-speedup-ratio'],
    ['speed-up infinite', ['--arrival-speedup-ratio', 'Infinity'], 'E-TYPE', '--arrival-speedup-ratio'],
    ['nobody in flight', ['--replay-concurrency', '0'], 'E-RANGE', '--replay-concurrency'],
    ['empty trace blocks', ['--trace-block-size', '0'], 'E-RANGE', '--trace-block-size'],
    ['workers of a stage that is not there', ['--num-decode-workers', '3'], 'E-NO-EFFECT', '--num-decode-workers'],
    ['prefill alone', prefill, 'E-MISSING', '--decode-engine-args'],
    ['decode alone', decode, 'E-MISSING', '--prefill-engine-args'],
    ['aggregated workers of a disaggregated run', [...prefill, ...decode, '--num-workers', '2'], 'E-CONFLICT', '--num-workers'],
    ['stages exchanged', ['--prefill-engine-args', '{"worker_type": "decode"}', '--decode-engine-args', '{"worker_type": "prefill"}'], 'E-COMBINATION', 'prefill engine arguments'],
    ['stages of different blocks', [...prefill, '--decode-engine-args', '{"worker_type": "decode", "block_size": 32}'], 'E-COMBINATION', 'block_size'],
    ['a negative bound', ['--sla-ttft-ms', '-5'], 'E-RANGE', '--sla-ttft-ms'],
    ['a trace and a synthetic load', ['--input-tokens', '10'], 'E-CONFLICT', '--input-tokens'],
    ['a live replay', ['--replay-mode', 'online'], 'E-UNSUPPORTED', '--replay-mode'],
    ['a planner', ['--planner-config', '{}'], 'E-UNSUPPORTED', '--planner-config'],
    ['a negative cap', ['--max-sim-time-seconds', '-1'], 'E-RANGE', '--max-sim-time-seconds'],
    ['an empty number', ['--num-workers', ''], 'E-TYPE', '--num-workers'],
  ])('%s', (_name, argv, code, path) => {
    expect(problemOf(...argv)).toMatchObject({ code, path });
  });

  it('synthetic loads', () => {
    const synthetic = (...argv: string[]): Problem => {
      try {
        const command = addReplayFlags(new Command().exitOverride()).parse(argv, { from: 'user' });
        planReplay([], command.opts());
      } catch (error) {
        return (error as InputError).problems[0]!;
      }
      throw new Error('accepted');
    };
    const size = ['--input-tokens', '8', '--output-tokens', '4', '--request-count', '2'];
    expect(synthetic()).toMatchObject({ code: 'E-MISSING', path: 'TRACE' });
    expect(synthetic(...size)).toMatchObject({ code: 'E-CONFLICT', path: '--request-rate' });
    expect(synthetic(...size, '--request-rate', '1', '--replay-concurrency', '1')).toMatchObject({ code: 'E-CONFLICT' });
    expect(synthetic(...size, '--request-rate', '0')).toMatchObject({ code: 'E-RANGE', path: '--request-rate' });
    expect(synthetic(...size, '--request-rate', '1', '--trace-block-size', '64')).toMatchObject({ code: 'E-NO-EFFECT' });
    expect(synthetic(...size, '--request-rate', '1', '--shared-prefix-ratio', '1.5')).toMatchObject({ code: 'E-RANGE' });
    expect(synthetic(...size, '--request-rate', '1', '--max-sim-time-seconds', '5')).toMatchObject({ code: 'E-CONFLICT' });
    expect(synthetic(...size, '--request-rate', '1', '--arrival-speedup-ratio', '2')).toMatchObject({ code: 'E-CONFLICT' });
  });
});

describe('router settings', () => {
  const kv = (json: object): string[] => ['--num-workers', '2', '--router-mode', 'kv_router', '--router-config', JSON.stringify(json)];
  it.each<[object, string, string, RegExp]>([
    [{ overlap_scoore: 1 }, 'E-FIELD', 'overlap_scoore', /overlap_score_credit/],
    [{ router_temperature: -1 }, 'E-RANGE', 'router_temperature', /at least 0/],
    [{ overlap_score_credit: 'much' }, 'E-RANGE', 'overlap_score_credit', /number/],
    [{ router_track_active_blocks: 'yes' }, 'E-RANGE', 'router_track_active_blocks', /true or false/],
    [{ conditional_disagg_policy: 'x' }, 'E-UNSUPPORTED', 'conditional_disagg_policy', /not supported yet/],
  ])('%o is refused', (json, code, path, says) => {
    const problem = problemOf(...kv(json));
    expect(problem).toMatchObject({ code, path, file: '--router-config', line: 1 });
    expect(formatProblem(problem)).toMatch(says);
  });

  it('without effect in a replay: accepted with a named warning', () => {
    expect(warningsOf(...kv({ use_kv_events: false, router_ttl_secs: 20 })).sort()).toEqual(['W-IGNORED router_ttl_secs', 'W-IGNORED use_kv_events']);
    expect(warningsOf('--router-config', '{"router_temperature": 0.5}')).toEqual(['W-IGNORED --router-config']);
  });

  it('are read', () => {
    const { router } = plan(...kv({ router_temperature: 0.5, overlap_score_credit: 2, overlap_score_credit_decay: 1, decode_active_request_weight: 3, router_assume_kv_reuse: false, router_track_prefill_tokens: false })).deployment;
    expect(router).toMatchObject({ policy: 'kv', temperature: 0.5, overlapScoreCredit: 2, overlapScoreCreditDecay: 1, decodeActiveRequestWeight: 3, assumeKvReuse: false, trackPrefillTokens: false, trackActiveBlocks: true });
  });
});

describe('what the reference accepts', () => {
  it('an explicit block size of 0 means the default', () => {
    expect(plan(ENGINE, '{"block_size": 0}').deployment.pools[0]!.args.engine.blockTokens).toBe(64);
    expect(warningsOf(ENGINE, '{"block_size": 0}')).toEqual([]);
  });

  it('settings of live serving: one named warning each', () => {
    expect(warningsOf(ENGINE, '{"startup_time": 5, "enable_local_indexer": true, "has_perf_model": 1}').sort()).toEqual(['W-IGNORED enable_local_indexer', 'W-IGNORED has_perf_model', 'W-IGNORED startup_time']);
  });

  it('null for unlimited or default; choices in any case', () => {
    const { engine, kvBlocks, kvBytesPerSecond } = plan(ENGINE, '{"max_num_seqs": null, "max_num_batched_tokens": null, "num_gpu_blocks": null, "max_model_len": null, "preemption_mode": "FIFO", "engine_type": "VLLM", "kv_transfer_bandwidth": 0}').deployment.pools[0]!.args;
    expect(engine).toMatchObject({ maxNumSeqs: Infinity, maxNumBatchedTokens: Infinity, contextTokens: null, preemption: 'fifo' });
    expect([kvBlocks, kvBytesPerSecond]).toEqual([16384, null]);
  });

  it('everything else as given', () => {
    const args = plan(
      '--prefill-engine-args', '{"is_prefill": true, "kv_bytes_per_token": 131072, "kv_transfer_bandwidth": 64, "kv_transfer_timing_mode": "destination_missing", "speedup_ratio": 2, "decode_speedup_ratio": 1.5}',
      '--decode-engine-args', '{"is_decode": true, "enable_prefix_caching": false, "enable_chunked_prefill": false, "max_model_len": 99}',
      '--num-prefill-workers', '2', '--num-decode-workers', '3',
    ).deployment.pools;
    expect(args.map(({ role, workers }) => [role, workers])).toEqual([['prefill', 2], ['decode', 3]]);
    expect(args[0]!.args).toMatchObject({ kvBytesPerToken: 131072, kvBytesPerSecond: 64e9, charge: 'missing', prefillSpeedup: 2, decodeSpeedup: 3 });
    expect(args[1]!.args.engine).toMatchObject({ prefixCaching: false, chunkedPrefill: false, contextTokens: 99 });
  });
});
