import type { Problem } from '../../core/problem.js';
import type { EngineSpec } from '../scenario.js';
import { JsonReader, boolean, integer, number, oneOf, parseJsonObject } from './json-args.js';

/** One engine-arguments object of `dynamo.replay` (MockEngineArgs). */
export interface EngineArgs {
  readonly engine: EngineSpec;
  readonly kvBlocks: number;
  /** Divisors of prefill time and of decode time; 0 = unscaled. */
  readonly prefillSpeedup: number;
  readonly decodeSpeedup: number;
  readonly workerType: 'aggregated' | 'prefill' | 'decode';
  /** Bytes per token and bytes per second; null = no delay. */
  readonly kvBytesPerToken: number | null;
  readonly kvBytesPerSecond: number | null;
  readonly charge: 'full' | 'missing';
  readonly warnings: readonly Problem[];
}

/** Read here; the second list is known to the reference and belongs to features that are not built. */
const READ = [
  'engine_type', 'num_gpu_blocks', 'block_size', 'max_model_len', 'max_num_seqs', 'max_num_batched_tokens', 'enable_prefix_caching', 'enable_chunked_prefill',
  'speedup_ratio', 'decode_speedup_ratio', 'dp_size', 'worker_type', 'is_prefill', 'is_decode', 'kv_bytes_per_token', 'kv_transfer_bandwidth',
  'kv_transfer_timing_mode', 'preemption_mode', 'g1_backend',
] as const;
const NOT_BUILT: Readonly<Record<string, string>> = {
  planner_profile_data: 'profile timing is not supported yet',
  aic_nextn: 'speculative decoding is not supported yet',
  aic_nextn_accept_rates: 'speculative decoding is not supported yet',
  num_g2_blocks: 'KV cache tiers are not supported yet',
  num_g3_blocks: 'KV cache tiers are not supported yet',
  enable_g4_storage: 'KV cache tiers are not supported yet',
  offload_batch_size: 'KV cache tiers are not supported yet',
  ...Object.fromEntries(
    ['g1_to_g2', 'g2_to_g1', 'g2_to_g3', 'g3_to_g2', 'g2_to_g4', 'g4_to_g2'].map((link) => [`bandwidth_${link}_gbps`, 'KV cache tiers are not supported yet']),
  ),
  ...Object.fromEntries(
    ['backend', 'system', 'backend_version', 'model_path', 'tp_size', 'moe_tp_size', 'moe_ep_size', 'attention_dp_size', 'gemm_dtype', 'moe_dtype', 'fmha_dtype', 'kv_cache_dtype', 'comm_dtype'].map(
      (name) => [`aic_${name}`, 'operator-table timing is not supported yet'],
    ),
  ),
  sglang: 'the sglang engine is not supported yet',
  trtllm: 'the trtllm engine is not supported yet',
};
/** Accepted by the reference and without effect in an offline replay of this configuration. */
const WITHOUT_EFFECT = [
  'startup_time', 'aic_mtp_seed', 'gpu_memory_utilization', 'mem_fraction_static', 'free_gpu_memory_fraction', 'handoff_session_timeout_ms', 'bootstrap_port',
  'zmq_kv_events_port', 'zmq_replay_port', 'enable_local_indexer', 'reasoning', 'response_replay_trace_path', 'router_queue_policy', 'has_perf_model',
] as const;

/**
 * Parses engine arguments of `dynamo.replay` 1.4. Throws `E-…` for unknown keys, wrong values and
 * features that are not built. Source: spec engine section 1, compat A6.
 *
 * @param text JSON object
 * @param source flag name for messages
 */
export function parseEngineArgs(text: string, source: string): EngineArgs {
  const reader = new JsonReader(parseJsonObject(text, source));
  reader.onlyKnown(READ, [...Object.keys(NOT_BUILT), ...WITHOUT_EFFECT]);
  reader.refuseNull('engine_type', 'block_size', 'enable_prefix_caching', 'enable_chunked_prefill', 'speedup_ratio', 'decode_speedup_ratio', 'dp_size', 'worker_type', 'preemption_mode', 'kv_transfer_timing_mode');
  for (const [key, what] of Object.entries(NOT_BUILT)) {
    if (reader.json.values[key] !== undefined && reader.json.values[key] !== null) reader.refuse(key, what);
  }
  for (const key of WITHOUT_EFFECT) if (reader.has(key)) reader.ignore(key, 'has no effect in this replay');
  const type = reader.get('engine_type', oneOf('vllm', 'sglang', 'trtllm'), 'vllm');
  if (type !== 'vllm') reader.refuse('engine_type', `the ${type} engine is not supported yet`, "use 'vllm'");
  if (reader.get('g1_backend', oneOf('native', 'kvbm'), 'native') !== 'native') reader.refuse('g1_backend', 'the kvbm block manager is not supported yet', "use 'native'");
  if (reader.get('dp_size', integer(1), 1) !== 1) reader.refuse('dp_size', 'data-parallel ranks are not supported yet', 'use 1');
  const speedup = reader.get('speedup_ratio', number(0), 1);
  const bandwidth = reader.get('kv_transfer_bandwidth', number(0), 0);
  const result: EngineArgs = {
    engine: engineSpec(reader),
    kvBlocks: reader.get('num_gpu_blocks', integer(1), 16384),
    prefillSpeedup: speedup,
    decodeSpeedup: speedup * reader.get('decode_speedup_ratio', number(0), 1),
    workerType: workerType(reader),
    kvBytesPerToken: reader.get('kv_bytes_per_token', integer(0), 0) || null,
    kvBytesPerSecond: bandwidth > 0 ? bandwidth * 1e9 : null,
    charge: reader.get('kv_transfer_timing_mode', oneOf('full_prompt', 'destination_missing'), 'full_prompt') === 'full_prompt' ? 'full' : 'missing',
    warnings: reader.warnings,
  };
  reader.check();
  return result;
}

function engineSpec(reader: JsonReader): EngineSpec {
  const unlimited = (key: string, byDefault: number): number => (reader.json.values[key] === null ? Infinity : reader.get(key, integer(1), byDefault));
  const blockTokens = reader.get('block_size', integer(0), 64) || 64;
  if (blockTokens === 1) reader.problems.push(reader.json.problem('block_size', 'E-RANGE', '1 is not an integer of at least 2'));
  return {
    name: 'vllm',
    version: '',
    blockTokens,
    maxNumSeqs: unlimited('max_num_seqs', 256),
    maxNumBatchedTokens: unlimited('max_num_batched_tokens', 8192),
    prefixCaching: reader.get('enable_prefix_caching', boolean, true),
    chunkedPrefill: reader.get('enable_chunked_prefill', boolean, true),
    contextTokens: reader.get('max_model_len', integer(1), 0) || null,
    memoryFraction: 0.9,
    preemption: reader.get('preemption_mode', oneOf('lifo', 'fifo'), 'lifo'),
  };
}

function workerType(reader: JsonReader): EngineArgs['workerType'] {
  const prefill = reader.get('is_prefill', boolean, false);
  const decode = reader.get('is_decode', boolean, false);
  if (reader.has('worker_type') && (reader.has('is_prefill') || reader.has('is_decode'))) {
    reader.problems.push(reader.json.problem('worker_type', 'E-CONFLICT', 'cannot be combined with is_prefill or is_decode', 'keep worker_type'));
  }
  if (prefill && decode) reader.problems.push(reader.json.problem('is_decode', 'E-CONFLICT', 'is_prefill is true as well', 'keep one'));
  if (reader.has('worker_type')) return reader.get('worker_type', oneOf('aggregated', 'prefill', 'decode'), 'aggregated');
  return prefill ? 'prefill' : decode ? 'decode' : 'aggregated';
}
