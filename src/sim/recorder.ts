import { GapSketch } from '../core/sketch.js';
import type { EngineObserver } from '../engine/engine.js';
import { STATUS, type RequestColumns, type StatusCode } from '../metrics/observations.js';

/** Different gaps counted before they go to the sketches. */
const MOST_PENDING = 32768;

/**
 * Fills the request columns and the pooled token gaps while a run goes on. Gaps count only once
 * their request has completed; until then they are kept as runs of (gap, count).
 */
export class Recorder {
  readonly gaps = new GapSketch();
  readonly gapRates = new GapSketch();
  private readonly gapRuns: (number[] | undefined)[];

  /** Gap → count, on its way to the sketches. */
  private readonly pending = new Map<number, number>();

  /** @param gapsRepeat many gaps are equal, so they are counted first */
  constructor(
    readonly columns: RequestColumns,
    private readonly gapsRepeat: boolean,
  ) {
    this.gapRuns = new Array<number[] | undefined>(columns.count);
  }

  /** What an aggregated engine, or either stage of a disaggregated one, reports. */
  observer(role: 'agg' | 'prefill' | 'decode'): EngineObserver {
    return {
      admitted: (request, atMs, reusedTokens) => this.admitted(role, request, atMs, reusedTokens),
      preempted: (request) => {
        this.columns.preemptions[request]!++;
      },
      token: (request, atMs, startMs, durationMs) => this.token(request, atMs, startMs, durationMs),
      gaps: (durationMs, requests) => this.addGaps(durationMs, requests),
      secondToken: (request, atMs) => {
        this.columns.secondTokenMs[request] = atMs;
      },
      caughtUp: (request, tokens, lastMs) => {
        this.columns.outputTokens[request] = tokens;
        this.columns.lastTokenMs[request] = lastMs;
      },
    };
  }

  /** The request is over. Completed ones enter the gap statistics. */
  ended(request: number, atMs: number, status: StatusCode): void {
    this.columns.endMs[request] = atMs;
    this.columns.status[request] = status;
    const runs = this.gapRuns[request];
    this.gapRuns[request] = undefined;
    if (!runs || status !== STATUS.completed) return;
    for (let i = 0; i < runs.length; i += 2) this.addGaps(runs[i]!, runs[i + 1]!);
  }

  private addGaps(durationMs: number, weight: number): void {
    if (!this.gapsRepeat) return this.toSketches(durationMs, weight);
    this.pending.set(durationMs, (this.pending.get(durationMs) ?? 0) + weight);
    if (this.pending.size >= MOST_PENDING) this.flush();
  }

  /** Brings everything seen so far into the sketches. */
  flush(): void {
    for (const [durationMs, weight] of this.pending) this.toSketches(durationMs, weight);
    this.pending.clear();
  }

  private toSketches(durationMs: number, weight: number): void {
    this.gaps.add(durationMs, weight);
    if (durationMs > 0) this.gapRates.add(1000 / durationMs, weight);
  }

  private admitted(role: 'agg' | 'prefill' | 'decode', request: number, atMs: number, reusedTokens: number): void {
    const columns = this.columns;
    columns.admissions[request]!++;
    if (Number.isNaN(columns.admitMs[request]!)) {
      columns.admitMs[request] = atMs;
      columns.firstReusedTokens[request] = reusedTokens;
    }
    if (role === 'prefill' && Number.isNaN(columns.prefillAdmitMs[request]!)) columns.prefillAdmitMs[request] = atMs;
    if (role === 'decode') {
      if (Number.isNaN(columns.decodeAdmitMs[request]!)) columns.decodeAdmitMs[request] = atMs;
      columns.decodeReusedTokens[request] = Math.max(columns.decodeReusedTokens[request]!, reusedTokens);
      return;
    }
    columns.reusedTokens[request] = Math.max(columns.reusedTokens[request]!, reusedTokens);
  }

  /** The gap is the pass's own duration when the previous token came at its start: equal up to the last bits, and equal values share a run. */
  private token(request: number, atMs: number, startMs: number, durationMs: number): void {
    const columns = this.columns;
    const tokens = ++columns.outputTokens[request]!;
    const previousMs = columns.lastTokenMs[request]!;
    columns.lastTokenMs[request] = atMs;
    if (tokens === 1) {
      columns.firstTokenMs[request] = atMs;
      return;
    }
    if (tokens === 2) columns.secondTokenMs[request] = atMs;
    const gapMs = previousMs === startMs ? durationMs : atMs - previousMs;
    const runs = (this.gapRuns[request] ??= []);
    if (runs.length > 0 && runs[runs.length - 2] === gapMs) runs[runs.length - 1]!++;
    else runs.push(gapMs, 1);
  }
}
