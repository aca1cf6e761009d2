import type { CaseBackend, FittedNumbers, PhysicalData } from './effects.js';
import type { Physical } from './physical.js';
import { priorOf, toNumbers, toPhysical, toVector, type Vector } from './vectors.js';

/** The numbers of one backend: its models', their mean and spread (of a vector: ln, host in ms). */
export interface BackendNumbers {
  readonly mean: FittedNumbers;
  readonly spread: Vector;
  /** By family, in the order of their names. */
  readonly models: ReadonlyMap<string, { readonly rows: number; readonly numbers: FittedNumbers }>;
}

export type PhysicalModel = ReadonlyMap<CaseBackend, BackendNumbers>;

/** A family's numbers; of an unknown family its backend's mean (`known` false); of an unknown backend where a fit would start. */
export function physicalFor(model: PhysicalModel, data: Pick<PhysicalData, 'backends'>, backend: CaseBackend, family: string): { readonly physical: Physical; readonly known: boolean } {
  const numbers = model.get(backend);
  const own = numbers?.models.get(family);
  return { physical: toPhysical(own?.numbers ?? numbers?.mean ?? data.backends[backend].start, backend, data), known: own !== undefined };
}

/** Rows at which a model weighs half in its backend's mean. */
const HALF_WEIGHT = 20;
/** Fewer rows than this tell more of themselves than of their model, which then takes its backend's mean. */
const LEAST_ROWS = 8;
/** What the start weighs beside models of weight up to 1: numbers that trade against each other would drift apart together. */
const START_WEIGHT = 2;
/** Priors from the mean beyond which a model loses weight. */
const FAR = 1.5;

/** Mean of models' vectors and the start's, which no single model can carry away, and their spread; null without models. */
export function meanOf(models: readonly { readonly rows: number; readonly vector: Vector }[], start: Vector, data: PhysicalData): { readonly mean: Vector; readonly spread: Vector } | null {
  if (models.length === 0) return null;
  const axes = priorOf(data).map((sd, axis) => {
    const values = [start[axis]!, ...models.map(({ vector }) => vector[axis]!)];
    const base = [START_WEIGHT, ...models.map(({ rows }) => rows / (rows + HALF_WEIGHT))];
    let centre = weighted(values, base);
    for (let i = 0; i < 20; i++) centre = weighted(values, base.map((weight, j) => weight * Math.min(1, (FAR * sd) / Math.max(Math.abs(values[j]! - centre), 1e-9))));
    return { centre, spread: Math.sqrt(weighted(values.map((value) => (value - centre) ** 2), base)) };
  });
  return { mean: axes.map(({ centre }) => centre), spread: axes.map(({ spread }) => spread) };
}

function weighted(values: readonly number[], weights: readonly number[]): number {
  return values.reduce((sum, value, i) => sum + value * weights[i]!, 0) / weights.reduce((sum, weight) => sum + weight, 0);
}

/** A model from the vectors of its families. */
export function modelOf(groups: readonly { readonly backend: CaseBackend; readonly family: string; readonly rows: number; readonly vector: Vector }[], data: PhysicalData): PhysicalModel {
  const backends = [...new Set(groups.map(({ backend }) => backend))].sort();
  return new Map(
    backends.map((backend) => {
      const own = groups.filter((group) => group.backend === backend && group.rows >= LEAST_ROWS).sort((a, b) => (a.family < b.family ? -1 : 1));
      const start = toVector(data.backends[backend].start);
      const { mean, spread } = meanOf(own, start, data) ?? { mean: start, spread: start.map(() => 0) };
      return [backend, { mean: toNumbers(mean), spread, models: new Map(own.map(({ family, rows, vector }) => [family, { rows, numbers: toNumbers(vector) }])) }];
    }),
  );
}

/** The vector of a family in a model; its backend's mean or the start when it has none. */
export function vectorFor(model: PhysicalModel, data: PhysicalData, backend: CaseBackend, family: string): Vector {
  const numbers = model.get(backend);
  return toVector(numbers?.models.get(family)?.numbers ?? numbers?.mean ?? data.backends[backend].start);
}
