import { HASH, type GateBaseline } from '../scenario/gate.js';
import { metricInfo } from '../scenario/metrics-names.js';
import { judgeConstraints } from '../sweep/constraints.js';
import { rounded, type Baseline, type BaselineCase, type Figure } from './baseline.js';
import { mean, noiseOf } from './noise.js';
import type { CheckResult, GateResult, GateRun, MetricResult, MetricVerdict } from './result.js';

/** Holds the runs of a gate against its checks and, where there is one, its baseline. A failed run leaves nothing to judge. */
export function judgeGate(run: GateRun, baseline: Baseline | null): GateResult {
  const { gate, failures } = run;
  if (failures.length > 0) return { gate, passed: false, failures, checks: [], metrics: [] };
  const checks = judgeChecks(run);
  const metrics = baseline && gate.baseline ? judgeMetrics(run, gate.baseline, baseline) : [];
  return { gate, passed: checks.every(({ met }) => met) && metrics.every(({ verdict }) => verdict !== 'worse'), failures, checks, metrics };
}

/** What `--update` would write. */
export function newBaseline({ gate, cases }: GateRun): Baseline {
  const wanted = gate.baseline?.metrics.map(({ name }) => name) ?? [];
  return new Map([...cases].map(([name, { seeds, metrics }]): [string, BaselineCase] => [name, { seeds, metrics: new Map(wanted.map((metric) => [metric, metrics.get(metric)!.map(rounded)])) }]));
}

function judgeChecks({ gate, cases }: GateRun): CheckResult[] {
  const means: Record<string, number | null> = {};
  for (const [name, { metrics }] of cases) for (const [metric, figures] of metrics) means[`${name}.${metric}`] = meanOf(figures);
  return gate.checks.map((check) => {
    const { met, value, bound } = judgeConstraints([check.constraint], null, means)[0]!;
    return { check, met, value, bound };
  });
}

function judgeMetrics({ gate, cases }: GateRun, spec: GateBaseline, baseline: Baseline): MetricResult[] {
  return gate.cases.flatMap(({ name, at }) => {
    const [now, before] = [cases.get(name)!, baseline.get(name)!];
    return [...before.metrics.keys()].sort().map((metric) => ({ name, at, metric, ...judgeMetric(metric, spec, now, before) }));
  });
}

type Judged = Omit<MetricResult, 'name' | 'at' | 'metric'>;

function judgeMetric(metric: string, { metrics, tolerance }: GateBaseline, now: BaselineCase, before: BaselineCase): Judged {
  const figures = { now: now.metrics.get(metric)!.map(rounded), before: before.metrics.get(metric)! };
  const better = metrics.find(({ name }) => name === metric)?.better ?? metricInfo(metric)?.better ?? 'min';
  const allowed = tolerance.of.get(metric) ?? tolerance.default;
  if (metric === HASH) return judgeHash(figures);
  const [here, there] = [meanOf(figures.now), meanOf(figures.before)];
  const judged = { better, baseline: there, now: here, tolerance: allowed };
  if (here === null || there === null) return { ...judged, change: null, noise: null, verdict: here === there ? 'ok' : here === null ? 'worse' : 'better' };
  const scale = Math.abs(there);
  const difference = here - there;
  const interval = noiseOf({ seeds: now.seeds, values: figures.now as number[] }, { seeds: before.seeds, values: figures.before as number[] });
  const relative = (value: number): number | null => (scale > 0 ? value / scale : null);
  return { ...judged, change: relative(difference), noise: interval === null ? null : relative(interval), verdict: verdictOf(better === 'min' ? difference : -difference, allowed * scale, interval) };
}

/** `worse`: by how much; negative = better. */
function verdictOf(worse: number, allowed: number, interval: number | null): MetricVerdict {
  const beyondNoise = Math.abs(worse) > (interval ?? 0);
  if (worse > allowed) return beyondNoise ? 'worse' : 'noise';
  return -worse > allowed && beyondNoise ? 'better' : 'ok';
}

function judgeHash({ now, before }: { readonly now: readonly Figure[]; readonly before: readonly Figure[] }): Judged {
  const same = now.length === before.length && now.every((hash, index) => hash === before[index]);
  const other = same ? 0 : Math.max(0, now.findIndex((hash, index) => hash !== before[index]));
  return { better: 'min', baseline: before[other] ?? null, now: now[other] ?? null, change: null, noise: null, tolerance: 0, verdict: same ? 'ok' : 'worse' };
}

/** Null where a run has no sample. */
function meanOf(figures: readonly Figure[]): number | null {
  return figures.every((figure) => typeof figure === 'number') ? mean(figures as number[]) : null;
}
