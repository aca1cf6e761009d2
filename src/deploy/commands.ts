import type { Problem } from '../core/problem.js';
import type { PoolSpec, Quant, RouterSpec } from '../scenario/scenario.js';
import { admissionFlags } from './admission-flags.js';
import { conditionalDisaggFlags } from './conditional-disagg-flags.js';
import { atLeast, type DynamoVersion } from './dynamo.js';
import { kvRouterFlags } from './kv-router-flags.js';

/** Port on which a worker publishes its KV events. */
const EVENT_PORT = 20080;
const KV_EVENTS = JSON.stringify({ publisher: 'zmq', topic: 'kv-events', endpoint: `tcp://*:${EVENT_PORT}`, enable_kv_cache_events: true });
const NIXL = JSON.stringify({ kv_connector: 'NixlConnector', kv_role: 'kv_both' });
/** Releases that queue in the router unless told not to get a threshold no load reaches. */
const QUEUE_OFF = '1000000';

/** A command line and what cannot be said with it: `E-…` = it would not deploy what was simulated. */
export interface CommandLine {
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly problems: readonly Problem[];
}

/** What a worker's command line depends on beside its pool. */
export interface WorkerQuestion {
  readonly model: string;
  readonly pool: PoolSpec;
  /** The frontend routes by KV events, which workers that prefill must publish, and decode workers that may. */
  readonly kvRouting: boolean;
  readonly decodePrefills?: boolean;
  /** Precision of the KV cache; null = the model's own type. */
  readonly cache: Quant['kv'] | null;
  readonly version: DynamoVersion;
}

/** `python3 -m dynamo.vllm …` of one pool (spec: dgd sections 3.3, 3.10). */
export function workerCommand({ model, pool, kvRouting, decodePrefills, cache, version }: WorkerQuestion): CommandLine {
  const { engine } = pool;
  const args = ['--model', model, ...roleArgs(pool.role, version)];
  const number = (flag: string, value: number): void => void args.push(flag, String(value));
  number('--tensor-parallel-size', pool.tp);
  if (pool.pp !== undefined) number('--pipeline-parallel-size', pool.pp);
  if (engine.ranks !== undefined) number('--data-parallel-size', engine.ranks);
  if ((pool.moeEp ?? 1) > 1) args.push('--enable-expert-parallel');
  number('--block-size', engine.blockTokens);
  number('--max-num-seqs', engine.maxNumSeqs);
  number('--max-num-batched-tokens', engine.maxNumBatchedTokens);
  if (engine.contextTokens !== null) number('--max-model-len', engine.contextTokens);
  number('--gpu-memory-utilization', engine.memoryFraction);
  if (!pool.kvBlocksEstimated) number('--num-gpu-blocks-override', pool.kvBlocks);
  if (cache === 'fp8') args.push('--kv-cache-dtype', 'fp8');
  if (cache === 'bf16') args.push('--kv-cache-dtype', 'bfloat16');
  args.push(engine.prefixCaching ? '--enable-prefix-caching' : '--no-enable-prefix-caching');
  args.push(engine.chunkedPrefill ? '--enable-chunked-prefill' : '--no-enable-chunked-prefill');
  if (pool.role !== 'agg') args.push(...(atLeast(version, '1.0') ? ['--kv-transfer-config', NIXL] : ['--connector', 'nixl']));
  if (kvRouting && (pool.role !== 'decode' || decodePrefills === true)) args.push('--kv-events-config', KV_EVENTS);
  return { command: ['python3', '-m', 'dynamo.vllm'], args, problems: engineProblems(pool) };
}

function roleArgs(role: PoolSpec['role'], version: DynamoVersion): string[] {
  if (role === 'agg') return [];
  return atLeast(version, '1.0') ? ['--disaggregation-mode', role] : [`--is-${role}-worker`];
}

/** Settings the simulated engine takes and the real one refuses or does not have. */
function engineProblems({ role, engine, quant }: PoolSpec): Problem[] {
  const path = `deployment.${role}.engine`;
  const problems: Problem[] = [];
  if (quant?.kv === 'int8') {
    problems.push({ code: 'E-UNSUPPORTED', path: `deployment.${role}.quant.kv`, what: 'vLLM has no int8 KV cache', hint: "only 'bf16' and 'fp8' can be deployed" });
  }
  if (engine.preemption !== 'lifo') {
    problems.push({ code: 'E-UNSUPPORTED', path: `${path}.preemption`, what: `vLLM cannot be told to preempt '${engine.preemption}'`, hint: "only 'lifo' can be deployed" });
  }
  if (engine.blockManager === 'kvbm') {
    problems.push({ code: 'E-UNSUPPORTED', path: `deployment.${role}.kv.eviction`, what: "vLLM cannot be told to evict by 'lineage'", hint: "only 'lru' can be deployed" });
  }
  if (engine.blockTokens % 16 !== 0) {
    problems.push({ code: 'W-COMPAT', path: `${path}.block_size`, what: `vLLM's attention kernels want a multiple of 16, not ${engine.blockTokens}` });
  }
  if (engine.maxNumBatchedTokens < engine.maxNumSeqs) {
    problems.push({ code: 'W-COMPAT', path: `${path}.max_num_batched_tokens`, what: `vLLM refuses a token budget (${engine.maxNumBatchedTokens}) below max_num_seqs (${engine.maxNumSeqs})` });
  }
  if (!engine.chunkedPrefill && (engine.contextTokens ?? Infinity) > engine.maxNumBatchedTokens) {
    problems.push({ code: 'W-COMPAT', path: `${path}.chunked_prefill`, what: 'vLLM without chunked prefill refuses a context longer than max_num_batched_tokens', hint: `set context_length: ${engine.maxNumBatchedTokens} or chunked_prefill: true` });
  }
  return problems;
}

/** Modes of the frontend and the release line that first has them (spec: router section 1). */
const ROUTER_MODES: Readonly<Partial<Record<RouterSpec['policy'], { readonly mode: string; readonly since: string }>>> = {
  round_robin: { mode: 'round-robin', since: '0.8' },
  random: { mode: 'random', since: '0.8' },
  kv: { mode: 'kv', since: '0.8' },
  least_loaded: { mode: 'least-loaded', since: '1.2' },
  power_of_two: { mode: 'power-of-two', since: '1.4' },
  direct: { mode: 'direct', since: '1.2' },
  device_aware: { mode: 'device-aware-weighted', since: '1.2' },
};

/** Switches of the KV router: emitted when not at the default, which every release shares. */
const KV_SWITCHES = [
  { field: 'trackActiveBlocks', name: 'track_active_blocks', flag: 'router-track-active-blocks', default: true, since: '1.0' },
  { field: 'trackPrefillTokens', name: 'track_prefill_tokens', flag: 'router-track-prefill-tokens', default: true, since: '1.2' },
  { field: 'assumeKvReuse', name: 'assume_kv_reuse', flag: 'router-assume-kv-reuse', default: true, since: '1.0' },
] as const;

/** Weights that 1.2 does not know; 0 = off. */
const KV_WEIGHTS = [
  { field: 'overlapScoreCreditDecay', name: 'overlap_score_credit_decay', flag: '--router-kv-overlap-score-credit-decay' },
  { field: 'decodeActiveRequestWeight', name: 'decode_active_request_weight', flag: '--router-decode-active-request-weight' },
] as const;
/** First release line known to have them, and credits above 1. */
const KV_WEIGHTS_SINCE = '1.4';

/** `python3 -m dynamo.frontend …` (spec: dgd sections 3.2, 3.10; router section 2.1). */
export function frontendCommand(router: RouterSpec, version: DynamoVersion): CommandLine {
  const command = ['python3', '-m', 'dynamo.frontend'];
  const known = Object.hasOwn(ROUTER_MODES, router.policy) ? ROUTER_MODES[router.policy] : undefined;
  if (known === undefined) {
    const what = `the Dynamo frontend has no mode for policy '${String(router.policy)}'`;
    return { command, args: [], problems: [{ code: 'E-UNSUPPORTED', path: 'router.policy', what, hint: `deployable are ${Object.keys(ROUTER_MODES).join(', ')}` }] };
  }
  const problems = atLeast(version, known.since) ? [] : [tooOld('router.policy', `policy ${router.policy}`, known.since, version)];
  const args = ['--router-mode', known.mode];
  if (router.policy === 'kv') {
    for (const part of [kvWeights(router, version), kvSwitches(router, version), kvRouterFlags(router, version, (path, what, since) => tooOld(path, what, since, version))]) {
      args.push(...part.args);
      problems.push(...part.problems);
    }
  }
  for (const flagsOf of [admissionFlags, conditionalDisaggFlags]) {
    const part = flagsOf(router, version, (path, what, since) => tooOld(path, what, since, version));
    args.push(...part.args);
    problems.push(...part.problems);
  }
  return { command, args, problems };
}

interface Flags {
  readonly args: string[];
  readonly problems: Problem[];
}

function kvWeights(router: RouterSpec, version: DynamoVersion): Flags {
  const { args, problems } = atLeast(version, '1.2') ? creditFlags(router, version) : legacyWeightFlag(router, version);
  for (const weight of KV_WEIGHTS) {
    const value = router[weight.field];
    if (value === 0) continue;
    if (atLeast(version, KV_WEIGHTS_SINCE)) args.push(weight.flag, String(value));
    else problems.push(tooOld(`router.${weight.name}`, `a value of ${value}`, KV_WEIGHTS_SINCE, version));
  }
  args.push('--router-temperature', String(router.temperature));
  if (!router.queue && atLeast(version, '1.0') && !atLeast(version, '1.4')) args.push('--router-queue-threshold', QUEUE_OFF);
  return { args, problems };
}

function creditFlags(router: RouterSpec, version: DynamoVersion): Flags {
  const problems: Problem[] = [];
  if (router.overlapScoreCredit > 1 && !atLeast(version, KV_WEIGHTS_SINCE)) {
    problems.push(tooOld('router.overlap_score_credit', `a credit of ${router.overlapScoreCredit} (above 1)`, KV_WEIGHTS_SINCE, version));
  }
  const args = ['--router-kv-overlap-score-credit', String(router.overlapScoreCredit), '--router-prefill-load-scale', String(router.prefillLoadScale)];
  return { args, problems };
}

/** Before 1.2 one weight w stood for scale = w with credit 1, or, at 0, for both 0 (spec: router section 2.1). */
function legacyWeightFlag(router: RouterSpec, version: DynamoVersion): Flags {
  const weight = router.prefillLoadScale;
  const flag = atLeast(version, '1.0') ? '--router-kv-overlap-score-weight' : '--kv-overlap-score-weight';
  const problems: Problem[] = [];
  if (router.overlapScoreCredit !== (weight === 0 ? 0 : 1)) {
    problems.push(tooOld('router.overlap_score_credit', `a credit of ${router.overlapScoreCredit} with prefill_load_scale ${weight}`, '1.2', version));
  }
  return { args: [flag, String(weight)], problems };
}

function kvSwitches(router: RouterSpec, version: DynamoVersion): Flags {
  const args: string[] = [];
  const problems: Problem[] = [];
  for (const option of KV_SWITCHES) {
    const value = router[option.field];
    if (value === option.default) continue;
    if (atLeast(version, option.since)) args.push(`--${value ? '' : 'no-'}${option.flag}`);
    else problems.push(tooOld(`router.${option.name}`, String(value), option.since, version));
  }
  return { args, problems };
}

export function tooOld(path: string, what: string, since: string, version: DynamoVersion): Problem {
  return { code: 'E-UNSUPPORTED', path, what: `Dynamo ${version.text} cannot be given ${what}`, hint: `deploy with --dynamo ${since}.0 or newer` };
}
