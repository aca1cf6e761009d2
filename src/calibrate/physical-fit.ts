import type { Metric, PhysicalData, CaseBackend } from '../timing/calibration/effects.js';
import { familyOf } from '../timing/calibration/family.js';
import { meanOf, modelOf, vectorFor, type PhysicalModel } from '../timing/calibration/physical-model.js';
import type { Measurement } from './silicon.js';
import type { Simulations } from './simulations.js';
import { solve, type SolveRow } from './solve.js';
import { designAround, surrogateOf, valueAt, type Surrogate } from './surrogate.js';
import { FLOOR, HOST, PRE, priorOf, toNumbers, toPhysical, toVector, type Vector } from '../timing/calibration/vectors.js';

/** A fit, and what a refit on fewer rows needs. */
export interface PhysicalFit {
  readonly rows: readonly Measurement[];
  readonly data: PhysicalData;
  readonly model: PhysicalModel;
  /** By row, about its family's vector of the round before the last; null = the simulator refuses the row. */
  readonly surrogates: readonly (Surrogate | null)[];
}

/** The first round looks at this many rows of a family only. */
const FIRST_LOOK = 24;
const ROUNDS = 3;
/** Starts about a vector: the floor and m_pre trade against each other. */
const STARTS: readonly { readonly pre: number; readonly floor: number }[] = [{ pre: 0, floor: 0 }, { pre: 0, floor: -1 }, { pre: 0, floor: 1 }, { pre: 0.3, floor: -1 }, { pre: -0.3, floor: 1 }];
/** How far a round may go from where it looked: as long as a surrogate is worth something. */
const REACH = [0.4, 0.6, 0.5, 1.2, 1.4] as const;
const HOST_RANGE = [-0.5, 6] as const;

/**
 * Five numbers for every backend and model (spec accuracy section 3), drawn to their backend's mean, which is fitted with them.
 * Every round simulates each row at a few vectors about its family's last and solves on what lies between.
 */
export async function fitPhysical(rows: readonly Measurement[], simulations: Simulations, data: PhysicalData): Promise<PhysicalFit> {
  const families = familiesOf(rows);
  let model: PhysicalModel = new Map();
  let surrogates: (Surrogate | null)[] = rows.map(() => null);
  for (let round = 0; round < ROUNDS; round++) {
    const looked = families.flatMap(({ backend, family, indices }) => {
      const centre = toVector(toNumbers(vectorFor(model, data, backend, family)));
      return (round === 0 ? spreadOut(indices, FIRST_LOOK) : indices).map((index) => ({ index, centre, design: designAround(centre) }));
    });
    const wanted = looked.flatMap(({ index, design }) => design.map((vector) => ({ one: rows[index]!.one, physical: toPhysical(toNumbers(vector), rows[index]!.one.backend, data), draft: true })));
    const answers = await simulations.all(wanted);
    surrogates = rows.map(() => null);
    let at = 0;
    for (const { index, centre, design } of looked) {
      surrogates[index] = surrogateOf(centre, answers.slice(at, at + design.length));
      at += design.length;
    }
    model = solveFamilies(rows, surrogates, data, model, STARTS, () => true);
  }
  return { rows, data, model, surrogates };
}

/** The same fit on the rows for which `keep` is true, without a new simulation; starts where the whole fit ended. */
export function refitPhysical({ rows, data, model, surrogates }: PhysicalFit, keep: (index: number) => boolean): PhysicalModel {
  // The numbers of a backend that loses no row stay.
  const touched = new Set(rows.filter((_, index) => !keep(index)).map(({ one }) => one.backend));
  const solved = solveFamilies(rows, surrogates, data, model, STARTS.slice(0, 1), (index) => keep(index) && touched.has(rows[index]!.one.backend));
  return new Map([...[...model].filter(([backend]) => !touched.has(backend)), ...solved]);
}

/** How ln of a simulated mean of a row changes from the fit's model to another. */
export function shiftOf({ rows, data, model, surrogates }: PhysicalFit, index: number, other: PhysicalModel, metric: Metric): number {
  const surrogate = surrogates[index];
  const { backend, model: name } = rows[index]!.one;
  if (!surrogate) return 0;
  const at = (of: PhysicalModel): number => valueAt(surrogate, metric, vectorFor(of, data, backend, familyOf(name)));
  return at(other) - at(model);
}

/** Families are drawn to their backend's mean, then the mean is taken anew, twice. */
function solveFamilies(rows: readonly Measurement[], surrogates: readonly (Surrogate | null)[], data: PhysicalData, before: PhysicalModel, starts: typeof STARTS, keep: (index: number) => boolean): PhysicalModel {
  const families = familiesOf(rows)
    .map((family) => ({ ...family, solvable: family.indices.filter((index) => keep(index) && surrogates[index]).map((index) => solveRow(rows[index]!, surrogates[index]!, data)) }))
    .filter(({ solvable }) => solvable.length > 0);
  const sd = priorOf(data);
  const means = new Map<CaseBackend, Vector>();
  for (const { backend } of families) means.set(backend, toVector(before.get(backend)?.mean ?? data.backends[backend].start));
  let groups = families.map(({ backend, family, solvable }) => ({ backend, family, rows: solvable.length, vector: vectorFor(before, data, backend, family) }));
  for (let pass = 0; pass < 2; pass++) {
    groups = families.map(({ backend, family, solvable }, i) => {
      const { centre } = solvable[0]!.surrogate;
      const from = groups[i]!.vector;
      const tries = starts.map(({ pre, floor }) => from.map((value, axis) => value + (axis === PRE ? pre : axis === FLOOR ? floor : 0)));
      return { backend, family, rows: solvable.length, vector: solve(solvable, data.noise, { mean: means.get(backend)!, sd }, pass === 0 ? tries : tries.slice(0, 1), boundsAbout(centre)) };
    });
    for (const backend of means.keys()) means.set(backend, meanOf(groups.filter((group) => group.backend === backend), toVector(data.backends[backend].start), data)!.mean);
  }
  return modelOf(groups, data);
}

function solveRow({ one, ttftMs, tpotMs }: Measurement, surrogate: Surrogate, data: PhysicalData): SolveRow {
  const weight = one.specDecode === 'mtp-likely' ? data.drafts_weight : 1;
  return { surrogate, ln: { tpot: Math.log(tpotMs), ttft: Math.log(ttftMs) }, weight: { tpot: weight, ttft: one.warmedUp ? weight : 0 } };
}

function boundsAbout(centre: Vector): { readonly low: Vector; readonly high: Vector } {
  const low = centre.map((value, axis) => value - REACH[axis]!);
  const high = centre.map((value, axis) => value + REACH[axis]!);
  low[HOST] = Math.max(low[HOST]!, HOST_RANGE[0]);
  high[HOST] = Math.min(high[HOST]!, HOST_RANGE[1]);
  return { low, high };
}

interface Family {
  readonly backend: CaseBackend;
  readonly family: string;
  readonly indices: readonly number[];
}

function familiesOf(rows: readonly Measurement[]): Family[] {
  const families = new Map<string, { backend: CaseBackend; family: string; indices: number[] }>();
  rows.forEach(({ one }, index) => {
    const family = familyOf(one.model);
    const name = `${one.backend} ${family}`;
    const known = families.get(name);
    if (known) known.indices.push(index);
    else families.set(name, { backend: one.backend, family, indices: [index] });
  });
  return [...families.values()];
}

/** At most `most` of them, evenly. */
function spreadOut(indices: readonly number[], most: number): number[] {
  const step = Math.max(1, indices.length / most);
  return Array.from({ length: Math.min(most, indices.length) }, (_, i) => indices[Math.floor(i * step)]!);
}
