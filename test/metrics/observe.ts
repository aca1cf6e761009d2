import { GapSketch } from '../../src/core/sketch.js';
import { STATUS, type Observations, type PoolObservations, type StatusCode } from '../../src/metrics/observations.js';
import { createRequestColumns } from '../../src/metrics/requests.js';

export interface SampleRequest {
  readonly arrival: number;
  readonly input?: number;
  readonly reuse?: number;
  readonly tokens?: readonly number[];
  readonly status?: StatusCode;
  /** Terminal time; last token by default. */
  readonly end?: number;
  readonly admit?: number;
}

export const pool = (over: Partial<PoolObservations> = {}): PoolObservations => ({
  name: 'agg',
  role: 'agg',
  workersStart: 1,
  workersMin: 1,
  workersMax: 1,
  workersEnd: 1,
  gpusPerWorker: 1,
  kvBlocksPerWorker: 100,
  workerSeconds: 1,
  busyMs: 0,
  passes: 0,
  extrapolatedPasses: 0,
  extrapolatedTimeRatio: 0,
  kvPeakRatio: 0,
  preemptions: 0,
  hitBlocks: 0,
  evictedBlocks: 0,
  ...over,
});

/** Observations as a simulation would leave them, from explicit token times. */
export function observe(requests: readonly SampleRequest[], over: Partial<Observations> = {}): Observations {
  const columns = createRequestColumns(requests.length);
  const gaps = new GapSketch();
  const gapRates = new GapSketch();
  requests.forEach(({ arrival, input = 1, reuse = 0, tokens = [], status = STATUS.completed, end, admit }, r) => {
    columns.arrivalMs[r] = arrival;
    columns.promptTokens[r] = input;
    columns.status[r] = status;
    columns.requestedOutputTokens[r] = tokens.length;
    columns.outputTokens[r] = tokens.length;
    columns.reusedTokens[r] = reuse;
    columns.firstReusedTokens[r] = reuse;
    columns.firstTokenMs[r] = tokens[0] ?? NaN;
    columns.secondTokenMs[r] = tokens[1] ?? NaN;
    columns.lastTokenMs[r] = tokens.at(-1) ?? NaN;
    columns.session[r] = r;
    columns.turn[r] = 0;
    if (status !== STATUS.unfinished) columns.endMs[r] = end ?? tokens.at(-1) ?? arrival;
    if (status === STATUS.completed || admit !== undefined) {
      columns.admitMs[r] = admit ?? arrival;
      columns.admissions[r] = 1;
      columns.decodeWorker[r] = 0;
    }
    if (status !== STATUS.completed) return;
    for (let i = 1; i < tokens.length; i++) {
      const gap = tokens[i]! - tokens[i - 1]!;
      gaps.add(gap, 1);
      if (gap > 0) gapRates.add(1000 / gap, 1);
    }
  });
  const latest = columns.endMs.reduce((max, at) => (at > max ? at : max), 0);
  return { requests: columns, gaps, gapRates, pools: [pool()], transferMs: 0, transfers: 0, endMs: latest, warnings: [], ...over };
}

/** Example 5 of the workload spec, section 8. */
export const EXAMPLE_5: readonly SampleRequest[] = [
  { arrival: 0, input: 1000, tokens: [100, 110, 125, 125, 145] },
  { arrival: 50, input: 600, reuse: 512, tokens: [160, 180] },
  { arrival: 60, input: 300, tokens: [200] },
  { arrival: 70, input: 100, reuse: 64, end: 150 },
  { arrival: 80, input: 50, status: STATUS.unfinished },
];
