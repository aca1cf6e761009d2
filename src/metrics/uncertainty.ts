import type { Report } from './report.js';

/** Half-widths of the central 90 % interval of the mean latencies, in ln. */
export interface LatencyInterval {
  readonly ttftLn: number;
  readonly tpotLn: number;
}

/** Quantiles of a mean under the timing's uncertainty; no percentile of requests. */
export interface Spread {
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}
export type Uncertain = Spread | 'unknown';

/** Standard normal quantiles of 0.95 and 0.9. */
const Z95 = 1.6448536269514722;
const Z90 = 1.2815515655446004;

type Timed = Pick<Report, 'timing'>;

/** First tokens take the interval of the pool that prefills, gaps that of the pool that decodes; null = one of them is unknown. */
export function latencyInterval({ timing }: Timed): LatencyInterval | null {
  // Reports of earlier versions lack the field.
  const [prefill, decode] = [timing[0]?.interval_ln ?? null, timing.at(-1)?.interval_ln ?? null];
  return prefill === null || decode === null ? null : { ttftLn: prefill.ttft, tpotLn: decode.tpot };
}

/**
 * Half-width of the mean end-to-end time, in ln: errors of first tokens and of gaps weigh by their share of the request and
 * count as independent, to first order. Without the means the larger half-width.
 */
export function endToEndLn({ ttftLn, tpotLn }: LatencyInterval, latency: Pick<Report['latency'], 'ttft_ms' | 'e2e_ms'> | undefined): number {
  const [ttft, e2e] = [latency?.ttft_ms.mean ?? null, latency?.e2e_ms.mean ?? null];
  if (ttft === null || e2e === null || !(e2e > 0)) return Math.max(ttftLn, tpotLn);
  const first = Math.min(1, ttft / e2e);
  return Math.hypot(first * ttftLn, (1 - first) * tpotLn);
}

/**
 * Quantiles of mean TTFT, mean TPOT and output tokens per second under the timing's interval: normal in ln around the reported
 * value, deviation half-width / 1.645. In a closed loop of constant concurrency throughput is sessions / end-to-end time, so it
 * spreads as that time does; arrivals of an open loop set it themselves, and it does not spread.
 */
export function uncertaintyOf(report: Pick<Report, 'timing' | 'latency' | 'throughput'>, closedLoop: boolean): NonNullable<Report['uncertainty']> {
  const interval = latencyInterval(report);
  const { latency, throughput } = report;
  return {
    ttft_ms: spread(latency.ttft_ms.mean, interval && interval.ttftLn),
    tpot_ms: spread(latency.tpot_ms.mean, interval && interval.tpotLn),
    output_tok_s: spread(throughput.output_tok_s, interval && (closedLoop ? endToEndLn(interval, latency) : 0)),
  };
}

function spread(value: number | null, halfWidthLn: number | null): Uncertain {
  if (value === null || halfWidthLn === null) return 'unknown';
  const factor = Math.exp((Z90 / Z95) * halfWidthLn);
  return { p10: value / factor, p50: value, p90: value * factor };
}
