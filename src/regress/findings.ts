import { HASH } from '../scenario/gate.js';
import type { Position } from '../scenario/tree.js';
import { metricText, percentText } from '../sweep/words.js';
import type { Figure } from './baseline.js';
import type { CheckResult, GateResult, MetricResult } from './result.js';

/** One thing that was looked at, in words. */
export interface Finding {
  readonly kind: 'run' | 'check' | 'metric';
  /** File name of the gate without its ending, and case where it is of one: `router/kv`. */
  readonly scenario: string;
  readonly file: string;
  readonly at: Position;
  readonly subject: string;
  readonly expected: string;
  readonly got: string;
  readonly verdict: 'ok' | 'failed' | 'worse' | 'noise' | 'better';
  /** Whether the gate fails by it. */
  readonly fatal: boolean;
}

/** Everything a gate was held to, in the order of its file. */
export function findingsOf(result: GateResult): Finding[] {
  const { gate, failures, checks, metrics } = result;
  const common = { file: gate.file };
  return [
    ...failures.map(({ name, at, reason }): Finding => ({ ...common, kind: 'run', scenario: scenarioName(result, name), at, subject: 'run', expected: 'completes', got: reason, verdict: 'failed', fatal: true })),
    ...checks.map((one): Finding => ({ ...common, kind: 'check', scenario: gate.name, at: one.check.at, subject: one.check.constraint.text, expected: `${one.check.constraint.op} ${sideText(one, one.bound)}`, got: sideText(one, one.value), verdict: one.met ? 'ok' : 'failed', fatal: !one.met })),
    ...metrics.map((one): Finding => ({ ...common, kind: 'metric', scenario: scenarioName(result, one.name), at: one.at, subject: one.metric, expected: expectedText(one), got: `${figureText(one.metric, one.now)} (${changeText(one)})`, verdict: one.verdict, fatal: one.verdict === 'worse' })),
  ];
}

export function scenarioName({ gate }: GateResult, name: string): string {
  return `${gate.name}/${name}`;
}

/** A figure with its unit; the first digits of a hash. */
export function figureText(metric: string, figure: Figure): string {
  return typeof figure === 'string' ? figure.slice(0, 12) : metricText(metric, figure);
}

/** `+3.2%`, with `±1.1%` for the noise over seeds; the difference itself where the baseline is 0. */
export function changeText({ metric, baseline, now, change, noise }: MetricResult): string {
  if (metric === HASH) return baseline === now ? 'same' : 'differs';
  if (typeof now !== 'number' || typeof baseline !== 'number') return now === baseline ? 'same' : 'no comparison';
  if (change === null) return now === baseline ? 'same' : `${now > baseline ? '+' : ''}${metricText(metric, now - baseline)}`;
  const signed = change === 0 ? 'same' : `${change > 0 ? '+' : ''}${percentText(change)}`;
  return noise === null || change === 0 ? signed : `${signed} ±${percentText(noise)}`;
}

function expectedText(one: MetricResult): string {
  if (one.metric === HASH) return figureText(HASH, one.baseline);
  return `${one.better === 'min' ? 'at most' : 'at least'} ${figureText(one.metric, one.baseline)}${one.tolerance > 0 ? ` and ${percentText(one.tolerance)}` : ''}`;
}

/** A side of a check, in the unit of the metrics it names. */
function sideText({ check: { constraint } }: CheckResult, value: number | null): string {
  const metric = [...constraint.left.terms, ...constraint.right.terms][0]?.metric ?? '';
  return metricText(metric.slice(metric.indexOf('.') + 1), value);
}

/** `3 gates, 12 checks and 30 metrics: all hold`, or what does not. */
export function summaryText(results: readonly GateResult[]): string {
  const findings = results.flatMap(findingsOf);
  const checks = results.reduce((sum, result) => sum + result.checks.length, 0);
  const metrics = results.reduce((sum, result) => sum + result.metrics.length, 0);
  const fatal = findings.filter((finding) => finding.fatal).length;
  const failed = results.filter(({ passed }) => !passed).length;
  const noisy = findings.filter(({ verdict }) => verdict === 'noise').length;
  const looked = `${counted(results.length, 'gate')}, ${counted(checks, 'check')}, ${counted(metrics, 'metric')} against a baseline`;
  const verdict = fatal === 0 ? 'all hold' : `${fatal} ${fatal === 1 ? 'does' : 'do'} not hold, in ${counted(failed, 'gate')}`;
  return `${looked}: ${verdict}${noisy > 0 ? `, ${noisy} within the noise over seeds` : ''}`;
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
