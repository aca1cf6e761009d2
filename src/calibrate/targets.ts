import type { Metric } from '../timing/calibration/effects.js';
import type { Errors } from './errors.js';
import type { ErrorRow, Level } from './validate.js';

/** One bound of a validation and how it came out; values are ratios. */
export interface TargetRow {
  readonly level: Level;
  readonly name: string;
  readonly metric: Metric;
  readonly measure: keyof Errors;
  readonly sign: '≤' | '≥' | '|·| ≤';
  readonly bound: number;
  readonly value: number | null;
  readonly met: boolean;
  /** Beyond what a release has to reach. */
  readonly stretch: boolean;
}

interface Target {
  readonly level: Level;
  readonly kind: ErrorRow['kind'];
  readonly metric: Metric;
  readonly measure: keyof Errors;
  readonly sign: TargetRow['sign'];
  readonly bound: number;
  readonly stretch?: boolean;
}

/** Median and mean absolute error of both metrics. */
function errors(level: Level, kind: ErrorRow['kind'], tpot: readonly [number, number], ttft: readonly [number, number], stretch = false): Target[] {
  const pair = (metric: Metric, [mdape, mape]: readonly [number, number]): Target[] => [
    { level, kind, metric, measure: 'mdape', sign: '≤', bound: mdape, stretch },
    { level, kind, metric, measure: 'mape', sign: '≤', bound: mape, stretch },
  ];
  return [...pair('tpot', tpot), ...pair('ttft', ttft)];
}

const both = (target: Omit<Target, 'metric'>): Target[] => (['tpot', 'ttft'] as const).map((metric) => ({ ...target, metric }));

/** Source: spec accuracy section 7. */
const TARGETS: readonly Target[] = [
  ...errors('M1', 'all', [0.16, 0.25], [0.45, 0.5]),
  { level: 'M1', kind: 'all', metric: 'tpot', measure: 'coverage', sign: '≥', bound: 0.99 },
  ...errors('M2', 'all', [0.09, 0.18], [0.22, 0.32]),
  ...both({ level: 'M2', kind: 'backend', measure: 'bias', sign: '|·| ≤', bound: 0.05 }),
  ...errors('M3', 'all', [0.05, 0.085], [0.125, 0.21]),
  ...both({ level: 'M3', kind: 'all', measure: 'inInterval', sign: '≥', bound: 0.87 }),
  ...both({ level: 'M3', kind: 'all', measure: 'inInterval', sign: '≤', bound: 0.93 }),
  ...errors('M3', 'clean', [0.047, 0.08], [0.1, 0.18]),
  ...errors('M3-zero-shot', 'all', [0.12, 0.2], [0.28, 0.38]),
  ...both({ level: 'M3-zero-shot', kind: 'all', measure: 'inInterval', sign: '≥', bound: 0.87 }),
  ...errors('M3', 'all', [0.04, 0.07], [0.1, 0.17], true),
  ...errors('M3-zero-shot', 'all', [0.08, 0.15], [0.2, 0.3], true),
  { level: 'M3', kind: 'all', metric: 'ttft', measure: 'within20', sign: '≥', bound: 0.75, stretch: true },
];

/** The targets against the errors of a validation; one that knows no value is missed. */
export function compareTargets(rows: readonly ErrorRow[]): TargetRow[] {
  return TARGETS.flatMap(({ level, kind, metric, measure, sign, bound, stretch = false }) =>
    rows
      .filter((row) => row.level === level && row.kind === kind && row.metric === metric)
      .map(({ name, errors: found }) => {
        const value = found[measure];
        const met = value !== null && (sign === '≥' ? value >= bound : (sign === '≤' ? value : Math.abs(value)) <= bound);
        return { level, name, metric, measure, sign, bound, value, met, stretch };
      }),
  );
}
