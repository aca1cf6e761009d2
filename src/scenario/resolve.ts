import { existsSync } from 'node:fs';
import type { Environment } from './environment.js';
import { KV_ROUTER_FIELDS, LIMITS } from './fields.js';
import { besideFile } from './paths.js';
import type { Reader } from './reader.js';
import { resolveDeployment } from './resolve-deployment.js';
import type { Distribution, EngineName, Fidelity, Load, ReportSpec, RouterSpec, RunSpec, Scenario, SloSpec, WorkloadSource, WorkloadSpec } from './scenario.js';
import { traceRate } from './trace-rate.js';

/**
 * Fills in every default and checks what needs more than one field, a model or a table. Problems
 * are collected in the reader; the result means something only when there are none.
 */
export function resolveScenario(reader: Reader, environment: Environment, name: string): Scenario {
  const run = resolveRun(reader);
  const { deployment, timing } = resolveDeployment(reader, environment, run);
  const pools = deployment.pools;
  return {
    name: reader.text('name') ?? name,
    workload: resolveWorkload(reader, run.seed, pools[0]?.engine.blockTokens ?? 64),
    deployment,
    router: resolveRouter(reader, defaultVisibility(run.fidelity, pools[0]?.engine.name ?? 'vllm'), pools.some((pool) => pool.replicas > 1)),
    timing,
    slo: resolveSlo(reader),
    gpuHourPrice: reader.number('cost.gpu_hour') ?? null,
    run,
    report: resolveReport(reader),
  };
}

function resolveRun(reader: Reader): RunSpec {
  return {
    seed: reader.number('run.seed') ?? 42,
    fidelity: reader.choice<Fidelity>('run.fidelity') ?? 'realistic',
    maxTimeMs: reader.number('run.max_time') ?? null,
    capture: unique(reader.list('run.capture') as RunSpec['capture'] | undefined ?? []),
  };
}

function resolveReport(reader: Reader): ReportSpec {
  return {
    intervalMs: reader.number('report.interval') ?? 10_000,
    formats: unique(reader.list('report.formats') as ReportSpec['formats'] | undefined ?? ['json']),
  };
}

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

function resolveSlo(reader: Reader): SloSpec | null {
  if (!reader.has('slo')) return null;
  const slo: SloSpec = {
    ttftMs: reader.number('slo.ttft') ?? null,
    itlMs: reader.number('slo.itl') ?? null,
    e2eMs: reader.number('slo.e2e') ?? null,
    at: reader.choice<SloSpec['at']>('slo.at') ?? 'p99',
  };
  const bounds = ['ttft', 'itl', 'e2e'].filter((bound) => reader.has(`slo.${bound}`));
  if (bounds.length === 0) reader.problem('E-MISSING', 'slo', 'no bound is set', "add 'ttft: 500 ms', 'itl: 50 ms' or 'e2e: 10 s'");
  if (bounds.includes('e2e') && bounds.length > 1) {
    reader.problem('E-CONFLICT', 'slo.e2e', `slo.${bounds[0]} is set at line ${reader.line(`slo.${bounds[0]}`)}`, 'keep e2e, or ttft and itl');
  }
  return slo;
}

/** When the blocks of a pass show, by profile and engine (spec: scenario section 2.1, compat C3). */
function defaultVisibility(fidelity: Fidelity, engine: EngineName): RouterSpec['indexVisible'] {
  return fidelity === 'dynosim' && engine !== 'sglang' ? 'pass_start' : 'pass_end';
}

function resolveRouter(reader: Reader, visibleByDefault: RouterSpec['indexVisible'], choiceOfWorkers: boolean): RouterSpec {
  const wanted = reader.choice<RouterSpec['policy']>('router.policy') ?? 'round_robin';
  const policy = choiceOfWorkers ? wanted : 'round_robin';
  const number = (name: string, fallback: number): number => (policy === 'kv' ? reader.number(`router.${name}`) : undefined) ?? fallback;
  const flag = (name: string, fallback: boolean): boolean => (policy === 'kv' ? reader.boolean(`router.${name}`) : undefined) ?? fallback;
  if (policy !== wanted) {
    reader.unreadField('router.policy', 'there is only one worker to choose', 'remove it or add replicas');
    for (const name of KV_ROUTER_FIELDS) reader.unread(`router.${name}`, 'there is only one worker to choose', 'remove it or add replicas');
  } else if (!choiceOfWorkers) {
    reader.harmlesslyUnread('router.policy');
  }
  if (policy !== 'kv') for (const name of KV_ROUTER_FIELDS) reader.unread(`router.${name}`, `not read by policy ${policy}`, 'remove it or set policy: kv');
  const visible = policy === 'kv' ? reader.choice<RouterSpec['indexVisible']>('router.index.visible') : undefined;
  return {
    policy,
    overlapScoreCredit: number('overlap_score_credit', 1),
    overlapScoreCreditDecay: number('overlap_score_credit_decay', 0),
    prefillLoadScale: number('prefill_load_scale', 1),
    decodeActiveRequestWeight: number('decode_active_request_weight', 0),
    temperature: number('temperature', 0),
    trackActiveBlocks: flag('track_active_blocks', true),
    trackPrefillTokens: flag('track_prefill_tokens', true),
    assumeKvReuse: flag('assume_kv_reuse', true),
    indexVisible: visible ?? visibleByDefault,
  };
}

function resolveWorkload(reader: Reader, seed: number, engineBlockTokens: number): WorkloadSpec {
  const source = resolveSource(reader);
  if (source.kind !== 'trace') {
    for (const name of ['format', 'block_size']) reader.unread(`workload.${name}`, `only read with a trace`, 'remove it');
  }
  const load = resolveLoad(reader, source, seed);
  return {
    source,
    format: (source.kind === 'trace' ? reader.choice<WorkloadSpec['format']>('workload.format') : undefined) ?? 'auto',
    traceBlockTokens: source.kind === 'synthetic' ? engineBlockTokens : ((source.kind === 'trace' ? reader.number('workload.block_size') : undefined) ?? 512),
    load,
    requests: resolveRequests(reader, source, load, engineBlockTokens),
  };
}

function resolveRequests(reader: Reader, source: WorkloadSource, load: Load, blockTokens: number): number | null {
  const requests = reader.number('workload.requests');
  if (source.kind !== 'synthetic') {
    reader.unread('workload.rounds', 'only read with synthetic', "write 'requests' to cut a trace");
    return requests ?? null;
  }
  if (reader.has('workload.requests') && reader.has('workload.rounds')) {
    reader.problem('E-CONFLICT', 'workload.rounds', `workload.requests is set at line ${reader.line('workload.requests')}`, 'keep one');
  }
  const perRound = load.kind === 'concurrency' ? load.concurrency : load.kind === 'rate' ? load.requestsPerSecond : 1;
  const count = requests ?? Math.max(1, Math.round((reader.number('workload.rounds') ?? 10) * perRound));
  const blocks = count * Math.ceil(typicalTokens(source.isl) / blockTokens);
  const path = ['workload.requests', 'workload.rounds', `workload.load.${load.kind}`].find((name) => reader.has(name)) ?? 'workload';
  if (count > LIMITS.requests) reader.problem('E-RANGE', path, `${count} requests in all`, `ask for ${LIMITS.requests} at most`);
  else if (blocks > MOST_PROMPT_BLOCKS) reader.problem('E-RANGE', path, `${count} prompts hold about ${blocks} KV blocks`, `ask for ${MOST_PROMPT_BLOCKS} at most: fewer requests or shorter prompts`);
  return count;
}

/** Blocks of all prompts together: more would not fit the memory of a simulation. */
const MOST_PROMPT_BLOCKS = 100_000_000;

/** Mean or median of a distribution. */
function typicalTokens(lengths: Distribution): number {
  switch (lengths.kind) {
    case 'constant':
      return lengths.value;
    case 'normal':
    case 'exponential':
      return lengths.mean;
    case 'lognormal':
      return lengths.median;
    case 'uniform':
      return (lengths.from + lengths.to) / 2;
  }
}

function resolveSource(reader: Reader): WorkloadSource {
  const kinds = ['trace', 'synthetic', 'generate'].filter((kind) => reader.has(`workload.${kind}`));
  const [first, second] = kinds;
  if (second !== undefined) {
    reader.problem('E-CONFLICT', `workload.${second}`, `workload.${first} is set at line ${reader.line(`workload.${first}`)}`, 'keep one of trace, synthetic, generate');
  }
  switch (first) {
    case 'trace':
      return { kind: 'trace', path: resolveTrace(reader) };
    case 'synthetic':
      return resolveSynthetic(reader);
    case 'generate':
      return resolveGenerate(reader);
    default:
      reader.problem('E-MISSING', 'workload', 'one of trace, synthetic, generate is required', "add 'synthetic: {isl: 1024, osl: 128}'");
      return { kind: 'trace', path: '' };
  }
}

function resolveGenerate(reader: Reader): WorkloadSource {
  const path = 'workload.generate';
  const durationMs = reader.number(`${path}.duration`) ?? 59 * 60_000;
  const scale = reader.number(`${path}.scale`) ?? 1;
  const hours = (durationMs * scale) / 3_600_000;
  if (hours > LIMITS.trafficHours) {
    const field = reader.has(`${path}.duration`) ? 'duration' : 'scale';
    reader.problem('E-RANGE', `${path}.${field}`, `duration times scale is ${hours.toPrecision(3)} h of traffic`, `stay within ${LIMITS.trafficHours} h`);
  }
  return { kind: 'generate', like: reader.required(`${path}.like`, reader.choice<'conversation'>(`${path}.like`), 'conversation', "add 'like: conversation'"), durationMs, scale };
}

const CATALOGUE_TRACES = ['conversation', 'synthetic', 'toolagent', 'tool_agent', 'arxiv'];

function resolveTrace(reader: Reader): string {
  const path = 'workload.trace';
  const value = reader.text(path);
  if (value === undefined) return '';
  const place = besideFile(reader.file(path), value);
  if (existsSync(place)) return place;
  if (CATALOGUE_TRACES.includes(value)) {
    reader.problem('E-FILE', path, `catalogue trace '${value}' is not on this machine`, `run 'dynotwin trace fetch ${value}'`);
  } else {
    reader.problem('E-FILE', path, `no file '${place}'`, 'paths are relative to the file they stand in');
  }
  return place;
}

function resolveSynthetic(reader: Reader): WorkloadSource {
  const prefix = 'workload.synthetic.shared_prefix';
  const ratio = reader.number(`${prefix}.ratio`);
  const tokens = reader.number(`${prefix}.tokens`);
  if (reader.has(`${prefix}.ratio`) && reader.has(`${prefix}.tokens`)) {
    reader.problem('E-CONFLICT', `${prefix}.tokens`, `${prefix}.ratio is set at line ${reader.line(`${prefix}.ratio`)}`, 'keep one');
  } else if (reader.has(prefix) && !reader.has(`${prefix}.ratio`) && !reader.has(`${prefix}.tokens`)) {
    reader.problem('E-MISSING', prefix, 'one of ratio, tokens is required', "add 'ratio: 0.5'");
  }
  const groups = reader.number(`${prefix}.groups`) ?? 1;
  return {
    kind: 'synthetic',
    isl: resolveLengths(reader, 'workload.synthetic.isl'),
    osl: resolveLengths(reader, 'workload.synthetic.osl'),
    sharedPrefix: ratio !== undefined ? { ratio, groups } : tokens !== undefined ? { tokens, groups } : null,
  };
}

function resolveLengths(reader: Reader, path: string): Distribution {
  const constant = reader.number(path);
  if (constant !== undefined) return { kind: 'constant', value: constant };
  const none: Distribution = { kind: 'constant', value: 1 };
  if (!reader.has(path)) {
    reader.problem('E-MISSING', path, 'required', `add '${path.split('.').at(-1)}: 1024'`);
    return none;
  }
  if (reader.settings.leaves.has(path)) return none;
  const forms = ['mean', 'lognormal', 'uniform', 'exponential'].filter((form) => reader.has(`${path}.${form}`));
  if (forms.length !== 1) {
    const code = forms.length === 0 ? 'E-MISSING' : 'E-CONFLICT';
    const what = forms.length === 0 ? 'one of mean and std, lognormal, uniform, exponential is required' : `${forms[0]} is set at line ${reader.line(`${path}.${forms[0]}`)}`;
    reader.problem(code, forms.length === 0 ? path : `${path}.${forms[1]}`, what, forms.length === 0 ? "add 'mean: 1024, std: 256'" : 'keep one distribution');
    return none;
  }
  const min = reader.number(`${path}.min`);
  const max = reader.number(`${path}.max`);
  if (min !== undefined && max !== undefined && min > max) reader.problem('E-RANGE', `${path}.max`, `${max} is below min (${min})`, 'raise max or lower min');
  const limits = { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
  if (forms[0] !== 'mean') reader.unread(`${path}.std`, `not read with ${forms[0]}`, 'remove it');
  const need = (name: string, example: number): number => reader.required(`${path}.${name}`, reader.number(`${path}.${name}`), example, `add '${name.split('.').at(-1)}: ${example}'`);
  switch (forms[0]) {
    case 'mean':
      return { kind: 'normal', mean: need('mean', 1024), std: need('std', 256), ...limits };
    case 'lognormal':
      return { kind: 'lognormal', median: need('lognormal.median', 1024), sigma: need('lognormal.sigma', 1), ...limits };
    case 'uniform': {
      const [from = 1, to = 1] = (reader.list(`${path}.uniform`) ?? []) as readonly number[];
      if (from > to) reader.problem('E-RANGE', `${path}.uniform`, `${from} is above ${to}`, 'write the smaller end first');
      return { kind: 'uniform', from, to, ...limits };
    }
    default:
      return { kind: 'exponential', mean: need('exponential', 1024), ...limits };
  }
}

function resolveLoad(reader: Reader, source: WorkloadSource, seed: number): Load {
  const path = 'workload.load';
  const [first, second] = ['concurrency', 'rate', 'speedup'].filter((kind) => reader.has(`${path}.${kind}`));
  if (second !== undefined) {
    reader.problem('E-CONFLICT', `${path}.${second}`, `${path}.${first} is set at line ${reader.line(`${path}.${first}`)}`, 'keep one of concurrency, rate, speedup');
  }
  if (first !== 'rate') for (const name of ['arrivals', 'smoothness', 'seed']) reader.unread(`${path}.${name}`, 'only read with rate', 'remove it or set rate');
  switch (first) {
    case 'concurrency':
      return { kind: 'concurrency', concurrency: reader.number(`${path}.concurrency`) ?? 1 };
    case 'rate':
      return resolveRate(reader, source, seed);
    case 'speedup':
      if (source.kind === 'synthetic') reader.problem('E-COMBINATION', `${path}.speedup`, 'synthetic requests have no timestamps', "write 'concurrency: 16' or 'rate: 8 req/s'");
      return { kind: 'speedup', speedup: reader.number(`${path}.speedup`) ?? 1 };
    default:
      if (source.kind === 'synthetic') {
        reader.problem('E-MISSING', path, 'required beside synthetic', "add 'load: {concurrency: 16}'", { path: reader.has(path) ? path : 'workload.synthetic' });
      }
      return { kind: 'speedup', speedup: 1 };
  }
}

function resolveRate(reader: Reader, source: WorkloadSource, seed: number): Load {
  const path = 'workload.load';
  const requestsPerSecond = reader.number(`${path}.rate`) ?? 1;
  if (source.kind !== 'synthetic') {
    const own = source.kind === 'trace' ? traceRate(source.path) : null;
    const speedup = own === null ? null : (requestsPerSecond / own).toPrecision(3);
    const hint = own === null ? "write 'speedup: 2' to double the rate" : `'speedup: ${speedup}' offers ${requestsPerSecond} req/s (the trace has ${own.toFixed(2)} req/s)`;
    reader.problem('E-COMBINATION', `${path}.rate`, 'traces keep their timestamps', hint, { part: 'value' });
  }
  const arrivals = reader.choice<'poisson' | 'constant' | 'gamma' | 'burst'>(`${path}.arrivals`) ?? 'poisson';
  if (arrivals !== 'gamma') reader.unread(`${path}.smoothness`, `not read with ${arrivals} arrivals`, 'remove it or set arrivals: gamma');
  const drawn = arrivals === 'poisson' || arrivals === 'gamma';
  if (!drawn) reader.unread(`${path}.seed`, `${arrivals} arrivals draw nothing`, 'remove it');
  return {
    kind: 'rate',
    requestsPerSecond,
    arrivals,
    smoothness: (arrivals === 'gamma' ? reader.number(`${path}.smoothness`) : undefined) ?? 1,
    seed: (drawn ? reader.number(`${path}.seed`) : undefined) ?? seed,
  };
}
