import type { Timeline } from './observations.js';

/** What a page shows beside the report of one run. */
export interface RunSeries {
  /** Samples for histograms and CDFs, ms, completed requests only. */
  readonly ttftMs: readonly number[];
  readonly tpotMs: readonly number[];
  readonly timeline: Timeline | null;
}
