import type { BaselineCase, Figure } from '../../src/regress/baseline.js';
import type { GateRun } from '../../src/regress/result.js';
import type { Gate, GateBaseline } from '../../src/scenario/gate.js';
import { parseConstraint } from '../../src/scenario/expression.js';
import { metricInfo } from '../../src/scenario/metrics-names.js';
import type { Scenario } from '../../src/scenario/scenario.js';
import { scenario } from '../sweep/fixtures/results.js';

export interface GateParts {
  readonly cases?: readonly string[];
  readonly checks?: readonly string[];
  readonly metrics?: GateBaseline['metrics'];
  /** Percent. */
  readonly tolerance?: number;
  readonly of?: Readonly<Record<string, number>>;
  readonly seeds?: readonly number[];
  readonly name?: string;
}

/** A gate that stands in gate.yaml: cases on lines from 11, checks from 21 on. */
export function gateOf({ cases = ['kv'], checks = [], metrics = [], tolerance = 0, of = {}, seeds = [42], name = 'router' }: GateParts = {}): Gate {
  const at = (line: number): { file: string; line: number; col: number } => ({ file: 'gate.yaml', line, col: 5 });
  const runs = seeds.map((seed): Scenario => ({ ...scenario(), run: { ...scenario().run, seed } }));
  const find = (text: string): NonNullable<ReturnType<typeof metricInfo>> => ({ ...metricInfo(text.slice(text.indexOf('.') + 1))!, name: text });
  return {
    name,
    file: 'gate.yaml',
    cases: cases.map((one, index) => ({ name: one, at: at(11 + index), runs })),
    checks: checks.map((text, index) => {
      const parsed = parseConstraint(text, find);
      if (parsed.kind !== 'compare') throw new Error('no comparison');
      return { at: at(21 + index), constraint: parsed };
    }),
    baseline: { path: 'baseline.json', at: at(31), metrics, tolerance: { default: tolerance / 100, of: new Map(Object.entries(of).map(([metric, percent]) => [metric, percent / 100])) } },
    files: ['gate.yaml'],
  };
}

export function figures(seeds: readonly number[], metrics: Readonly<Record<string, readonly Figure[]>>): BaselineCase {
  return { seeds, metrics: new Map(Object.entries(metrics)) };
}

export function runOf(gate: Gate, cases: Readonly<Record<string, BaselineCase>>): GateRun {
  return { gate, cases: new Map(Object.entries(cases)), failures: [] };
}
