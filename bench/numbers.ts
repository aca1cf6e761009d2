import type { Bar } from './cases.js';

/** Exponent k of y = c·x^k: the slope of log y over log x by least squares. */
export function fittedExponent(points: readonly (readonly [x: number, y: number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const meanX = logs.reduce((sum, [x]) => sum + x, 0) / logs.length;
  const meanY = logs.reduce((sum, [, y]) => sum + y, 0) / logs.length;
  const covariance = logs.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const variance = logs.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return covariance / variance;
}

export interface Spread {
  readonly best: number;
  readonly median: number;
}

/** Smallest and middle of some times. */
export function spread(times: readonly number[]): Spread {
  const sorted = [...times].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return { best: sorted[0]!, median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2 };
}

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** Counts met and missed bars as it writes them beside figures. */
export class Judge {
  met = 0;
  readonly missed: string[] = [];

  /** `16.2 (>= 15 met)`; the figure alone without a bar. */
  figure(what: string, value: number, bar?: Bar): string {
    if (bar === undefined) return short(value);
    const limit = 'atLeast' in bar ? `>= ${short(bar.atLeast)}` : `<= ${short(bar.atMost)}`;
    const isMet = 'atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost;
    if (isMet) this.met++;
    else this.missed.push(`${what}: ${short(value)}, not ${limit}`);
    return `${short(value)} (${limit} ${isMet ? 'met' : 'MISSED'})`;
  }
}
