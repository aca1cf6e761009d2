import { Document, isScalar } from 'yaml';
import { formatQuantity } from '../core/units.js';
import { LINK_PRESETS } from './fields.js';
import { kvRouterData } from './kv-router-data.js';
import { asWrittenIn, commandWordIn, isModelPath, namesFile, writtenName } from './paths.js';
import { admissionData } from './resolve-admission.js';
import { DEFAULT_CHUNK_TOKENS } from './resolve-engine.js';
import { policyData } from './resolve-other-policies.js';
import { replicasData } from './resolve-replicas.js';
import { shapeFields, shapeOf } from './shape.js';
import { workersData } from './worker-traits.js';
import type { DeploymentSpec, Distribution, EngineSpec, FrontendSpec, KvTransferSpec, PoolSpec, RouterSpec, Scenario, SglangSpec, WorkloadSource, WorkloadSpec } from './scenario.js';

type Data = Record<string, unknown>;

const time = (ms: number): string => formatQuantity(ms, 'time');
const size = (bytes: number): string => formatQuantity(bytes, 'size');

/**
 * The resolved scenario as a runnable file: every field that is read, with its unit. Paths are
 * written for a file that stands in `folder`. Reading it back gives the same scenario.
 */
export function scenarioToYaml(scenario: Scenario, folder = '.'): string {
  const { slo, run, report, timing } = scenario;
  const simulated = run.estimator === undefined;
  const maybe = (name: string, value: unknown): Data => (value === null || value === undefined ? {} : { [name]: value });
  const bound = (name: string, ms: number | null): Data => maybe(name, ms === null ? null : time(ms));
  const document = new Document({
    name: scenario.name,
    workload: workloadData(scenario.workload, folder),
    deployment: deploymentData(scenario.deployment, ['fitted', 'tables', 'roofline', 'measured'].includes(timing.source), folder, simulated),
    ...(simulated ? { router: { ...routerData(scenario.router, folder), ...admissionData(scenario.router, folder) } } : {}),
    ...maybe('frontend', (scenario.frontend ?? scenario.frontendReplicas) && { ...(scenario.frontend ? frontendData(scenario.frontend) : {}), ...replicasData(scenario.frontendReplicas) }),
    timing: {
      source: timing.source,
      ...(timing.path === undefined ? {} : { path: asWrittenIn(folder, timing.path) }),
      ...(timing.overheadMs == null ? {} : { overhead: time(timing.overheadMs) }),
      ...(timing.miss === undefined ? {} : { miss: timing.miss }),
      ...(timing.allow === undefined ? {} : { allow: [...timing.allow] }),
      ...(timing.source === 'fixed' ? { prefill: time(timing.prefillMs), decode: time(timing.decodeMs) } : {}),
      speedup: timing.speedup,
      decode_speedup: timing.decodeSpeedup,
    },
    ...maybe('slo', slo && { ...bound('ttft', slo.ttftMs), ...bound('itl', slo.itlMs), ...bound('e2e', slo.e2eMs), at: slo.at }),
    ...maybe('cost', scenario.gpuHourPrice === null ? null : { gpu_hour: formatQuantity(scenario.gpuHourPrice, 'price') }),
    run: simulated ? { seed: run.seed, fidelity: run.fidelity, ...bound('max_time', run.maxTimeMs), capture: [...run.capture] } : { fidelity: run.fidelity, estimator: run.estimator },
    report: { ...(simulated ? { ...maybe('warmup', report.warmupRequests), interval: time(report.intervalMs) } : {}), formats: [...report.formats], ...maybe('uncertainty', report.uncertainty) },
  });
  for (const pool of scenario.deployment.pools) {
    const blocks = document.getIn(['deployment', pool.role, 'kv', 'blocks'], true);
    if (pool.kvBlocksEstimated && isScalar(blocks)) blocks.comment = ` ${pool.kvBlocks} per ${pool.engine.ranks === undefined ? 'worker' : 'rank'}`;
  }
  return document.toString();
}

/** The plain data of a file (`Loaded.document`) as a file that stands in `folder`. */
export function documentToYaml(document: Readonly<Record<string, unknown>>, folder: string): string {
  return new Document(rewrite(document, [])).toString();

  function rewrite(value: unknown, path: readonly string[]): unknown {
    if (Array.isArray(value)) return value.map((item) => rewrite(item, path));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, rewrite(member, [...path, ...name.split('.')])]));
    }
    return typeof value === 'string' && namesFile(path, value) ? writtenName(path, folder, value) : value;
  }
}

function workloadData({ source, format, traceBlockTokens, nestedTimestamps, load, requests }: WorkloadSpec, folder: string): Data {
  const data: Data = {};
  switch (source.kind) {
    case 'trace':
      Object.assign(data, { trace: asWrittenIn(folder, source.path), format, ...(traceBlockTokens === null ? {} : { block_size: traceBlockTokens }), ...(nestedTimestamps === undefined ? {} : { nested_timestamps: nestedTimestamps }) });
      break;
    case 'synthetic':
      data.synthetic = { isl: lengthsData(source.isl), osl: lengthsData(source.osl), ...(source.sharedPrefix ? { shared_prefix: { ...source.sharedPrefix } } : {}), ...turnsData(source) };
      break;
    case 'generate':
      data.generate = { like: source.like, duration: time(source.durationMs), scale: source.scale };
  }
  const turns = source.kind === 'synthetic' ? (source.turns ?? 1) : 1;
  switch (load.kind) {
    case 'concurrency':
      data.load = { concurrency: load.concurrency };
      break;
    case 'speedup':
      data.load = { speedup: load.speedup, ...(load.lanes === undefined ? {} : { lanes: load.lanes }) };
      break;
    case 'rate': {
      const { arrivals } = load;
      const drawn = arrivals === 'poisson' || arrivals === 'gamma' ? { seed: load.seed } : {};
      data.load = { rate: formatQuantity(load.requestsPerSecond, turns > 1 ? 'session rate' : 'request rate'), arrivals, ...(arrivals === 'gamma' ? { smoothness: load.smoothness } : {}), ...drawn };
    }
  }
  if (requests !== null) data[turns > 1 ? 'sessions' : 'requests'] = requests / turns;
  return data;
}

function turnsData({ turns, thinkTimeMs, history }: Extract<WorkloadSource, { kind: 'synthetic' }>): Data {
  if (turns === undefined || thinkTimeMs === undefined) return {};
  return { turns, think_time: thinkTimeMs.kind === 'exponential' ? { mean: time(thinkTimeMs.ms) } : time(thinkTimeMs.ms), history };
}

function lengthsData(lengths: Distribution): unknown {
  if (lengths.kind === 'constant') return lengths.value;
  const limits = { ...(lengths.min === undefined ? {} : { min: lengths.min }), ...(lengths.max === undefined ? {} : { max: lengths.max }) };
  switch (lengths.kind) {
    case 'normal':
      return { mean: lengths.mean, std: lengths.std, ...limits };
    case 'lognormal':
      return { lognormal: { median: lengths.median, sigma: lengths.sigma }, ...limits };
    case 'uniform':
      return { uniform: [lengths.from, lengths.to], ...limits };
    case 'exponential':
      return { exponential: lengths.mean, ...limits };
  }
}

/** `timed`: with the precisions that times depend on; `simulated`: with what only a simulation reads. */
function deploymentData({ model, hardware, pools, kvTransfer }: DeploymentSpec, timed: boolean, folder: string, simulated: boolean): Data {
  const shared = pools.every((pool) => JSON.stringify(pool.engine) === JSON.stringify(pools[0]!.engine));
  const data: Data = {};
  if (model !== null) data.model = isModelPath(model) ? asWrittenIn(folder, model) : model;
  if (hardware !== null) data.hardware = hardware;
  if (shared) data.engine = engineData(pools[0]!.engine, pools.some((pool) => pool.kvBlocksEstimated), simulated);
  const speculative = pools[0]!.engine.speculative;
  if (speculative) data.speculative = { method: 'mtp', tokens: speculative.tokens, accept: [...speculative.accept] };
  for (const pool of pools) data[pool.role] = poolData(pool, shared, timed, simulated);
  if (kvTransfer && simulated) data.kv_transfer = transferData(kvTransfer);
  return data;
}

function poolData(pool: PoolSpec, sharedEngine: boolean, timed: boolean, simulated: boolean): Data {
  const { replicas, engine, kvBlocks, kvBlocksEstimated, kvReserveBytes } = pool;
  const eviction = engine.blockManager === 'kvbm' ? { eviction: 'lineage' } : {};
  return {
    replicas,
    ...shapeFields(shapeOf(pool)),
    ...quantData(pool, timed),
    ...(sharedEngine ? {} : { engine: engineData(engine, kvBlocksEstimated, simulated) }),
    kv: { ...(kvBlocksEstimated ? { blocks: 'auto', ...(kvReserveBytes === undefined ? {} : { reserve: size(kvReserveBytes) }) } : { blocks: kvBlocks }), ...eviction },
    ...workersData(pool.workers),
  };
}

/** The parts that something reads. */
function quantData({ quant, kvBlocksEstimated, moeTp }: PoolSpec, timed: boolean): Data {
  if (quant === undefined) return {};
  const { weights, moe, attention, kv } = quant;
  const sized = timed || kvBlocksEstimated;
  return { quant: { ...(sized ? { weights } : {}), ...(sized && moeTp !== undefined ? { moe } : {}), ...(timed ? { attention } : {}), kv } };
}

function engineData(engine: EngineSpec, sized: boolean, simulated: boolean): Data {
  return {
    name: engine.name,
    version: engine.version,
    block_size: engine.blockTokens,
    max_num_seqs: engine.maxNumSeqs,
    ...(engine.sglang ? {} : { max_num_batched_tokens: engine.maxNumBatchedTokens, chunked_prefill: engine.chunkedPrefill }),
    prefix_caching: engine.prefixCaching,
    ...(engine.contextTokens === null ? {} : { context_length: engine.contextTokens }),
    ...(sized ? { memory_fraction: engine.memoryFraction } : {}),
    ...(engine.name === 'vllm' && simulated ? { preemption: engine.preemption } : {}),
    ...(engine.admission === undefined ? {} : { admission: engine.admission }),
    ...(engine.sglang ? sglangData(engine.sglang, simulated) : {}),
  };
}

function sglangData(sglang: SglangSpec, simulated: boolean): Data {
  return {
    max_prefill_tokens: sglang.maxPrefillTokens,
    ...(sglang.chunkedPrefillSize === DEFAULT_CHUNK_TOKENS ? {} : { chunked_prefill_size: sglang.chunkedPrefillSize }),
    ...(simulated ? sglangOrder(sglang) : {}),
  };
}

function sglangOrder(sglang: SglangSpec): Data {
  return {
    schedule_policy: sglang.schedulePolicy,
    clip_max_new_tokens: sglang.clipMaxNewTokens,
    schedule_conservativeness: sglang.scheduleConservativeness,
    decode_interval: sglang.decodeInterval,
    ...(sglang.receiveInterval === undefined ? {} : { receive_interval: sglang.receiveInterval }),
  };
}

function transferData(transfer: KvTransferSpec): Data {
  if (transfer.bytesPerSecond === null) return { bandwidth: 'none' };
  const preset = Object.keys(LINK_PRESETS).find((name) => LINK_PRESETS[name] === transfer.bytesPerSecond);
  return {
    bandwidth: preset ?? formatQuantity(transfer.bytesPerSecond, 'bandwidth'),
    latency: time(transfer.latencyMs),
    charge: transfer.charge,
    contention: transfer.contention,
    bytes_per_token: size(transfer.bytesPerToken),
    bytes_per_request: size(transfer.bytesPerRequest),
  };
}

function frontendData({ baseMs, tokensPerSecond, cores, dispatchMs }: FrontendSpec): Data {
  const rate = tokensPerSecond === null ? {} : { rate: formatQuantity(tokensPerSecond, 'token rate') };
  const isFree = baseMs === 0 && tokensPerSecond === null;
  return { ...(isFree ? {} : { preprocess: { base: time(baseMs), ...rate, cores } }), dispatch: time(dispatchMs) };
}

function routerData(router: RouterSpec, folder: string): Data {
  const { module, exec, routes } = router;
  const index = { index: { visible: router.indexVisible } };
  if (module) return { policy: asWrittenIn(folder, module.path), ...index };
  if (exec) return { policy: router.policy, exec: exec.command.map((word) => commandWordIn(folder, word)), timeout: time(exec.timeoutMs), ...index };
  if (router.policy !== 'kv' && !routes) return { policy: router.policy, ...policyData(router) };
  return {
    policy: router.policy,
    ...(routes ? { routes: asWrittenIn(folder, routes.path) } : {}),
    ...kvRouterData(router),
  };
}
