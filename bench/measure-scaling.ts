import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { textTable } from '../src/cli/text-table.js';
import { DOUBLING, replayFlags } from './cases.js';
import { multiplyTrace } from './multiply.js';
import { fittedExponent, short, spread, type Judge, type Spread } from './numbers.js';
import { FOLDER } from './paths.js';
import { runOurs, type OurRun } from './processes.js';

/** One way to grow a replay. */
export interface Scaling {
  readonly name: string;
  readonly sizes: readonly number[];
  /** Two sizes that tell most. */
  readonly quick: readonly number[];
  readonly flags: (size: number) => string[];
  /** Sizes are multiples of the trace, each twice the one before. */
  readonly multiplies?: true;
}

export const SCALINGS: readonly Scaling[] = [
  { name: 'scaling: requests', sizes: [1, 2, 4, 8], quick: [1, 2], flags: () => replayFlags(8, 512), multiplies: true },
  { name: 'scaling: workers', sizes: [1, 2, 4, 8, 16, 32, 64, 128], quick: [8, 128], flags: (workers) => replayFlags(workers, 512) },
  { name: 'scaling: block tokens', sizes: [16, 32, 64, 128, 256, 512], quick: [64, 512], flags: (block) => replayFlags(8, block) },
];

export interface MeasuredScaling {
  readonly name: string;
  readonly rows: readonly { readonly size: number; readonly wallMs: Spread; readonly processMs: Spread; readonly peakMiB: Spread }[];
  /** Of the best time by its own clock. */
  readonly exponent: number;
}

/** Measures every size, the sizes in turn so that a busy moment does not fall on one alone. */
export function measureScaling({ name, sizes, quick, flags, multiplies }: Scaling, trace: string, repeat: number, isQuick: boolean): MeasuredScaling {
  const points = (isQuick ? quick : sizes).map((size) => ({ size, trace: multiplies ? multiplied(trace, size) : trace, runs: [] as OurRun[] }));
  for (let repetition = 0; repetition < repeat; repetition++) {
    for (const point of points) point.runs.push(runOurs({ name, how: { flags: flags(point.size) } }, point.trace));
  }
  const rows = points.map(({ size, runs }) => ({
    size,
    wallMs: spread(runs.map(({ wallMs }) => wallMs)),
    processMs: spread(runs.map(({ processMs }) => processMs)),
    peakMiB: spread(runs.map(({ peakMiB }) => peakMiB)),
  }));
  return { name, rows, exponent: fittedExponent(rows.map(({ size, wallMs }) => [size, wallMs.best])) };
}

function multiplied(trace: string, factor: number): string {
  if (factor === 1) return trace;
  const path = join(FOLDER, `x${factor}-${basename(trace)}`);
  writeFileSync(path, multiplyTrace(readFileSync(trace, 'utf8'), factor));
  return path;
}

/** Sizes and times with the fitted exponent. */
export function scalingTable({ name, rows, exponent }: MeasuredScaling, judge: Judge): string {
  const isJudged = SCALINGS.some((scaling) => scaling.name === name && scaling.multiplies);
  const body = rows.map(({ size, wallMs, processMs, peakMiB }, at) => {
    const previous = rows[at - 1];
    const growth = previous ? judge.figure(`${name} x${size}`, wallMs.best / previous.wallMs.best, isJudged ? DOUBLING : undefined) : '';
    return [String(size), short(wallMs.best), short(wallMs.median), short(processMs.best), short(peakMiB.median), growth];
  });
  const head = [name, 'wall ms', 'median', 'process ms', 'peak MiB', 'of previous'];
  return `${textTable(head, body, head.slice(0, -1))}\ntime ~ size^${exponent.toFixed(2)}`;
}
