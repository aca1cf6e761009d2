import { ablate, type AblationRow } from './ablation.js';
import type { Case } from './case.js';
import { closedForm } from './closed-form.js';
import { combinationFolds, crossValidate, randomFolds, type CrossValidation, type HeldOut } from './crossval.js';
import { METRICS, type EffectsFile, type Metric, type PhysicalData, type CaseBackend } from '../timing/calibration/effects.js';
import { errorsOf, type Compared, type Errors } from './errors.js';
import { partitionsOf, type Partition } from './partitions.js';
import { TABLES_ONLY, type Physical } from '../timing/calibration/physical.js';
import { fitPhysical } from './physical-fit.js';
import type { PhysicalModel } from '../timing/calibration/physical-model.js';
import type { Measurement } from './silicon.js';
import type { Simulations } from './simulations.js';
import type { Simulation } from './simulation.js';
import { physicalOf } from '../timing/calibration/calibration.js';
import { targetOf } from './calibration.js';

/** How much of the model has seen the row it predicts; `analytic` = the closed forms it is compared with. */
export const LEVELS = ['analytic', 'M1', 'M2', 'M3', 'M3-zero-shot'] as const;
export type Level = (typeof LEVELS)[number];

export interface ErrorRow {
  readonly level: Level;
  readonly kind: Partition['kind'];
  readonly name: string;
  readonly metric: Metric;
  readonly errors: Errors;
}

/** A row as charts draw it; times in ms, null = refused. */
export interface ValidationPoint {
  readonly id: string;
  readonly backend: string;
  readonly model: string;
  readonly system: string;
  readonly isl: number;
  readonly concurrency: number;
  readonly warmedUp: boolean;
  readonly measured: Readonly<Record<Metric, number>>;
  readonly predicted: Readonly<Record<Level, Readonly<Record<Metric, number>> | null>>;
}

export interface Validation {
  readonly rows: number;
  readonly errors: readonly ErrorRow[];
  readonly ablation: readonly AblationRow[];
  readonly points: readonly ValidationPoint[];
  readonly model: PhysicalModel;
  /** Reasons of refused rows, with how many gave each. */
  readonly refusals: readonly { readonly why: string; readonly rows: number }[];
}

/** Folds of a cross-validation over rows. */
export const FOLDS = 5;

export interface ValidateOptions {
  readonly tune?: boolean;
  readonly ablation?: boolean;
  /** Answers at the level `analytic`. */
  readonly baseline?: (one: Case) => Simulation;
  /** Told before each part. */
  readonly onPart?: (name: string) => void;
}

/**
 * Validates the timing model on distinct usable rows: closed forms over the tables as a baseline, the simulation with tables alone (M1), with five numbers per backend and model (M2, in sample),
 * and with factors, cross-validated in five folds and by leaving each (backend, model, system) out. Source: spec accuracy section 6.
 */
export async function validate(rows: readonly Measurement[], simulations: Simulations, data: EffectsFile, { tune = false, ablation = true, baseline = closedForm, onPart = () => undefined }: ValidateOptions = {}): Promise<Validation> {
  onPart('closed forms');
  const closed = rows.map(({ one }) => baseline(one));
  onPart('tables alone');
  const bare = await simulations.all(rows.map(({ one }) => ({ one, physical: tablesOnly(one.backend, data.physical) })));
  onPart('numbers per backend and model');
  const given = await prepare(rows, simulations, data, tune);
  onPart('five folds');
  const folds = await crossValidate(given, randomFolds(rows.length, FOLDS));
  onPart('left-out combinations');
  // Tuned deviations hardly matter where a combination is unseen, and there are dozens of these folds.
  const zeroShot = await crossValidate({ ...given, tune: false }, combinationFolds(rows));
  onPart('ablation');
  const answers: Readonly<Record<Level, readonly HeldOut[]>> = { analytic: closed.map(plain), M1: bare.map(plain), M2: given.simulated.map(plain), M3: folds, 'M3-zero-shot': zeroShot };
  return {
    rows: rows.length,
    errors: LEVELS.flatMap((level) => errorRows(level, rows, answers[level])),
    ablation: ablation ? await ablate(rows, given.fit.model, data.physical, simulations) : [],
    points: rows.map((row, i) => pointOf(row, (level) => answers[level][i]!)),
    model: given.fit.model,
    refusals: refusalsOf(bare),
  };
}

/** The whole fit with the simulations at its numbers. */
export async function prepare(rows: readonly Measurement[], simulations: Simulations, data: EffectsFile, tune: boolean): Promise<CrossValidation> {
  const fit = await fitPhysical(rows, simulations, data.physical);
  const at = { physical: fit.model, backends: data.physical.backends };
  const simulated = await simulations.all(rows.map(({ one }) => ({ one, physical: physicalOf(at, targetOf(one)) })));
  return { fit, simulated, simulations, data, tune };
}

/** The tables, and the request path, whose numbers are set and not fitted. */
function tablesOnly(backend: CaseBackend, { backends }: PhysicalData): Physical {
  const { fixed_ms, serial_ms_per_kilo_token } = backends[backend];
  return { ...TABLES_ONLY, fixedMs: fixed_ms, serialMsPerKiloToken: serial_ms_per_kilo_token };
}

/** A simulation as a prediction that claims no interval. */
function plain(answer: Simulation): HeldOut {
  if ('refused' in answer) return answer;
  const bare = (ms: number): { ms: number; p05: number; p95: number } => ({ ms, p05: NaN, p95: NaN });
  return { tpot: bare(answer.tpotMs), ttft: bare(answer.ttftMs), evidence: 'backend_mean', modelKnown: false, ownTables: answer.ownTables };
}

/** Errors of answers by partition and metric. */
export function errorRows(level: Level, rows: readonly Measurement[], answers: readonly HeldOut[]): ErrorRow[] {
  const partitions = partitionsOf(rows, answers.map((answer) => ('refused' in answer ? null : answer.ownTables)));
  return partitions.flatMap(({ kind, name, members }) =>
    METRICS.map((metric) => ({ level, kind, name, metric, errors: errorsOf(members.map((index) => compared(rows[index]!, answers[index]!, metric))) })),
  );
}

function compared({ ttftMs, tpotMs }: Measurement, answer: HeldOut, metric: Metric): Compared {
  const measured = metric === 'tpot' ? tpotMs : ttftMs;
  if ('refused' in answer) return { measured, predicted: null, interval: null };
  const { ms, p05, p95 } = answer[metric];
  return { measured, predicted: ms, interval: Number.isNaN(p05) ? null : [p05, p95] };
}

function pointOf({ one, ttftMs, tpotMs }: Measurement, answerOf: (level: Level) => HeldOut): ValidationPoint {
  const predicted = (level: Level): ValidationPoint['predicted'][Level] => {
    const answer = answerOf(level);
    return 'refused' in answer ? null : { tpot: answer.tpot.ms, ttft: answer.ttft.ms };
  };
  const { id, backend, model, system, isl, concurrency, warmedUp } = one;
  return {
    id, backend, model, system, isl, concurrency, warmedUp,
    measured: { tpot: tpotMs, ttft: ttftMs },
    predicted: { analytic: predicted('analytic'), M1: predicted('M1'), M2: predicted('M2'), M3: predicted('M3'), 'M3-zero-shot': predicted('M3-zero-shot') },
  };
}

function refusalsOf(answers: readonly Simulation[]): Validation['refusals'] {
  const counts = new Map<string, number>();
  for (const answer of answers) if ('refused' in answer) counts.set(answer.refused, (counts.get(answer.refused) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([why, rows]) => ({ why, rows }));
}
