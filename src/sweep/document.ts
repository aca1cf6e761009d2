import { InputError } from '../core/problem.js';
import type { Advice } from './advice.js';
import type { CandidateResult, Margin, SweepResult } from './result.js';

/** A candidate as sweep.json holds it. */
export interface CandidateJson {
  readonly id: string;
  readonly status: CandidateResult['status'];
  readonly reason: string;
  readonly dimensions: Readonly<Record<string, unknown>>;
  readonly metrics: CandidateResult['metrics'];
  readonly feasible: boolean;
  readonly margins: readonly Margin[];
  readonly rank: number;
  readonly on_front: boolean;
  /** Of the front only. */
  readonly tied_with?: readonly string[];
}

/** sweep.json (`dynotwin.sweep/1`), key order as here; no wall time, no host. */
export interface SweepJson extends Pick<SweepResult['sweep'], 'name' | 'counts' | 'search' | 'top'>, Pick<SweepResult, 'objectives' | 'constraints'> {
  readonly schema: 'dynotwin.sweep/1';
  /** Ids, best first objective first. */
  readonly front: readonly string[];
  readonly recommendations: readonly { readonly id: string; readonly label: string; readonly reasons: readonly string[]; readonly tied_with: readonly string[]; readonly advice?: Advice }[];
  /** Ids, when nothing is feasible. */
  readonly nearest_misses: readonly string[];
  readonly binding_constraint: string | null;
  readonly failures: readonly { readonly id: string; readonly reason: string }[];
  readonly illegal: SweepResult['sweep']['illegal'];
  /** By id. */
  readonly candidates: readonly CandidateJson[];
}

/** The content of sweep.json. */
export function sweepJson(result: SweepResult): SweepJson {
  const { name, counts, search, top, illegal } = result.sweep;
  const idOf = ({ candidate }: CandidateResult): string => candidate.id;
  return {
    schema: 'dynotwin.sweep/1',
    name,
    counts,
    objectives: result.objectives,
    constraints: result.constraints,
    search,
    top,
    front: result.front.map(idOf),
    recommendations: result.recommendations.map(({ candidate, label, reasons, tiedWith, advice }) => ({
      id: idOf(candidate),
      label,
      reasons,
      tied_with: tiedWith,
      ...(advice === undefined ? {} : { advice }),
    })),
    nearest_misses: result.nearestMisses.map(idOf),
    binding_constraint: result.bindingConstraint,
    failures: result.candidates.filter(({ status }) => status === 'failed').map((failed) => ({ id: idOf(failed), reason: failed.reason })),
    illegal,
    candidates: result.candidates.map(({ candidate, status, reason, metrics, feasible, margins, rank, onFront, tiedWith }) => ({
      id: candidate.id,
      status,
      reason,
      dimensions: candidate.dimensions,
      metrics,
      feasible,
      margins,
      rank,
      on_front: onFront,
      ...(tiedWith === undefined ? {} : { tied_with: tiedWith }),
    })),
  };
}

/** What sweep.json keeps of a sweep's result: rows instead of candidates with scenario and report. */
export interface StoredSweep extends Pick<SweepResult, 'sweep' | 'objectives' | 'constraints' | 'bindingConstraint'> {
  readonly schema: 'dynotwin.sweep/1';
  readonly candidates: readonly StoredCandidate[];
  readonly front: readonly StoredCandidate[];
  readonly recommendations: readonly { readonly candidate: StoredCandidate; readonly label: string; readonly reasons: readonly string[]; readonly tiedWith: readonly string[]; readonly advice?: Advice }[];
  readonly nearestMisses: readonly StoredCandidate[];
}
export type StoredCandidate = Omit<CandidateResult, 'candidate' | 'report'> & { readonly id: string; readonly dimensions: Readonly<Record<string, unknown>> };

/** Reads the text of a sweep.json. Throws `InputError` (`E-KIND`) when it is something else. `file` is for the message. */
export function readSweepJson(text: string, file: string): StoredSweep {
  const json = parse(text) as SweepJson | null;
  if (json?.schema !== 'dynotwin.sweep/1') throw new InputError({ code: 'E-KIND', file, what: "no sweep.json: 'schema' is not 'dynotwin.sweep/1'", hint: 'give the output folder of sweep or plan' });
  const candidates = json.candidates.map(({ on_front, tied_with, ...row }): StoredCandidate => ({ ...row, onFront: on_front, ...(tied_with === undefined ? {} : { tiedWith: tied_with }) }));
  const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
  const find = (id: string): StoredCandidate => {
    const found = byId.get(id);
    if (!found) throw new InputError({ code: 'E-SYNTAX', file, what: `candidate ${id} is named but missing`, hint: 'run the sweep again' });
    return found;
  };
  const { name, counts, illegal, top, search, objectives, constraints } = json;
  return {
    schema: json.schema,
    sweep: { name, counts, illegal, top, search },
    objectives,
    constraints,
    candidates,
    front: json.front.map(find),
    recommendations: json.recommendations.map(({ id, tied_with, ...rest }) => ({ ...rest, candidate: find(id), tiedWith: tied_with })),
    nearestMisses: json.nearest_misses.map(find),
    bindingConstraint: json.binding_constraint,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
