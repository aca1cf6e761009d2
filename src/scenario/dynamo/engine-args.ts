import type { Problem } from '../../core/problem.js';
import type { EngineName, EngineSpec, Fidelity, SglangSpec, SpeculativeSpec } from '../scenario.js';
import { JsonReader, boolean, integer, nonEmptyText, number, oneOf, parseJsonObject, type LocatedJson } from './json-args.js';

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
  /** Planner profile that times the passes; null = the polynomial. */
  readonly profilePath: string | null;
  readonly warnings: readonly Problem[];
}

/** Read here; the second list is known to the reference and belongs to features that are not built. */
const READ = [
  'engine_type', 'num_gpu_blocks', 'block_size', 'max_model_len', 'max_num_seqs', 'max_num_batched_tokens', 'enable_prefix_caching', 'enable_chunked_prefill',
  'speedup_ratio', 'decode_speedup_ratio', 'dp_size', 'worker_type', 'is_prefill', 'is_decode', 'kv_bytes_per_token', 'kv_transfer_bandwidth',
  'kv_transfer_timing_mode', 'preemption_mode', 'g1_backend', 'num_g2_blocks', 'num_g3_blocks', 'aic_nextn', 'aic_nextn_accept_rates', 'aic_mtp_seed', 'sglang', 'trtllm', 'planner_profile_data', 'startup_time',
] as const;
const NOT_BUILT: Readonly<Record<string, string>> = {
  enable_g4_storage: 'KV cache tiers are not supported yet',
  ...Object.fromEntries(
    ['backend', 'system', 'backend_version', 'model_path', 'tp_size', 'moe_tp_size', 'moe_ep_size', 'attention_dp_size', 'gemm_dtype', 'moe_dtype', 'fmha_dtype', 'kv_cache_dtype', 'comm_dtype'].map(
      (name) => [`aic_${name}`, 'operator-table timing is not supported yet'],
    ),
  ),
};
/** Accepted by the reference and without effect in an offline replay of this configuration. */
const WITHOUT_EFFECT = [
  'offload_batch_size', 'bandwidth_g1_to_g2_gbps', 'bandwidth_g2_to_g1_gbps', 'bandwidth_g2_to_g3_gbps', 'bandwidth_g3_to_g2_gbps',
  'bandwidth_g2_to_g4_gbps', 'bandwidth_g4_to_g2_gbps', 'gpu_memory_utilization', 'mem_fraction_static', 'free_gpu_memory_fraction', 'handoff_session_timeout_ms', 'bootstrap_port',
  'zmq_kv_events_port', 'zmq_replay_port', 'enable_local_indexer', 'reasoning', 'response_replay_trace_path', 'router_queue_policy', 'has_perf_model',
] as const;

/**
 * Parses engine arguments of `dynamo.replay` 1.4. Throws `E-…` for unknown keys, wrong values and
 * features that are not built. Source: spec engine section 1, compat A6.
 *
 * @param text JSON object
 * @param source flag name for messages
 * @param fidelity whose rules hold where the two references differ
 */
export function parseEngineArgs(text: string, source: string, fidelity: Exclude<Fidelity, 'realistic'> = 'dynosim'): EngineArgs {
  const reader = new JsonReader(parseJsonObject(text, source));
  reader.onlyKnown(READ, [...Object.keys(NOT_BUILT), ...WITHOUT_EFFECT]);
  reader.refuseNull('engine_type', 'block_size', 'enable_prefix_caching', 'enable_chunked_prefill', 'speedup_ratio', 'decode_speedup_ratio', 'dp_size', 'worker_type', 'preemption_mode', 'kv_transfer_timing_mode');
  for (const [key, what] of Object.entries(NOT_BUILT)) {
    if (reader.json.values[key] !== undefined && reader.json.values[key] !== null) reader.refuse(key, what);
  }
  for (const key of WITHOUT_EFFECT) if (reader.has(key)) reader.ignore(key, 'has no effect in this replay');
  if (reader.get('startup_time', number(0), 0) > 0) reader.ignore('startup_time', 'has no effect: every worker is ready at the start, and nothing adds workers');
  const speedup = reader.get('speedup_ratio', number(0), 1);
  const bandwidth = reader.get('kv_transfer_bandwidth', number(0), 0);
  const result: EngineArgs = {
    engine: engineSpec(reader, fidelity),
    kvBlocks: reader.get('num_gpu_blocks', integer(1, MOST_BLOCKS), 16384),
    prefillSpeedup: speedup,
    decodeSpeedup: speedup * reader.get('decode_speedup_ratio', number(0), 1),
    workerType: workerType(reader),
    kvBytesPerToken: reader.get('kv_bytes_per_token', integer(0), 0) || null,
    kvBytesPerSecond: bandwidth > 0 ? bandwidth * 1e9 : null,
    charge: reader.get('kv_transfer_timing_mode', oneOf('full_prompt', 'destination_missing'), 'full_prompt') === 'full_prompt' ? 'full' : 'missing',
    profilePath: reader.get('planner_profile_data', nonEmptyText, '') || null,
    warnings: reader.warnings,
  };
  reader.check();
  return result;
}

function engineSpec(reader: JsonReader, fidelity: Exclude<Fidelity, 'realistic'>): EngineSpec {
  const name = reader.get('engine_type', oneOf('vllm', 'sglang', 'trtllm'), 'vllm');
  const unlimited = (key: string, byDefault: number): number => (reader.json.values[key] === null ? Infinity : reader.get(key, integer(1), byDefault));
  const chunkedPrefill = reader.get('enable_chunked_prefill', boolean, true);
  const contextTokens = reader.get('max_model_len', integer(1), 0) || null;
  if (contextTokens !== null && name !== 'vllm' && fidelity === 'dynosim') reader.problems.push(reader.json.problem('max_model_len', 'E-COMBINATION', `not read by ${name}`, 'leave it out'));
  if (!chunkedPrefill && name === 'sglang') reader.problems.push(reader.json.problem('enable_chunked_prefill', 'E-COMBINATION', 'sglang always chunks prompts', 'leave it out'));
  const speculative = speculation(reader);
  const ranks = reader.get('dp_size', integer(1), 1);
  const blockTokens = blockSize(reader, name);
  return {
    name,
    version: '',
    blockTokens,
    maxNumSeqs: unlimited('max_num_seqs', 256),
    maxNumBatchedTokens: unlimited('max_num_batched_tokens', 8192),
    prefixCaching: prefixCaching(reader, name, fidelity),
    chunkedPrefill,
    contextTokens,
    memoryFraction: 0.9,
    preemption: reader.get('preemption_mode', oneOf('lifo', 'fifo'), 'lifo'),
    ...(speculative ? { speculative } : {}),
    ...(blockManager(reader) === 'kvbm' ? { blockManager: 'kvbm' as const } : {}),
    ...(ranks > 1 ? { ranks } : {}),
    ...(name === 'sglang' ? { sglang: sglangSpec(reader, blockTokens) } : {}),
  };
}

/** Blocks of one worker at most: more would not fit a machine's memory. */
const MOST_BLOCKS = 50_000_000;

const DEFAULT_BLOCK: Readonly<Record<EngineName, number>> = { vllm: 64, sglang: 1, trtllm: 32 };

function blockSize(reader: JsonReader, name: EngineName): number {
  const given = reader.get('block_size', integer(0), 0);
  const page = name === 'sglang' ? nested(reader, 'sglang').get('page_size', integer(1), 0) : 0;
  if (given > 0 && page > 0 && given !== page) reader.problems.push(reader.json.problem('block_size', 'E-CONFLICT', `is ${given} and sglang.page_size is ${page}`, 'give one of them'));
  if (given === 1 && name !== 'sglang') reader.problems.push(reader.json.problem('block_size', 'E-RANGE', '1 is not an integer of at least 2'));
  return given || page || DEFAULT_BLOCK[name];
}

/** Both references' sglang of 1.4 leaves its radix cache on whatever is asked (compat B2). */
function prefixCaching(reader: JsonReader, name: EngineName, fidelity: Fidelity): boolean {
  const wanted = reader.get('enable_prefix_caching', boolean, true);
  if (wanted || name !== 'sglang' || fidelity !== 'dynosim') return wanted;
  reader.ignore('enable_prefix_caching', 'sglang keeps its cache on');
  return true;
}

/** Settings of G2 and G3 choose the other block manager; the wheel holds no tiers (compat A6, H). */
function blockManager(reader: JsonReader): 'native' | 'kvbm' {
  const tiers = reader.get('num_g2_blocks', integer(0), 0) > 0;
  if (!tiers && reader.get('num_g3_blocks', integer(0), 0) > 0) reader.problems.push(reader.json.problem('num_g3_blocks', 'E-MISSING', 'needs num_g2_blocks', 'add num_g2_blocks'));
  const manager = reader.get('g1_backend', oneOf('native', 'kvbm'), tiers ? 'kvbm' : 'native');
  if (tiers && manager === 'native') reader.problems.push(reader.json.problem('g1_backend', 'E-CONFLICT', "is 'native' and num_g2_blocks is set", "use 'kvbm'"));
  if (tiers) reader.ignore('num_g2_blocks', 'tiers are not in the reference either: it only changes the block manager');
  return manager;
}

/** Acceptance of the drafts where none is given (spec engine section 6.6). */
export const DEFAULT_ACCEPT = [0.85, 0.3];

function speculation(reader: JsonReader): SpeculativeSpec | null {
  const tokens = reader.get('aic_nextn', integer(1), 0);
  const rates = reader.json.values['aic_nextn_accept_rates'] ?? null;
  const seed = reader.get('aic_mtp_seed', integer(0), 42);
  if (tokens === 0) {
    if (rates !== null) reader.problems.push(reader.json.problem('aic_nextn_accept_rates', 'E-MISSING', 'needs aic_nextn', 'add aic_nextn'));
    return null;
  }
  if (tokens > 5) reader.problems.push(reader.json.problem('aic_nextn', 'E-RANGE', `${tokens} is above 5`));
  if (reader.get('decode_speedup_ratio', number(0), 1) !== 1) reader.problems.push(reader.json.problem('decode_speedup_ratio', 'E-CONFLICT', 'must be 1 with aic_nextn'));
  const accept = rates === null ? DEFAULT_ACCEPT : String(rates).split(',').map(Number);
  if (accept.some((rate) => !(rate >= 0 && rate <= 1))) {
    reader.problems.push(reader.json.problem('aic_nextn_accept_rates', 'E-RANGE', `${JSON.stringify(rates)} is not a list of probabilities`, "for example '0.85,0.3'"));
  }
  return { tokens, accept, seed };
}

/** The keys of a nested object; none when it is absent. */
function nested(reader: JsonReader, key: string): JsonReader {
  const value = reader.json.values[key];
  const values = typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  const json: LocatedJson = { ...reader.json, values, problem: (inner, code, what, hint) => ({ ...reader.json.problem(key, code, what, hint), path: `${key}.${inner}` }) };
  return new JsonReader(json);
}

function sglangSpec(reader: JsonReader, pageTokens: number): SglangSpec {
  const inner = nested(reader, 'sglang');
  inner.onlyKnown(['schedule_policy', 'page_size', 'max_prefill_tokens', 'chunked_prefill_size', 'clip_max_new_tokens', 'schedule_conservativeness'], []);
  const policy = inner.json.values['schedule_policy'] ?? 'fifo';
  if (!['fifo', 'fcfs', 'lpm'].includes(String(policy))) inner.ignore('schedule_policy', `'${String(policy)}' is unknown and read as fifo`);
  const chunk = inner.get('chunked_prefill_size', integer(1), 0);
  if (chunk % pageTokens !== 0) inner.problems.push(inner.json.problem('chunked_prefill_size', 'E-RANGE', `${chunk} is not a multiple of the page size ${pageTokens}`));
  const spec: SglangSpec = {
    schedulePolicy: policy === 'lpm' ? 'lpm' : 'fifo',
    maxPrefillTokens: inner.get('max_prefill_tokens', integer(1), 16384),
    chunkedPrefillSize: chunk || 8192,
    clipMaxNewTokens: inner.get('clip_max_new_tokens', integer(1), 4096),
    scheduleConservativeness: inner.get('schedule_conservativeness', number(0), 1),
    decodeInterval: 0,
  };
  if (spec.scheduleConservativeness > 1) inner.problems.push(inner.json.problem('schedule_conservativeness', 'E-RANGE', `${spec.scheduleConservativeness} is above 1`));
  reader.problems.push(...inner.problems);
  reader.warnings.push(...inner.warnings);
  return spec;
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
