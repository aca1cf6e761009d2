import { DEFAULT_ACCEPT } from './dynamo/engine-args.js';
import type { Environment } from './environment.js';
import { SGLANG_FIELDS } from './fields.js';
import type { Reader } from './reader.js';
import type { EngineName, EngineSpec, Fidelity, PoolSpec, SglangSpec, SpeculativeSpec } from './scenario.js';

/** What an engine depends on beside its own fields. */
export interface EngineQuestion {
  readonly reader: Reader;
  readonly environment: Environment;
  readonly fidelity: Fidelity;
  /** Null where the scenario has none. */
  readonly model: string | null;
  readonly role: PoolSpec['role'];
  readonly speculative: SpeculativeSpec | null;
}

/** Fields that a flavour's scheduler does not read. */
const UNREAD: Readonly<Record<EngineName, readonly string[]>> = {
  vllm: SGLANG_FIELDS,
  trtllm: ['preemption', ...SGLANG_FIELDS],
  sglang: ['max_num_batched_tokens', 'chunked_prefill', 'preemption'],
};

/** Engine fields of a pool: its own, else the deployment's. */
function engineReader(reader: Reader, role: PoolSpec['role']) {
  const path = (name: string): string => {
    const own = `deployment.${role}.engine.${name}`;
    return reader.has(own) ? own : `deployment.engine.${name}`;
  };
  return {
    path,
    number: (name: string) => reader.number(path(name)),
    boolean: (name: string) => reader.boolean(path(name)),
    choice: <T extends string>(name: string) => reader.choice<T>(path(name)),
    text: (name: string) => reader.text(path(name)),
  };
}

type EngineReader = ReturnType<typeof engineReader>;

/** The engine of one pool, defaults by flavour and fidelity (spec: engine section 1); its memory fraction is `resolveMemoryFraction`'s. */
export function resolveEngine({ reader, environment, fidelity, model, role, speculative }: EngineQuestion): EngineSpec {
  const engine = engineReader(reader, role);
  const name = engine.choice<EngineName>('name') ?? 'vllm';
  const defaults = environment.engineDefaults(name);
  for (const field of UNREAD[name]) {
    const hint = field === 'preemption' || name === 'sglang' ? 'remove it' : 'remove it or set engine: sglang';
    for (const prefix of [`deployment.${role}`, 'deployment']) reader.unread(`${prefix}.engine.${field}`, `not read by ${name}`, hint);
  }
  const read = <T>(field: string, value: (name: string) => T | undefined): T | undefined => (UNREAD[name].includes(field) ? undefined : value(field));
  const blockTokens = engine.number('block_size') ?? defaults.blockTokens;
  if (blockTokens < 2 && name !== 'sglang') reader.problem('E-RANGE', engine.path('block_size'), `${blockTokens} is out of range`, 'write an integer of at least 2');
  engine.text('context_length');
  return {
    name,
    version: engine.text('version') ?? defaults.version,
    blockTokens,
    maxNumSeqs: engine.number('max_num_seqs') ?? (role === 'prefill' && fidelity === 'aisimulate' ? 1 : 256),
    maxNumBatchedTokens: read('max_num_batched_tokens', engine.number) ?? 8192,
    prefixCaching: resolvePrefixCaching(reader, engine, name, fidelity),
    chunkedPrefill: read('chunked_prefill', engine.boolean) ?? true,
    contextTokens: engine.number('context_length') ?? (hasContextLimit(name, fidelity) && model !== null ? environment.modelContextTokens(model) : null),
    memoryFraction: defaults.memoryFraction,
    preemption: read('preemption', (field) => engine.choice<EngineSpec['preemption']>(field)) ?? 'lifo',
    ...(speculative ? { speculative } : {}),
    ...resolveAdmission(reader, engine, role, fidelity),
    ...(name === 'sglang' ? { sglang: { ...resolveSglang(reader, engine, blockTokens), ...resolveReceiveInterval(reader, engine, role, fidelity) } } : {}),
  };
}

/** `deployment.speculative`; null = off. Its draws follow the run's seed (spec: engine section 6.6). */
export function resolveSpeculative(reader: Reader, seed: number): SpeculativeSpec | null {
  const path = 'deployment.speculative';
  if (!reader.has(path)) return null;
  reader.choice(`${path}.method`);
  const tokens = reader.required(`${path}.tokens`, reader.number(`${path}.tokens`), 1, "add 'tokens: 2'");
  const accept = reader.list(`${path}.accept`) as readonly number[] | undefined;
  if (accept && accept.length > tokens) reader.problem('E-RANGE', `${path}.accept`, `${accept.length} probabilities for ${tokens} draft tokens`, `write ${tokens} at most`);
  return { tokens, accept: accept ?? DEFAULT_ACCEPT.slice(0, tokens), seed };
}

/** Share of GPU memory of a pool whose KV blocks are sized. */
export function resolveMemoryFraction(reader: Reader, role: PoolSpec['role'], engine: EngineSpec): number {
  return engineReader(reader, role).number('memory_fraction') ?? engine.memoryFraction;
}

/** The replay of 1.4 limits the context of vLLM only (spec: engine section 1). */
function hasContextLimit(name: EngineName, fidelity: Fidelity): boolean {
  return name === 'vllm' || fidelity !== 'dynosim';
}

/** SGLang in the replay of 1.4 keeps its cache on whatever is asked (spec: compat B2). */
function resolvePrefixCaching(reader: Reader, engine: EngineReader, name: EngineName, fidelity: Fidelity): boolean {
  const wanted = engine.boolean('prefix_caching') ?? true;
  if (wanted || name !== 'sglang' || fidelity !== 'dynosim') return wanted;
  reader.unreadField(engine.path('prefix_caching'), 'sglang keeps its cache on under fidelity dynosim', 'remove it or set another run.fidelity');
  return true;
}

/** Schedules made a pass ahead belong to aggregated workers of our own model. */
function resolveAdmission(reader: Reader, engine: EngineReader, role: PoolSpec['role'], fidelity: Fidelity): Pick<EngineSpec, 'admission'> {
  const wanted = engine.choice('admission');
  const why = fidelity !== 'realistic' ? `under fidelity ${fidelity} a request meets the next pass` : role !== 'agg' ? `not read by ${role} workers` : null;
  if (why !== null) reader.unreadField(engine.path('admission'), why, 'remove it');
  return why === null && wanted === 'next_pass' ? { admission: wanted } : {};
}

/** Only requests that meet decode passes wait for it: a prefill worker reads after every pass, a decode worker is handed its own. */
function resolveReceiveInterval(reader: Reader, engine: EngineReader, role: PoolSpec['role'], fidelity: Fidelity): Pick<SglangSpec, 'receiveInterval'> {
  const interval = engine.number('receive_interval') ?? 1;
  const why = fidelity !== 'realistic' ? `under fidelity ${fidelity} requests are read before every pass` : role !== 'agg' ? `${role} workers have no decode passes that requests from outside wait for` : null;
  if (why !== null) reader.unreadField(engine.path('receive_interval'), why, 'remove it');
  return why === null && interval > 1 ? { receiveInterval: interval } : {};
}

/** Tokens of a prompt chunk where none are given: need not be whole blocks. */
export const DEFAULT_CHUNK_TOKENS = 8192;

function resolveSglang(reader: Reader, engine: EngineReader, blockTokens: number): SglangSpec {
  const chunk = engine.number('chunked_prefill_size');
  if (chunk !== undefined && chunk % blockTokens !== 0) {
    reader.problem('E-RANGE', engine.path('chunked_prefill_size'), `${chunk} is not a multiple of block_size (${blockTokens})`, `use ${Math.ceil(chunk / blockTokens) * blockTokens}`);
  }
  return {
    schedulePolicy: engine.choice<SglangSpec['schedulePolicy']>('schedule_policy') ?? 'fifo',
    maxPrefillTokens: engine.number('max_prefill_tokens') ?? 16384,
    chunkedPrefillSize: chunk ?? DEFAULT_CHUNK_TOKENS,
    clipMaxNewTokens: engine.number('clip_max_new_tokens') ?? 4096,
    scheduleConservativeness: engine.number('schedule_conservativeness') ?? 1,
    decodeInterval: engine.number('decode_interval') ?? 0,
  };
}
