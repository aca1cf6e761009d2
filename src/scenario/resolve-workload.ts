import { existsSync } from 'node:fs';
import { LIMITS } from './field-kinds.js';
import { besideFile } from './paths.js';
import type { Reader } from './reader.js';
import type { Distribution, Fidelity, Load, RunSpec, WorkloadSource, WorkloadSpec } from './scenario.js';
import { traceRate } from './trace-rate.js';

type SyntheticSource = Extract<WorkloadSource, { kind: 'synthetic' }>;

/** Resolves `workload`. `engineBlockTokens`: the engine's block size, of which synthetic prompts are made. */
export function resolveWorkload(reader: Reader, { seed, fidelity }: RunSpec, engineBlockTokens: number): WorkloadSpec {
  const source = resolveSource(reader, fidelity);
  if (source.kind !== 'trace') {
    for (const name of ['format', 'block_size', 'nested_timestamps']) reader.unread(`workload.${name}`, 'only read with a trace', 'remove it');
  }
  const load = resolveLoad(reader, source, seed);
  const format = (source.kind === 'trace' ? reader.choice<WorkloadSpec['format']>('workload.format') : undefined) ?? 'auto';
  return {
    source,
    format,
    traceBlockTokens: source.kind === 'synthetic' ? engineBlockTokens : source.kind === 'trace' ? (reader.number('workload.block_size') ?? null) : 512,
    ...resolveNestedTimestamps(reader, source, format),
    load,
    requests: resolveRequests(reader, source, load, engineBlockTokens),
  };
}

/** A trace whose format is found must turn out to be weka. */
function resolveNestedTimestamps(reader: Reader, source: WorkloadSource, format: WorkloadSpec['format']): Pick<WorkloadSpec, 'nestedTimestamps'> {
  const path = 'workload.nested_timestamps';
  if (source.kind !== 'trace') return {};
  if (format !== 'auto' && format !== 'weka') {
    reader.unread(path, `not read with format ${format}`, 'remove it or set format: weka');
    return {};
  }
  const value = reader.choice<'auto' | 'relative' | 'absolute'>(path) ?? 'auto';
  return value === 'auto' ? {} : { nestedTimestamps: value };
}

function resolveRequests(reader: Reader, source: WorkloadSource, load: Load, blockTokens: number): number | null {
  if (source.kind !== 'synthetic') {
    for (const name of ['rounds', 'sessions']) reader.unread(`workload.${name}`, 'only read with synthetic', "write 'requests' to cut a trace");
    return reader.number('workload.requests') ?? null;
  }
  const turns = source.turns ?? 1;
  const counted = turns > 1 ? 'workload.sessions' : 'workload.requests';
  reader.unread('workload.requests', 'sessions have several turns', "write 'sessions'");
  reader.unread('workload.sessions', 'a session has one turn', "write 'requests'");
  if (reader.has(counted) && reader.has('workload.rounds')) {
    reader.problem('E-CONFLICT', 'workload.rounds', `${counted} is set at line ${reader.line(counted)}`, 'keep one');
  }
  const perRound = load.kind === 'concurrency' ? load.concurrency : load.kind === 'rate' ? load.requestsPerSecond : 1;
  const sessions = reader.number(counted) ?? Math.max(1, Math.round((reader.number('workload.rounds') ?? 10) * perRound));
  const count = sessions * turns;
  const blocks = count * Math.ceil(typicalPrompt(source) / blockTokens);
  const path = [counted, 'workload.rounds', `workload.load.${load.kind}`].find((name) => reader.has(name)) ?? 'workload';
  if (count > LIMITS.requests) reader.problem('E-RANGE', path, `${count} requests in all`, `ask for ${LIMITS.requests} at most`);
  else if (blocks > MOST_PROMPT_BLOCKS) reader.problem('E-RANGE', path, `${count} prompts hold about ${blocks} KV blocks`, `ask for ${MOST_PROMPT_BLOCKS} at most: fewer requests or shorter prompts`);
  return count;
}

/** Blocks of all prompts together: more would not fit the memory of a simulation. */
const MOST_PROMPT_BLOCKS = 100_000_000;

/** Tokens of a prompt, over the turns of a session. */
function typicalPrompt({ isl, osl, turns = 1, history }: SyntheticSource): number {
  const earlier = history === 'cumulative' ? (turns - 1) / 2 : 0;
  return typicalTokens(isl) * (1 + earlier) + typicalTokens(osl) * earlier;
}

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

function resolveSource(reader: Reader, fidelity: Fidelity): WorkloadSource {
  const kinds = ['trace', 'synthetic', 'generate'].filter((kind) => reader.has(`workload.${kind}`));
  const [first, second] = kinds;
  if (second !== undefined) {
    reader.problem('E-CONFLICT', `workload.${second}`, `workload.${first} is set at line ${reader.line(`workload.${first}`)}`, 'keep one of trace, synthetic, generate');
  }
  switch (first) {
    case 'trace':
      return { kind: 'trace', path: resolveTrace(reader) };
    case 'synthetic':
      return resolveSynthetic(reader, fidelity);
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

/** Turns of a session; none where it has one. */
function resolveTurns(reader: Reader, fidelity: Fidelity): Pick<SyntheticSource, 'turns' | 'thinkTimeMs' | 'history'> {
  const path = 'workload.synthetic';
  const turns = reader.number(`${path}.turns`) ?? 1;
  if (turns === 1) {
    for (const name of ['think_time', 'history']) reader.unread(`${path}.${name}`, 'a session has one turn', 'remove it or set turns');
    return {};
  }
  const mean = reader.number(`${path}.think_time.mean`);
  if (reader.settings.blocks.has(`${path}.think_time`)) reader.required(`${path}.think_time.mean`, mean, 0, "add 'mean: 10 s'");
  const ms = mean ?? reader.number(`${path}.think_time`) ?? 0;
  const history = reader.choice<'cumulative' | 'fresh'>(`${path}.history`) ?? (fidelity === 'realistic' ? 'cumulative' : 'fresh');
  return { turns, thinkTimeMs: { kind: mean === undefined ? 'constant' : 'exponential', ms }, history };
}

function resolveSynthetic(reader: Reader, fidelity: Fidelity): WorkloadSource {
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
    ...resolveTurns(reader, fidelity),
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
  const lanes = source.kind === 'trace' && (first === undefined || first === 'speedup') ? reader.number(`${path}.lanes`) : undefined;
  reader.unread(`${path}.lanes`, 'only read with a trace and its timestamps', 'remove it');
  if (first !== 'rate') for (const name of ['arrivals', 'smoothness', 'seed']) reader.unread(`${path}.${name}`, 'only read with rate', 'remove it or set rate');
  switch (first) {
    case 'concurrency':
      return { kind: 'concurrency', concurrency: reader.number(`${path}.concurrency`) ?? 1 };
    case 'rate':
      return resolveRate(reader, source, seed);
    case 'speedup':
      if (source.kind === 'synthetic') reader.problem('E-COMBINATION', `${path}.speedup`, 'synthetic requests have no timestamps', "write 'concurrency: 16' or 'rate: 8 req/s'");
      return { kind: 'speedup', speedup: reader.number(`${path}.speedup`) ?? 1, ...(lanes === undefined ? {} : { lanes }) };
    default:
      if (source.kind === 'synthetic') {
        reader.problem('E-MISSING', path, 'required beside synthetic', "add 'load: {concurrency: 16}'", { path: reader.has(path) ? path : 'workload.synthetic' });
      }
      return { kind: 'speedup', speedup: 1, ...(lanes === undefined ? {} : { lanes }) };
  }
}

/** Requests per second, or sessions per second where they have several turns: the unit must say which. */
function resolveArrivalRate(reader: Reader, path: string, turns: number): number {
  const [requests, sessions] = [reader.number(path), reader.other(path)];
  if (turns === 1 && sessions !== undefined) {
    reader.problem('E-UNIT', path, `${sessions} sessions/s, and every request stands alone`, `write '${sessions} req/s'`);
  } else if (turns > 1 && requests !== undefined) {
    reader.problem('E-UNIT', path, `${requests} req/s, and what arrives are sessions of ${turns} turns`, `write '${Number((requests / turns).toPrecision(6))} sessions/s'`);
  }
  return requests ?? sessions ?? 1;
}

function resolveRate(reader: Reader, source: WorkloadSource, seed: number): Load {
  const path = 'workload.load';
  const requestsPerSecond = resolveArrivalRate(reader, `${path}.rate`, source.kind === 'synthetic' ? (source.turns ?? 1) : 1);
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
