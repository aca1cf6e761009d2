import { textTable } from '../src/cli/text-table.js';
import { CASES, PRICED, type Bar, type Case } from './cases.js';
import { short, spread, type Judge, type Spread } from './numbers.js';
import type { CasePhases } from './phases.js';
import { runOurs, runPhases, runReference, type OurRun, type Timed } from './processes.js';

/** A case as measured. Milliseconds, MiB. */
export interface MeasuredCase {
  readonly name: string;
  readonly requests: number;
  readonly outputTokens: number;
  readonly wallMs: Spread;
  readonly processMs: Spread;
  readonly peakMiB: Spread;
  readonly phases: CasePhases;
  readonly reference: { readonly wallMs: Spread; readonly processMs: Spread; /** Both completed the same work. */ readonly agrees: boolean } | null;
}

/** How figures are judged. */
export interface Conditions {
  /** The trace is the one that most bars are stated for. */
  readonly absolute: boolean;
  /** This host's times over those that the bars assume. */
  readonly scale: number;
  readonly judge: Judge;
}

/** Measures a case in fresh processes, in turn with the reference where both know it. */
export function measureCase(one: Case, trace: string, repeat: number, python: string | null): MeasuredCase {
  const ours: OurRun[] = [];
  const theirs: Timed[] = [];
  for (let repetition = 0; repetition < repeat; repetition++) {
    ours.push(runOurs(one, trace));
    if (python !== null && 'flags' in one.how) theirs.push(runReference(python, one.how.flags, trace));
  }
  const [first] = ours as [OurRun];
  return {
    name: one.name,
    requests: first.requests,
    outputTokens: first.outputTokens,
    wallMs: spread(ours.map(({ wallMs }) => wallMs)),
    processMs: spread(ours.map(({ processMs }) => processMs)),
    peakMiB: spread(ours.map(({ peakMiB }) => peakMiB)),
    phases: runPhases(one, trace),
    reference:
      theirs.length === 0
        ? null
        : {
            wallMs: spread(theirs.map(({ wallMs }) => wallMs)),
            processMs: spread(theirs.map(({ processMs }) => processMs)),
            agrees: theirs.every(({ outputTokens }) => outputTokens === first.outputTokens),
          },
  };
}

/** Cost of each case: best times (rates and ratios are of these) and medians, by its own clock; median memory; `process` compares whole processes. */
export function caseTable(measured: readonly MeasuredCase[], { absolute, scale, judge }: Conditions): string {
  const base = measured.find(({ name }) => name === CASES[0]!.name);
  const priced = measured.find(({ name }) => name === PRICED);
  const compared = measured.some(({ reference }) => reference !== null);
  const head = ['case', 'wall ms', 'median', 'process ms', 'peak MiB', 'of first', ...(priced === undefined ? [] : ['of priced']), 'Mpasses/s', 'Mtokens/s', ...(compared ? ['ref ms', 'ref/ours', 'of medians', 'process'] : [])];
  const rows = measured.map((one) => {
    const bars = CASES.find(({ name }) => name === one.name)?.bars ?? {};
    const { outputTokens, wallMs, processMs, peakMiB, phases, reference } = one;
    const atMost = (limit: number | undefined, isJudged = absolute): Bar | undefined => (limit === undefined || !isJudged ? undefined : { atMost: limit });
    const scaled = (limit: number | undefined): number | undefined => limit && limit * scale;
    const figure = (what: string, value: number, bar?: Bar): string => judge.figure(`${one.name}: ${what}`, value, bar);
    return [
      one.name,
      figure('wall ms', wallMs.best, atMost(scaled(bars.wallMs), absolute && reference === null)),
      short(wallMs.median),
      figure('process ms', processMs.best, atMost(scaled(bars.processMs))),
      figure('peak MiB', peakMiB.median, atMost(bars.peakMiB)),
      base === undefined ? '' : figure('of first', wallMs.best / base.wallMs.best, atMost(bars.ofFirst, true)),
      ...(priced === undefined ? [] : [figure('of priced', wallMs.best / priced.wallMs.best, atMost(bars.ofPriced, true))]),
      short(phases.passes / wallMs.best / 1000),
      short(outputTokens / wallMs.best / 1000),
      ...(compared ? referenceCells(one, bars.ratio !== undefined && absolute ? { atLeast: bars.ratio } : undefined, judge) : []),
    ];
  });
  return textTable(head, rows, ['median', 'Mpasses/s', 'Mtokens/s', 'ref ms', 'of medians', 'process']);
}

function referenceCells({ name, wallMs, processMs, reference }: MeasuredCase, bar: Bar | undefined, judge: Judge): string[] {
  if (reference === null) return ['', '', '', ''];
  const ratio = judge.figure(`${name}: ref/ours`, reference.wallMs.best / wallMs.best, bar);
  return [
    short(reference.wallMs.best),
    reference.agrees ? ratio : `${ratio} OTHER WORK`,
    short(reference.wallMs.median / wallMs.median),
    short(reference.processMs.best / processMs.best),
  ];
}

/** Milliseconds per phase, the first time in a process and the fifth; `candidate` is one of a sweep. */
export function phaseTable(measured: readonly MeasuredCase[], { absolute, scale, judge }: Conditions): string {
  const names = ['read', 'expand', 'simulate', 'report'] as const;
  const head = ['phase ms, cold | warm', ...names, ...names.map((name) => `| ${name}`), 'candidate'];
  const rows = measured.map(({ name, phases: { cold, warm } }) => {
    const limit = CASES.find((one) => one.name === name)?.bars?.candidateMs;
    const candidate = judge.figure(`${name}: candidate ms`, warm.simulate + warm.report, limit === undefined || !absolute ? undefined : { atMost: limit * scale });
    return [name, ...names.map((phase) => short(cold[phase])), ...names.map((phase) => short(warm[phase])), candidate];
  });
  return textTable(head, rows, head.slice(1, -1));
}
