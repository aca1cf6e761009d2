import type { Observations, Timeline } from './observations.js';

/** Buckets at most: a longer run gets wider ones. */
const MOST_BUCKETS = 10000;

/**
 * What happened when, in buckets of equal width from virtual time 0 to the end of the run.
 *
 * @param intervalMs wanted width; widened by whole multiples where a run is too long for it
 */
export function timelineOf(observations: Observations, intervalMs: number): Timeline {
  const width = intervalMs * Math.max(1, Math.ceil(observations.endMs / intervalMs / MOST_BUCKETS));
  const buckets = Math.max(1, Math.floor(observations.endMs / width) + 1);
  const zeros = (): number[] => new Array<number>(buckets).fill(0);
  const timeline = { intervalMs: width, arrivals: zeros(), firstTokens: zeros(), ends: zeros(), outputTokens: zeros(), inSystem: zeros() };
  const { requests } = observations;
  const count = (series: number[], atMs: number, amount: number): void => {
    if (!Number.isNaN(atMs)) series[Math.min(buckets - 1, Math.floor(atMs / width))]! += amount;
  };
  for (let request = 0; request < requests.count; request++) {
    count(timeline.arrivals, requests.arrivalMs[request]!, 1);
    count(timeline.firstTokens, requests.firstTokenMs[request]!, 1);
    count(timeline.ends, requests.endMs[request]!, 1);
    count(timeline.outputTokens, requests.endMs[request]!, requests.outputTokens[request]!);
  }
  let inSystem = 0;
  for (let bucket = 0; bucket < buckets; bucket++) {
    inSystem += timeline.arrivals[bucket]! - timeline.ends[bucket]!;
    timeline.inSystem[bucket] = inSystem;
  }
  return timeline;
}
