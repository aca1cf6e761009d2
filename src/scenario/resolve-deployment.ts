import type { Environment, FieldProblem } from './environment.js';
import { LIMITS } from './field-kinds.js';
import { LINK_PRESETS } from './fields.js';
import { besideFile, isModelPath } from './paths.js';
import type { Reader } from './reader.js';
import { resolveEngine, resolveMemoryFraction, resolveSpeculative } from './resolve-engine.js';
import { resolvePoolQuant, type QuantPart } from './resolve-quant.js';
import { resolveShape, SHAPE_FIELDS } from './resolve-shape.js';
import { layoutOf } from './shape.js';
import { resolveWorkers } from './resolve-workers.js';
import type { DeploymentSpec, Fidelity, KvTransferSpec, PoolSpec, Quant, RunSpec, SpeculativeSpec, TimingSpec } from './scenario.js';
import { suggest } from './suggest.js';

type Role = PoolSpec['role'];
type Source = TimingSpec['source'];

/** What the pools of a deployment have in common. */
interface Common {
  readonly reader: Reader;
  readonly environment: Environment;
  readonly fidelity: Fidelity;
  readonly closedForms: boolean;
  readonly model: string | null;
  readonly hardware: string | null;
  readonly wantedTiming: 'auto' | Source;
  readonly speculative: SpeculativeSpec | null;
}

/** Resolves `deployment` and `timing`, which need each other. */
export function resolveDeployment(reader: Reader, environment: Environment, { fidelity, seed, estimator }: RunSpec): { deployment: DeploymentSpec; timing: TimingSpec } {
  if (!reader.has('deployment')) reader.problem('E-MISSING', 'deployment', 'required', "add 'deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, agg: {replicas: 2}}'");
  const wantedTiming = reader.choice<'auto' | Source>('timing.source') ?? (fidelity === 'dynosim' ? 'polynomial' : 'auto');
  const speculative = resolveSpeculative(reader, seed);
  const common: Common = { reader, environment, fidelity, closedForms: estimator === 'analytic', model: resolveModel(reader, environment), hardware: resolveHardware(reader, environment), wantedTiming, speculative };
  const roles = resolveMode(reader);
  requireNames(common, roles);
  const pools = roles.map((role) => resolvePool(common, role));
  const disagg = roles.length === 2;
  checkPools(reader, pools);
  for (const prefix of ['', ...roles.map((role) => `.${role}`)]) reader.unread(`deployment${prefix}.startup`, 'every worker is ready at the start, and nothing adds workers', 'remove it');
  if (!disagg) reader.unread('deployment.kv_transfer', 'aggregated workers send no KV', 'remove it or use prefill and decode pools');
  return {
    deployment: {
      model: common.model,
      hardware: common.hardware,
      mode: disagg ? 'disagg' : 'agg',
      pools,
      kvTransfer: disagg ? resolveTransfer(common, pools[0]?.quant?.kv) : null,
    },
    timing: resolveTiming(common, pools),
  };
}

function resolveModel(reader: Reader, environment: Environment): string | null {
  const path = 'deployment.model';
  const value = reader.text(path);
  if (value === undefined) return null;
  const isPath = isModelPath(value);
  const model = isPath ? besideFile(reader.file(path), value) : value;
  if (environment.hasModel(model)) return model;
  const guess = suggest(value, environment.modelNames());
  if (isPath) reader.problem('E-FILE', path, `no model configuration '${value}'`, 'name the config.json of a model');
  else reader.problem('E-ENUM', path, `'${value}' is not a known model`, guess ? `did you mean '${guess}'?` : `use one of ${environment.modelNames().join(', ')}, or a path to a config.json`);
  return null;
}

function resolveHardware(reader: Reader, environment: Environment): string | null {
  const path = 'deployment.hardware';
  const value = reader.text(path);
  if (value === undefined || environment.hasHardware(value)) return value ?? null;
  const guess = suggest(value, environment.hardwareNames());
  reader.problem('E-ENUM', path, `'${value}' is not known hardware`, guess ? `did you mean '${guess}'?` : `use one of ${environment.hardwareNames().join(', ')}`);
  return null;
}

/** Which pools exist is the mode. */
function resolveMode(reader: Reader): readonly Role[] {
  const [agg, prefill, decode] = ['agg', 'prefill', 'decode'].map((role) => reader.has(`deployment.${role}`));
  if (agg) {
    const other = prefill ? 'prefill' : decode ? 'decode' : null;
    if (other) {
      reader.problem('E-CONFLICT', `deployment.${other}`, `deployment.agg is set at line ${reader.line('deployment.agg')}`, 'keep agg, or prefill with decode');
      for (const role of ['prefill', 'decode']) reader.harmlesslyUnread(`deployment.${role}`);
    }
    return ['agg'];
  }
  if (prefill && decode) return ['prefill', 'decode'];
  if (prefill || decode) {
    const [here, missing] = prefill ? ['prefill', 'decode'] : ['decode', 'prefill'];
    reader.problem('E-MISSING', `deployment.${missing}`, `required beside ${here}`, `add '${missing}: {replicas: 1}'`, { path: `deployment.${here}` });
    return ['prefill', 'decode'];
  }
  if (reader.has('deployment')) reader.problem('E-MISSING', 'deployment', 'no workers: agg, or prefill with decode, is required', "add 'agg: {replicas: 2}'");
  return ['agg'];
}

/** True for sources that time a model on hardware. */
function usesNames(wanted: Common['wantedTiming']): boolean {
  return wanted === 'auto' || wanted === 'fitted' || wanted === 'tables' || wanted === 'roofline' || wanted === 'measured';
}

/** A model and its hardware may be left out only where no time and no memory depends on them. */
function requireNames(common: Common, roles: readonly Role[]): void {
  const { reader, wantedTiming } = common;
  const timed = usesNames(wantedTiming);
  const estimated = roles.some((role) => !hasExplicitBlocks(common, role));
  if ((!timed && !estimated) || !reader.has('deployment')) return;
  const why = timed ? `required by timing.source ${wantedTiming}` : 'required to size the KV cache';
  requireField(reader, 'deployment.model', why, "add 'model: Qwen/Qwen3-32B'");
  requireField(reader, 'deployment.hardware', why, "add 'hardware: h200_sxm'");
}

function requireField(reader: Reader, path: string, what: string, hint: string): void {
  if (!reader.has(path)) reader.problem('E-MISSING', path, what, hint);
}

const blocksPaths = (role: Role): readonly string[] => [`deployment.${role}.kv.blocks`, 'deployment.kv.blocks'];

/** True when the memory model is not asked for a pool's KV blocks. */
function hasExplicitBlocks({ reader, fidelity, wantedTiming }: Common, role: Role): boolean {
  const set = blocksPaths(role).find((path) => reader.has(path));
  if (set) return reader.text(set) !== 'auto';
  return fidelity === 'dynosim' && !usesNames(wantedTiming);
}

const DYNOSIM_BLOCKS = 16384;

function resolvePool(common: Common, role: Role): PoolSpec {
  const { reader, environment, model, hardware } = common;
  const path = `deployment.${role}`;
  const plain = resolveEngine({ ...common, role });
  const { dp, layout } = resolveShape(reader, path, plain.name, model, model === null ? null : environment.hasExperts(model));
  const kvPath = (name: string): string => [`${path}.kv.${name}`, `deployment.kv.${name}`].find((candidate) => reader.has(candidate)) ?? `deployment.kv.${name}`;
  const lineage = resolveEviction(reader, kvPath('eviction'), plain.name);
  const engine = { ...plain, ...(dp > 1 ? { ranks: dp } : {}), ...(lineage ? { blockManager: 'kvbm' as const } : {}) };
  const replicas = reader.number(`${path}.replicas`) ?? 1;
  if (dp > 1 && replicas * dp > LIMITS.workers) {
    reader.problem('E-RANGE', `${path}.${reader.has(`${path}.shape`) ? 'shape' : 'dp'}`, `${replicas} workers of ${dp} ranks are ${replicas * dp} engines`, `stay within ${LIMITS.workers}`);
  }
  const explicit = hasExplicitBlocks(common, role);
  const quant = readQuant(common, role, plain.name, explicit);
  const pool = { role, replicas, ...layout, ...(quant === undefined ? {} : { quant }), engine, ...resolveWorkers(reader, path, replicas) };
  if (explicit) {
    for (const name of ['engine.memory_fraction', 'kv.reserve']) {
      for (const prefix of [path, 'deployment']) reader.unread(`${prefix}.${name}`, 'not read where kv.blocks is given', 'remove it or set kv.blocks: auto');
    }
    return { ...pool, kvBlocks: reader.number(kvPath('blocks')) ?? DYNOSIM_BLOCKS, kvBlocksEstimated: false };
  }
  reader.text(kvPath('blocks'));
  const memoryFraction = resolveMemoryFraction(reader, role, engine);
  const reserveBytes = reader.number(kvPath('reserve')) ?? 0;
  const sized = { ...pool, engine: { ...engine, memoryFraction }, kvBlocksEstimated: true, ...(reserveBytes > 0 ? { kvReserveBytes: reserveBytes } : {}) };
  if (model === null || hardware === null) return { ...sized, kvBlocks: 1 };
  const answer = environment.kvBlocks({ model, hardware, engine: sized.engine, layout: layoutOf(sized), quant, reserveBytes });
  if (answer.ok) return { ...sized, kvBlocks: answer.value.blocks };
  report(reader, role, answer.problem);
  return { ...sized, kvBlocks: 1 };
}

/** The precision of a pool, of the parts that its times, its memory or its transfers read. */
function readQuant(common: Common, role: Role, engine: PoolSpec['engine']['name'], explicitBlocks: boolean): Quant | undefined {
  const { reader, environment, model, hardware, wantedTiming } = common;
  const timed = usesNames(wantedTiming);
  const sent = reader.has('deployment.prefill') && reader.text('deployment.kv_transfer.bandwidth') !== 'none' && !reader.has('deployment.kv_transfer.bytes_per_token');
  if (model === null || hardware === null) return undefined;
  const reads = (part: QuantPart): boolean => timed || (part !== 'attention' && !explicitBlocks) || (part === 'kv' && sent);
  const why = `changes nothing with timing ${wantedTiming}${explicitBlocks ? ' and kv.blocks given' : ''}`;
  return resolvePoolQuant({ reader, environment, role, model, hardware, engine, reads, why });
}

/** True for the block manager that keeps one copy per content and evicts leaves (spec: engine section 5.5). */
function resolveEviction(reader: Reader, path: string, engine: PoolSpec['engine']['name']): boolean {
  if (engine !== 'sglang') return reader.choice(path) === 'lineage';
  reader.unread(path, 'sglang evicts from its radix tree', 'remove it');
  return false;
}

/** Two pools must run the same engine and cut prompts alike. */
function checkPools(reader: Reader, pools: readonly PoolSpec[]): void {
  const [prefill, decode] = pools;
  if (!prefill || !decode) return;
  const compare = (name: string, one: string | number, other: string | number): void => {
    if (one === other) return;
    const role = reader.has(`deployment.decode.engine.${name}`) ? 'decode' : 'prefill';
    reader.problem('E-COMBINATION', `deployment.${role}.engine.${name}`, `prefill has ${one} and decode ${other}`, `set deployment.engine.${name} for both`);
  };
  compare('name', prefill.engine.name, decode.engine.name);
  if (prefill.engine.name !== decode.engine.name) return;
  compare('version', prefill.engine.version, decode.engine.version);
  compare('block_size', prefill.engine.blockTokens, decode.engine.blockTokens);
}

/** `kv`: the cache's precision on the prefill workers, where it is set. */
function resolveTransfer({ reader, environment, fidelity, model }: Common, kv: Quant['kv'] | undefined): KvTransferSpec {
  const path = 'deployment.kv_transfer';
  const realistic = fidelity === 'realistic';
  const word = reader.text(`${path}.bandwidth`);
  const number = reader.number(`${path}.bandwidth`);
  const bytesPerSecond = word === 'none' ? null : word !== undefined ? LINK_PRESETS[word]! : (number ?? (realistic ? 64e9 : null));
  if (number === 0) reader.problem('E-RANGE', `${path}.bandwidth`, '0 is out of range', "write 'none' for instant transfers");
  if (bytesPerSecond === null) {
    reader.unread(path, 'not read with bandwidth none: transfers are instant', 'remove it or set bandwidth');
    return { bytesPerSecond, latencyMs: 0, charge: 'missing', contention: 'none', bytesPerToken: 0, bytesPerRequest: 0 };
  }
  reader.text(`${path}.bytes_per_token`);
  const bytesPerToken = reader.number(`${path}.bytes_per_token`) ?? (model === null ? null : environment.kvTransferBytesPerToken(model, fidelity === 'dynosim', kv));
  if (bytesPerToken === null && !reader.has('deployment.model')) {
    reader.problem('E-MISSING', `${path}.bytes_per_token`, 'required to time transfers without a model', "add 'bytes_per_token: 262144 B', or 'bandwidth: none'");
  }
  return {
    bytesPerSecond,
    latencyMs: reader.number(`${path}.latency`) ?? 0,
    charge: reader.choice<KvTransferSpec['charge']>(`${path}.charge`) ?? (fidelity === 'dynosim' ? 'full' : 'missing'),
    contention: reader.choice<KvTransferSpec['contention']>(`${path}.contention`) ?? (realistic ? 'fair' : 'none'),
    bytesPerToken: bytesPerToken ?? 0,
    bytesPerRequest: reader.number(`${path}.bytes_per_request`) ?? 0,
  };
}

/** Why a host time per pass changes nothing; null = it counts. */
function operatorOverhead(reader: Reader, source: Source, fidelity: Fidelity, isTime: boolean): string | null {
  if (source === 'measured') return null;
  if (source !== 'tables' && source !== 'roofline') return `not read by source ${source}`;
  if (fidelity !== 'realistic') return `${fidelity} adds nothing to the kernels of a pass`;
  if (!isTime && source === 'roofline' && reader.has('timing.overhead')) return 'bounds from the datasheet are not calibrated';
  return null;
}

function resolveTiming(common: Common, pools: readonly PoolSpec[]): TimingSpec {
  const { reader, environment, model, hardware, wantedTiming, fidelity, speculative } = common;
  const named = model !== null && hardware !== null;
  const needsNames = usesNames(wantedTiming);
  const path = resolveProfilePath(reader, wantedTiming);
  const allow = reader.list('timing.allow') as TimingSpec['allow'];
  const sources = pools.map((pool): Source => {
    if (needsNames && !named) return 'polynomial';
    const answer = environment.timingSource({ wanted: wantedTiming, path, miss: reader.choice<'error' | 'estimate'>('timing.miss'), allow, closedForms: common.closedForms, model, hardware, engine: pool.engine, tp: pool.tp, layout: layoutOf(pool), quant: pool.quant, fidelity });
    if (answer.ok) return answer.value;
    report(reader, pool.role, answer.problem);
    return 'polynomial';
  });
  const source = sources[0] ?? 'polynomial';
  const other = sources.findIndex((candidate) => candidate !== source);
  if (other > 0) reader.problem('E-HARDWARE', 'timing.source', `${source} covers ${pools[0]!.role}, ${sources[other]} covers ${pools[other]!.role}`, 'set timing.source for both');
  const decodeSpeedup = reader.number('timing.decode_speedup') ?? 1;
  if (speculative && (source === 'fitted' || source === 'measured')) reader.problem('E-UNSUPPORTED', 'deployment.speculative', `${source} timing does not know draft tokens`, "remove it or set 'timing: tables'");
  if (speculative && decodeSpeedup > 0 && decodeSpeedup !== 1) reader.problem('E-CONFLICT', 'timing.decode_speedup', `deployment.speculative is set at line ${reader.line('deployment.speculative')}`, 'keep one');
  const fixed = source === 'fixed';
  if (!fixed) for (const name of ['prefill', 'decode']) reader.unread(`timing.${name}`, `not read by source ${source}`, 'remove it or set source: fixed');
  const operators = source === 'tables' || source === 'roofline' || source === 'measured';
  const overheadMs = reader.number('timing.overhead');
  const miss = reader.choice<'error' | 'estimate'>('timing.miss');
  const overhead = operatorOverhead(reader, source, fidelity, overheadMs !== undefined);
  if (overhead !== null) reader.unreadFields('timing.overhead', overhead, 'remove it');
  const misses = source === 'tables' || source === 'measured';
  if (!misses) reader.unreadFields('timing.miss', `not read by source ${source}`, 'remove it or set source: tables or measured');
  if (source !== 'measured') reader.unreadFields('timing.allow', `not read by source ${source}`, 'remove it or set source: measured');
  const duration = (name: string, example: string): number =>
    fixed ? reader.required(`timing.${name}`, reader.number(`timing.${name}`), 0, `add '${name}: ${example}'`) : 0;
  return {
    source,
    prefillMs: duration('prefill', '20 ms'),
    decodeMs: duration('decode', '5 ms'),
    ...(path === undefined ? {} : { path }),
    ...(operators && overheadMs !== undefined && overhead === null ? { overheadMs } : {}),
    ...(misses && miss !== undefined ? { miss } : {}),
    ...(source === 'measured' && allow !== undefined && allow.length > 0 ? { allow } : {}),
    speedup: reader.number('timing.speedup') ?? 1,
    decodeSpeedup,
  };
}

/** The file or folder that `timing.source` reads. */
function resolveProfilePath(reader: Reader, wanted: Common['wantedTiming']): string | undefined {
  if (wanted !== 'profile' && wanted !== 'tables' && wanted !== 'measured') {
    reader.unread('timing.path', `not read by source ${wanted}`, 'remove it or set source: profile, tables or measured');
    return undefined;
  }
  const path = reader.text('timing.path');
  return path === undefined ? undefined : besideFile(reader.file('timing.path'), path);
}

/** Adds a complaint of the environment at the field it names. */
function report(reader: Reader, role: Role, { code, field, what, hint }: FieldProblem): void {
  const asShape = (SHAPE_FIELDS as readonly string[]).includes(field) && reader.has(`deployment.${role}.shape`);
  const own = `deployment.${role}.${asShape ? 'shape' : field}`;
  const shared = /^(model|hardware)$/.test(field) || (!reader.has(own) && reader.has(`deployment.${field}`));
  const path = field.startsWith('timing') ? field : shared ? `deployment.${field}` : own;
  // A model that does not split has no timing either: one complaint is enough.
  if (code === 'E-HARDWARE' && reader.problems.some((problem) => problem.code === 'E-FIT' && problem.path === path)) return;
  reader.problem(code, path, what, hint);
}
