import { GapSketch } from '../core/sketch.js';
import type { EngineObserver } from '../engine/engine.js';
import { STATUS, type RequestColumns, type StatusCode } from '../metrics/observations.js';

/**
 * Fills the request columns and the pooled token gaps while a run goes on. Gaps count only once
 * their request has completed; until then they are kept as runs of (gap, count).
 */
export class Recorder {
  readonly gaps = new GapSketch();
  readonly gapRates = new GapSketch();
  /** Of preempted requests: when each preemption was and when the request was admitted again (NaN = never), in pairs. */
  readonly pauses = new Map<number, number[]>();
  private readonly gapRuns: (number[] | undefined)[];
  private rates = new Float64Array(256);

  /** @param warmup so many of the first requests are left out of the gap statistics: their engines keep their gaps apart */
  constructor(
    readonly columns: RequestColumns,
    private readonly warmup = 0,
  ) {
    this.gapRuns = new Array<number[] | undefined>(columns.count);
  }

  /** What an aggregated engine, or either stage of a disaggregated one, reports. */
  observer(role: 'agg' | 'prefill' | 'decode'): EngineObserver {
    return new StageRecorder(this, role);
  }

  /** The request is over. Completed ones enter the gap statistics. */
  ended(request: number, atMs: number, status: StatusCode): void {
    this.columns.endMs[request] = atMs;
    this.columns.status[request] = status;
    const runs = this.gapRuns[request];
    if (runs === undefined) return;
    this.gapRuns[request] = undefined;
    if (status !== STATUS.completed || request < this.warmup) return;
    for (let i = 0; i < runs.length; i += 2) this.addGaps(runs[i]!, runs[i + 1]!);
  }

  paused(request: number, atMs: number): void {
    const pauses = this.pauses.get(request);
    if (pauses) pauses.push(atMs, NaN);
    else this.pauses.set(request, [atMs, NaN]);
  }

  /** The request is admitted, not for the first time; nothing where no preemption came before. */
  resumed(request: number, atMs: number): void {
    if (this.pauses.size === 0) return;
    const pauses = this.pauses.get(request);
    if (pauses && Number.isNaN(pauses.at(-1)!)) pauses[pauses.length - 1] = atMs;
  }

  addGaps(durationMs: number, weight: number): void {
    this.gaps.add(durationMs, weight);
    if (durationMs > 0) this.gapRates.add(1000 / durationMs, weight);
  }

  addGapRun(durationsMs: Float64Array, length: number, weight: number): void {
    if (this.rates.length < durationsMs.length) this.rates = new Float64Array(durationsMs.length);
    const { rates } = this;
    for (let i = 0; i < length; i++) rates[i] = 1000 / durationsMs[i]!;
    this.gaps.addRun(durationsMs, length, weight);
    this.gapRates.addRun(rates, length, weight);
  }

  /** A gap of a request that may not complete; equal values share a run. */
  keepGap(request: number, gapMs: number): void {
    const runs = (this.gapRuns[request] ??= []);
    if (runs.length > 0 && runs[runs.length - 2] === gapMs) runs[runs.length - 1]!++;
    else runs.push(gapMs, 1);
  }
}

/** Writes what the engines of one stage report. */
class StageRecorder implements EngineObserver {
  private readonly columns: RequestColumns;
  private readonly isPrefill: boolean;
  private readonly isDecode: boolean;

  constructor(
    private readonly recorder: Recorder,
    role: 'agg' | 'prefill' | 'decode',
  ) {
    this.columns = recorder.columns;
    this.isPrefill = role === 'prefill';
    this.isDecode = role === 'decode';
  }

  admitted(request: number, atMs: number, reusedTokens: number): void {
    const { columns } = this;
    if (columns.admissions[request]!++ === 0) {
      columns.admitMs[request] = atMs;
      columns.firstReusedTokens[request] = reusedTokens;
    } else this.recorder.resumed(request, atMs);
    if (this.isPrefill && Number.isNaN(columns.prefillAdmitMs[request]!)) columns.prefillAdmitMs[request] = atMs;
    if (this.isDecode && columns.bypassed?.[request] !== 1) {
      if (Number.isNaN(columns.decodeAdmitMs[request]!)) columns.decodeAdmitMs[request] = atMs;
      if (reusedTokens > columns.decodeReusedTokens[request]!) columns.decodeReusedTokens[request] = reusedTokens;
    } else if (reusedTokens > columns.reusedTokens[request]!) columns.reusedTokens[request] = reusedTokens;
  }

  preempted(request: number, atMs: number): void {
    this.columns.preemptions[request]!++;
    this.recorder.paused(request, atMs);
  }

  /** The gap is the pass's own duration when the previous token came at its start: equal up to the last bits. */
  token(request: number, atMs: number, startMs: number, durationMs: number): void {
    const { columns } = this;
    const tokens = ++columns.outputTokens[request]!;
    const previousMs = columns.lastTokenMs[request]!;
    columns.lastTokenMs[request] = atMs;
    if (tokens === 1) {
      columns.firstTokenMs[request] = atMs;
      return;
    }
    if (tokens === 2) columns.secondTokenMs[request] = atMs;
    this.recorder.keepGap(request, previousMs === startMs ? durationMs : atMs - previousMs);
  }

  gaps(durationMs: number, requests: number): void {
    this.recorder.addGaps(durationMs, requests);
  }

  gapRun(durationsMs: Float64Array, passes: number, requests: number): void {
    if (durationsMs[0]! > 0) this.recorder.addGapRun(durationsMs, passes, requests);
    else for (let pass = 0; pass < passes; pass++) this.recorder.addGaps(durationsMs[pass]!, requests);
  }

  secondToken(request: number, atMs: number): void {
    this.columns.secondTokenMs[request] = atMs;
  }

  caughtUp(request: number, tokens: number, lastMs: number): void {
    this.columns.outputTokens[request] = tokens;
    this.columns.lastTokenMs[request] = lastMs;
  }
}
