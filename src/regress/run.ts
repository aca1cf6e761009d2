import { createHash } from 'node:crypto';
import { InputError } from '../core/problem.js';
import { metricsOf } from '../metrics/metrics-of.js';
import type { Report } from '../metrics/report.js';
import { HASH, type Gate } from '../scenario/gate.js';
import { runScenarios, type SweepOptions } from '../sweep/run.js';
import type { BaselineCase, Figure } from './baseline.js';
import type { GateRun } from './result.js';

/** Runs every case of every gate with every seed, on threads. Throws `InputError` for input that only a run finds bad. */
export async function runGates(gates: readonly Gate[], options: SweepOptions): Promise<GateRun[]> {
  const outcomes = await runScenarios(gates.flatMap(({ cases }) => cases.flatMap(({ runs }) => runs)), options);
  const bad = outcomes.flatMap((outcome) => (outcome.ok ? [] : (outcome.problems ?? [])));
  if (bad.length > 0) throw new InputError([...new Map(bad.map((problem) => [JSON.stringify(problem), problem])).values()]);
  let next = 0;
  return gates.map((gate) => {
    const cases = new Map<string, BaselineCase>();
    const failures: { name: string; at: Gate['cases'][number]['at']; reason: string }[] = [];
    for (const { name, at, runs } of gate.cases) {
      const own = runs.map(() => outcomes[next++]!);
      const failed = own.find((outcome) => !outcome.ok);
      if (failed && !failed.ok) failures.push({ name, at, reason: failed.reason });
      else cases.set(name, { seeds: runs.map(({ run }) => run.seed), metrics: columns(own.flatMap((outcome) => (outcome.ok ? [outcome.value.report] : []))) });
    }
    return { gate, cases, failures };
  });
}

/** Metric → its figure in each report. */
function columns(reports: readonly Report[]): Map<string, Figure[]> {
  const rows = reports.map((report): Record<string, Figure> => ({ ...metricsOf(report), [HASH]: reportHash(report) }));
  return new Map(Object.keys(rows[0]!).map((metric) => [metric, rows.map((row) => row[metric] ?? null)]));
}

/** SHA-256 (hex) of report.json's bytes. */
function reportHash(report: Report): string {
  return createHash('sha256').update(`${JSON.stringify(report, null, 2)}\n`).digest('hex');
}
