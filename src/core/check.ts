import { RunError } from './problem.js';

/** What an invariant is about. */
export const ABOUT = { requests: 0, blocks: 1, tokens: 2, causality: 3 } as const;
export type About = (typeof ABOUT)[keyof typeof ABOUT];

/**
 * Counts the invariants that were looked at and stops the run at the first that does not hold. An invariant
 * is told as what should be true. Source: DESIGN section 3, "silence is a bug".
 */
export class Check {
  /** Passes after which invariants were looked at. */
  passes = 0;
  private readonly counts = new Float64Array(Object.keys(ABOUT).length);
  private nowMs = 0;
  private pool = '';
  private worker = -1;

  /** What follows is about this worker of a pool (-1 = about all of them) at this virtual time. */
  at(nowMs: number, pool: string, worker: number): void {
    this.nowMs = nowMs;
    this.pool = pool;
    this.worker = worker;
  }

  /** Throws `E-INVARIANT` unless it `holds`. `request` -1 = of no request in particular. */
  that(about: About, holds: boolean, what: string, request = -1): void {
    this.counts[about]!++;
    if (!holds) this.fail(what, request);
  }

  /** The same for two numbers that should be equal. */
  equal(about: About, found: number, expected: number, what: string, request = -1): void {
    this.counts[about]!++;
    if (found !== expected) this.fail(`${what} (${found}, not ${expected})`, request);
  }

  countOf(about: About): number {
    return this.counts[about]!;
  }

  /** `checked N invariants after N passes (requests N, …): all hold` */
  summary(): string {
    const figure = (value: number): string => value.toLocaleString('en-US');
    const kinds = Object.entries(ABOUT).map(([name, about]) => `${name} ${figure(this.counts[about]!)}`);
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    return `checked ${figure(total)} invariants after ${figure(this.passes)} passes (${kinds.join(', ')}): all hold`;
  }

  private fail(what: string, request: number): never {
    const place = [`at ${this.nowMs} ms`, ...(this.worker < 0 ? [] : [`${this.pool} worker ${this.worker}`]), ...(request < 0 ? [] : [`request ${request}`])];
    throw new RunError({ code: 'E-INVARIANT', what: `${place.join(', ')}: broken: ${what}`, hint: 'this is a bug in dynotwin: please report the command and its input' });
  }
}
