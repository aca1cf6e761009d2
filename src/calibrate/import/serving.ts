import { basename } from 'node:path';
import { percentileLinear, meanAndStd } from '../../core/distribution.js';
import { InputError } from '../../core/problem.js';
import { wholeText } from '../../workload/formats/lines.js';
import type { Imported, ImportOptions, ServingRow, Tally } from './imported.js';
import { jsonLines, parsedObject, type JsonLine } from './lines.js';

/** End-to-end results of serving benchmarks as targets to validate against. Source: workload section 4.5. */

type Json = Readonly<Record<string, unknown>>;
type Load = Pick<ServingRow, 'source' | 'model' | 'isl' | 'osl' | 'concurrency' | 'request_rate'>;

/** Our name of each metric of AIPerf. Its inter-token latency is one value a request: our TPOT. */
const AIPERF: Readonly<Record<string, string>> = {
  time_to_first_token: 'ttft', time_to_second_token: 'ttst', inter_token_latency: 'tpot', inter_chunk_latency: 'itl', request_latency: 'e2e',
  output_token_throughput_per_user: 'output_throughput_per_user', request_throughput: 'request_throughput', output_token_throughput: 'output_throughput',
  total_token_throughput: 'total_throughput', benchmark_duration: 'duration', request_count: 'requests', error_request_count: 'failed_requests',
};
/** Statistics of AIPerf in our words; its counts and sums are no targets. */
const STATISTICS: Readonly<Record<string, string>> = { avg: 'mean', min: 'min', max: 'max', std: 'std', p1: 'p1', p5: 'p5', p10: 'p10', p25: 'p25', p50: 'p50', p75: 'p75', p90: 'p90', p95: 'p95', p99: 'p99' };
/** Percentiles of single requests, as AIPerf has them. */
const PERCENTILES = [1, 5, 10, 25, 50, 75, 90, 95, 99] as const;
/** Units of time in ms. */
const MILLISECONDS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, sec: 1000, seconds: 1000 };

/**
 * `profile_export_aiperf.json` (a run's statistics) or `profile_export.jsonl` (its requests: warm-up and failed ones are counted as left
 * out). Throws `E-FILE`, `E-SYNTAX`, `E-ROW`.
 */
export async function importAiperf(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const whole = parsedObject(await wholeText(source));
  const rows = whole !== null && !('metrics' in whole) ? runRows(source, whole, options) : await requestRows(source, options, tally);
  return { shape: 'serving', rows: some(rows, source) };
}

function runRows(source: string, run: Json, options: ImportOptions): ServingRow[] {
  const config = (run['input_config'] ?? {}) as Json;
  const generator = (config['loadgen'] ?? config['load'] ?? {}) as Json;
  const endpoint = (config['endpoint'] ?? {}) as Json;
  const models = endpoint['model_names'] as readonly string[] | undefined;
  const load: Load = {
    source: basename(source),
    model: options.model ?? textOf(config['model']) ?? models?.[0] ?? null,
    isl: numberOf((run['input_sequence_length'] as Json | undefined)?.['avg']),
    osl: numberOf((run['output_sequence_length'] as Json | undefined)?.['avg']),
    concurrency: numberOf(generator['concurrency']),
    request_rate: numberOf(generator['request_rate'] ?? generator['rate']),
  };
  return Object.entries(AIPERF).flatMap(([tag, metric]) => {
    const block = run[tag] as Json | undefined;
    if (block === undefined) return [];
    const unit = textOf(block['unit']) ?? '';
    return Object.entries(STATISTICS).flatMap(([statistic, stat]) => {
      const value = numberOf(block[statistic]);
      return value === null ? [] : [rowOf(load, metric, stat, value, unit)];
    });
  });
}

async function requestRows(source: string, options: ImportOptions, tally: Tally): Promise<ServingRow[]> {
  const samples = new Map<string, { readonly unit: string; readonly values: number[] }>();
  for await (const line of jsonLines([source], () => tally.drop('last line, cut off'))) {
    const metrics = metricsOf(line);
    const { metadata, error } = line.value as { readonly metadata?: Json; readonly error?: unknown };
    if (metadata?.['benchmark_phase'] === 'warmup') tally.drop('warm-up request');
    else if (error !== null && error !== undefined) tally.drop('failed request');
    else {
      for (const [tag, measured] of Object.entries(metrics)) {
        const { value: raw, unit } = (typeof measured === 'object' && measured !== null ? measured : { value: measured }) as { readonly value?: unknown; readonly unit?: string };
        const value = numberOf(raw);
        if (value === null) continue;
        const sample = samples.get(tag) ?? { unit: unit ?? 'ms', values: [] };
        sample.values.push(value);
        samples.set(tag, sample);
      }
    }
  }
  const mean = (tag: string): number | null => (samples.has(tag) ? meanAndStd(Float64Array.from(samples.get(tag)!.values)).mean : null);
  const load: Load = { source: basename(source), model: options.model ?? null, isl: mean('input_sequence_length'), osl: mean('output_sequence_length'), concurrency: null, request_rate: null };
  return Object.entries(AIPERF).flatMap(([tag, metric]) => {
    const sample = samples.get(tag);
    return sample === undefined ? [] : distributionRows(load, metric, sample.values, sample.unit);
  });
}

function distributionRows(load: Load, metric: string, values: readonly number[], unit: string): ServingRow[] {
  const sorted = Float64Array.from(values).sort();
  const { mean, std } = meanAndStd(sorted);
  const statistics = { mean, min: sorted[0]!, max: sorted.at(-1)!, std, ...Object.fromEntries(PERCENTILES.map((p) => [`p${p}`, percentileLinear(sorted, p)])) };
  return Object.entries(statistics).map(([stat, value]) => rowOf(load, metric, stat, value, unit));
}

/** Throws `E-ROW`. */
function metricsOf({ value, file, line }: JsonLine): Json {
  const metrics = value['metrics'];
  if (typeof metrics === 'object' && metrics !== null) return metrics as Json;
  throw new InputError({ code: 'E-ROW', file, line, path: 'metrics', what: 'is absent', hint: "give AIPerf's profile_export.jsonl" });
}

/** `mean_ttft_ms`, `p99_tpot_ms`, …; e2el is the end-to-end latency, itl every gap between tokens. */
const VLLM_TIME = /^(mean|median|std|p\d+(?:\.\d+)?)_(ttft|tpot|itl|e2el)_ms$/;
const VLLM_RATES: Readonly<Record<string, readonly [metric: string, unit: string]>> = {
  request_throughput: ['request_throughput', 'requests/s'], output_throughput: ['output_throughput', 'tokens/s'], total_token_throughput: ['total_throughput', 'tokens/s'],
  duration: ['duration', 's'], completed: ['requests', 'requests'], failed: ['failed_requests', 'requests'],
};

/** Results of vLLM's serving benchmark: one object, or one a line. Throws `E-FILE`, `E-SYNTAX`, `E-ROW`. */
export async function importVllmBench(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const whole = parsedObject(await wholeText(source));
  const runs: Json[] = whole === null ? [] : [whole];
  if (whole === null) for await (const { value } of jsonLines([source], () => tally.drop('last line, cut off'))) runs.push(value);
  return { shape: 'serving', rows: some(runs.flatMap((run) => benchRows(source, run, options)), source) };
}

function benchRows(source: string, run: Json, options: ImportOptions): ServingRow[] {
  const requests = numberOf(run['completed']);
  const perRequest = (total: unknown): number | null => (requests !== null && requests > 0 && numberOf(total) !== null ? numberOf(total)! / requests : null);
  const load: Load = {
    source: basename(source),
    model: options.model ?? textOf(run['model_id']),
    isl: perRequest(run['total_input_tokens']),
    osl: perRequest(run['total_output_tokens']),
    concurrency: numberOf(run['max_concurrency']),
    request_rate: numberOf(run['request_rate']),
  };
  return Object.entries(run).flatMap(([name, raw]) => {
    const value = numberOf(raw);
    const time = VLLM_TIME.exec(name);
    const rate = VLLM_RATES[name];
    if (value === null) return [];
    if (time !== null) return [rowOf(load, time[2] === 'e2el' ? 'e2e' : time[2]!, time[1] === 'median' ? 'p50' : time[1]!, value, 'ms')];
    return rate === undefined ? [] : [rowOf(load, rate[0], 'value', value, rate[1])];
  });
}

/** Times in ms but for the length of a run, which is in s. */
function rowOf(load: Load, metric: string, stat: string, value: number, unit: string): ServingRow {
  const scale = MILLISECONDS[unit.toLowerCase()];
  if (scale === undefined) return { ...load, metric, stat, value, unit: unit.replace('/sec', '/s') };
  return metric === 'duration' ? { ...load, metric, stat, value: (value * scale) / 1000, unit: 's' } : { ...load, metric, stat, value: value * scale, unit: 'ms' };
}

function some(rows: readonly ServingRow[], source: string): readonly ServingRow[] {
  if (rows.length > 0) return rows;
  throw new InputError({ code: 'E-ROW', file: source, what: 'holds no metric that is known', hint: 'give the results of a whole run' });
}

/** Finite numbers; words such as "inf" are not known. */
function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
