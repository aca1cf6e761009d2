import type { Report } from '../metrics/report.js';

/** What one request of a run went through, as rows hold it: in memory, or read back from a run folder. */
export interface SampleRow {
  readonly id: number;
  readonly session: string | number;
  readonly turn: number;
  readonly arrival_ms: number | null;
  readonly admit_ms: number | null;
  readonly end_ms: number | null;
  readonly status: string;
  readonly isl: number;
  readonly osl_requested: number;
  readonly ttft_ms: number | null;
  readonly tpot_ms: number | null;
  readonly e2e_ms: number | null;
  readonly queue_ms: number | null;
  readonly reused_tokens: number;
  readonly good: boolean | null;
}

/** Latencies that a request has of its own. */
export const SAMPLED = ['ttft_ms', 'tpot_ms', 'e2e_ms', 'queue_ms'] as const;
export type Sampled = (typeof SAMPLED)[number];

/** Requests of a run as columns by number; times in ms, NaN = none. */
export interface RunSamples {
  readonly count: number;
  readonly session: readonly string[];
  readonly turn: Int32Array;
  readonly isl: Int32Array;
  readonly oslRequested: Int32Array;
  readonly arrivalMs: Float64Array;
  readonly endMs: Float64Array;
  readonly status: readonly string[];
  /** In the set that latencies and shares are of: completed. */
  readonly measured: Uint8Array;
  readonly reused: Int32Array;
  /** 1 = kept every bound of the SLO; only of those measured. */
  readonly good: Uint8Array;
  readonly hasSlo: boolean;
  /** Only of those measured and not of the warm-up. */
  readonly latency: Readonly<Record<Sampled, Float64Array>>;
}

/** Columns of all rows of a run, in any order; null where they are not the report's requests 0, 1, 2 … */
export function runSamples(rows: readonly SampleRow[], report: Pick<Report, 'latency' | 'requests'>): RunSamples | null {
  const byId = new Array<SampleRow | undefined>(rows.length);
  for (const row of rows) byId[row.id] = row;
  if (rows.length !== report.requests.total || byId.length !== rows.length || rows.some((_, id) => byId[id] === undefined)) return null;
  const all = byId as SampleRow[];
  const measured = Uint8Array.from(all, ({ status, admit_ms: admitMs, end_ms: endMs }) => (status === 'completed' && admitMs !== null && endMs !== null ? 1 : 0));
  const warmup = warmupOf(all, measured, report);
  const latency = (name: Sampled): Float64Array => Float64Array.from(all, (row, id) => (measured[id] === 1 && id >= warmup ? (row[name] ?? NaN) : NaN));
  return {
    count: all.length,
    session: all.map(({ session }) => String(session)),
    turn: Int32Array.from(all, ({ turn }) => turn),
    isl: Int32Array.from(all, ({ isl }) => isl),
    oslRequested: Int32Array.from(all, (row) => row.osl_requested),
    arrivalMs: Float64Array.from(all, (row) => row.arrival_ms ?? NaN),
    endMs: Float64Array.from(all, (row) => row.end_ms ?? NaN),
    status: all.map(({ status }) => status),
    measured,
    reused: Int32Array.from(all, (row) => row.reused_tokens),
    good: Uint8Array.from(all, ({ good }) => (good === true ? 1 : 0)),
    hasSlo: all.some(({ good }) => good !== null),
    latency: { ttft_ms: latency('ttft_ms'), tpot_ms: latency('tpot_ms'), e2e_ms: latency('e2e_ms'), queue_ms: latency('queue_ms') },
  };
}

/** How many of the first requests no latency counts: so many that the report's number of samples remains. */
function warmupOf(rows: readonly SampleRow[], measured: Uint8Array, { latency }: Pick<Report, 'latency'>): number {
  let surplus = measured.reduce((sum, one) => sum + one, 0) - latency.queue_ms.count;
  let id = 0;
  for (; surplus > 0 && id < rows.length; id++) surplus -= measured[id]!;
  return id;
}

/** Why two runs are not of the same requests; null = they are. Arrivals may differ: the load is part of a configuration. */
export function whyUnpaired(first: RunSamples, other: RunSamples): string | null {
  if (first.count !== other.count) return `it has ${other.count.toLocaleString('en-US')} requests, not ${first.count.toLocaleString('en-US')}`;
  for (let r = 0; r < first.count; r++) {
    const differs = (what: string, of: (run: RunSamples) => string | number): string | null => (of(first) === of(other) ? null : `request ${r} has ${what} ${of(other)}, not ${of(first)}`);
    const why =
      differs('prompt tokens', ({ isl }) => isl[r]!) ?? differs('output tokens asked for', ({ oslRequested }) => oslRequested[r]!) ?? differs('session', ({ session }) => session[r]!) ?? differs('turn', ({ turn }) => turn[r]!);
    if (why !== null) return why;
  }
  return null;
}

/** True when every run serves the requests of the first. */
export function sameRequests([first, ...others]: readonly RunSamples[]): boolean {
  return others.every((other) => whyUnpaired(first!, other) === null);
}

/** The cluster of each request, numbered from 0: its session, which is the request itself where there is one turn. */
export function clustersOf({ session }: RunSamples): { readonly of: Int32Array; readonly count: number } {
  const numbers = new Map<string, number>();
  const of = Int32Array.from(session, (name) => {
    const known = numbers.get(name) ?? numbers.size;
    numbers.set(name, known);
    return known;
  });
  return { of, count: numbers.size };
}

/** Requests in the system when each arrives, itself left out; NaN = never arrived. */
export function loadAtArrival({ arrivalMs, endMs, count }: RunSamples): Float64Array {
  const order = Array.from({ length: count }, (_, r) => r).filter((r) => !Number.isNaN(arrivalMs[r])).sort((a, b) => arrivalMs[a]! - arrivalMs[b]! || a - b);
  const ends = endMs.filter((ms) => !Number.isNaN(ms)).sort();
  const load = new Float64Array(count).fill(NaN);
  let ended = 0;
  order.forEach((r, arrived) => {
    while (ended < ends.length && ends[ended]! <= arrivalMs[r]!) ended++;
    load[r] = Math.max(0, arrived - ended);
  });
  return load;
}
