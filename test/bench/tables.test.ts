import { describe, expect, it } from 'vitest';
import { PRICED } from '../../bench/cases.js';
import { selfTimes } from '../../bench/cpu-profile.js';
import { caseTable, phaseTable, type MeasuredCase } from '../../bench/measure-cases.js';
import { scalingTable } from '../../bench/measure-scaling.js';
import { Judge, spread } from '../../bench/numbers.js';

const first: MeasuredCase = {
  name: 'round robin, block 512',
  requests: 12031,
  outputTokens: 4e6,
  wallMs: spread([200, 240]),
  processMs: spread([400]),
  peakMiB: spread([180]),
  phases: { cold: { read: 60, expand: 20, simulate: 100, report: 20 }, warm: { read: 40, expand: 8, simulate: 50, report: 5 }, passes: 3e6 },
  reference: { wallMs: spread([3600, 3960]), processMs: spread([5000]), agrees: true },
};
const overload: MeasuredCase = { ...first, name: 'arrivals x8', wallMs: spread([800]), reference: null };

describe('tables of the benchmark', () => {
  it('hold a case to its bars', () => {
    const judge = new Judge();
    expect(caseTable([first, overload], { absolute: true, scale: 0.8, judge }).split('\n')).toEqual([
      'case                    wall ms  median  process ms           peak MiB             of first         Mpasses/s  Mtokens/s  ref ms  ref/ours        of medians  process',
      'round robin, block 512  200         220  400 (<= 360 MISSED)  180 (<= 170 MISSED)  1                       15         20    3600  18 (>= 15 met)        17.2     12.5',
      'arrivals x8             800         800  400                  180                  4 (<= 3 MISSED)       3.75          5',
    ]);
    expect([judge.met, judge.missed.length]).toEqual([1, 3]);
  });

  it('judge own time without a reference, and only growth on another trace', () => {
    const alone = { ...first, reference: null };
    expect(caseTable([alone], { absolute: true, scale: 1, judge: new Judge() })).toContain('200 (<= 250 met)');
    const judge = new Judge();
    caseTable([alone, overload], { absolute: false, scale: 1, judge });
    phaseTable([alone], { absolute: false, scale: 1, judge });
    expect([judge.met, judge.missed]).toEqual([0, ['arrivals x8: of first: 4, not <= 3']]);
  });

  it('compare with passes priced by context where those were measured', () => {
    const priced = { ...first, name: PRICED, reference: null };
    const judge = new Judge();
    const table = caseTable([priced, { ...priced, name: 'fitted timing', wallMs: { best: 320, median: 320 } }], { absolute: false, scale: 1, judge });
    expect(table).toContain('of priced');
    expect(table).toContain('1.6 (<= 1.5 MISSED)');
    expect(judge.missed).toEqual(['fitted timing: of priced: 1.6, not <= 1.5']);
  });

  it('say when the reference did other work', () => {
    const other = { ...first, reference: { ...first.reference!, agrees: false } };
    expect(caseTable([other], { absolute: true, scale: 1, judge: new Judge() })).toContain('18 (>= 15 met) OTHER WORK');
  });

  it('show phases and the candidate of a sweep', () => {
    expect(phaseTable([first], { absolute: true, scale: 1, judge: new Judge() }).split('\n')[1]).toMatch(/^round robin, block 512 +60 +20 +100 +20 +40 +8 +50 +5 +55 \(<= 60 met\)$/);
  });

  it('show growth and its exponent', () => {
    const row = (size: number, ms: number) => ({ size, wallMs: spread([ms]), processMs: spread([ms]), peakMiB: spread([100]) });
    const lines = scalingTable({ name: 'scaling: requests', rows: [row(1, 100), row(2, 220)], exponent: 1.1375 }, new Judge()).split('\n');
    expect(lines[2]).toMatch(/^ +2 +220 +220 +220 +100 +2\.2 \(<= 2\.1 MISSED\)$/);
    expect(lines[3]).toBe('time ~ size^1.14');
  });
});

describe('a CPU profile', () => {
  it('adds up the time of each function without idle time', () => {
    const node = (id: number, functionName: string) => ({ id, callFrame: { functionName, url: 'file:///a.js', lineNumber: 4 } });
    const profile = { nodes: [node(1, 'slow'), node(2, 'fast'), node(3, '(idle)'), node(4, 'slow')], samples: [1, 2, 3, 4, 1], timeDeltas: [9, 1000, 500, 7000, 3000] };
    expect(selfTimes(profile)).toEqual([
      { name: 'slow', url: 'file:///a.js', line: 5, ms: 4 },
      { name: 'fast', url: 'file:///a.js', line: 5, ms: 0.5 },
    ]);
  });
});
