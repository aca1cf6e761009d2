import type { SweepResult, CandidateResult } from '../sweep/result.js';
import type { Latency, Report } from '../metrics/report.js';
import type { Objective } from '../scenario/scenario.js';

/** A candidate without its scenario and full report. */
export interface CandidateDocument extends Omit<CandidateResult, 'candidate' | 'report'> {
  readonly id: string;
  readonly dimensions: Readonly<Record<string, unknown>>;
}

/** What is drawn of a sweep, and all that `sweep.json` keeps of it: a `SweepResult` whose candidates are reduced to plain rows. */
export interface SweepDocument extends Pick<SweepResult, 'sweep' | 'objectives' | 'constraints' | 'bindingConstraint'> {
  readonly schema: 'dynotwin.sweep/1';
  readonly candidates: readonly CandidateDocument[];
  readonly front: readonly CandidateDocument[];
  readonly recommendations: readonly RecommendationDocument[];
  readonly nearestMisses: readonly CandidateDocument[];
}

export interface RecommendationDocument {
  readonly candidate: CandidateDocument;
  readonly label: string;
  readonly reasons: readonly string[];
  readonly tiedWith: readonly string[];
  readonly advice?: { readonly sentences: readonly string[] };
}

/** What the drawing functions take: a sweep in memory, or the document of a folder. */
export type SweepInput = SweepResult | SweepDocument;

/** The reduced, serialisable form of a sweep; a document comes back as it is. */
export function sweepDocument(input: SweepInput): SweepDocument {
  if ('schema' in input) return input;
  return {
    schema: 'dynotwin.sweep/1',
    sweep: input.sweep,
    objectives: input.objectives,
    constraints: input.constraints,
    candidates: input.candidates.map(reduced),
    front: input.front.map(reduced),
    recommendations: input.recommendations.map((one) => ({ ...one, candidate: reduced(one.candidate) })),
    nearestMisses: input.nearestMisses.map(reduced),
    bindingConstraint: input.bindingConstraint,
  };
}

function reduced(result: CandidateResult): CandidateDocument {
  const { candidate, report: _report, ...rest } = result;
  return { id: candidate.id, dimensions: candidate.dimensions, ...rest };
}

/**
 * The two metrics of a frontier plot: the objectives, tok/s/user across when it is one of them; a
 * single objective is set against tok/s/user (or tok/s/GPU when that is the objective).
 */
export function frontierAxes(objectives: readonly Objective[]): { readonly x: string; readonly y: string } {
  const metrics = objectives.map((one) => one.metric);
  const first = metrics[0] ?? 'tok_s_per_gpu';
  if (metrics.length < 2) return { x: first === 'tok_s_per_user' ? 'tok_s_per_gpu' : 'tok_s_per_user', y: first };
  const x = metrics.includes('tok_s_per_user') ? 'tok_s_per_user' : metrics[1]!;
  return { x, y: metrics.find((metric) => metric !== x) ?? first };
}

/** Every pair of objectives to draw, the main one first. Source: DESIGN, report page. */
export function frontierPairs(objectives: readonly Objective[]): { readonly x: string; readonly y: string }[] {
  const main = frontierAxes(objectives);
  const metrics = objectives.map((one) => one.metric);
  const pairs = [main];
  for (let i = 0; i < metrics.length; i++) {
    for (let j = i + 1; j < metrics.length; j++) {
      const pair = { x: metrics[j]!, y: metrics[i]! };
      if (!(new Set([pair.x, pair.y, main.x, main.y]).size === 2)) pairs.push(pair);
    }
  }
  return pairs;
}

/** A bound on one metric, in the metric's own unit. */
export interface Bound {
  readonly metric: string;
  readonly op: '<=' | '>=' | '<' | '>' | '==';
  readonly value: number;
}

/** The bounds of a sweep that hold one metric against a constant: its own constraints, and those of the SLO as the candidates were judged by it. */
export function constraintBounds(document: SweepDocument): Bound[] {
  const slo = document.candidates.flatMap(({ margins }) => margins.flatMap(({ constraint, bound }) => {
    const metric = /^slo: (\S+) <= /.exec(constraint)?.[1];
    return metric === undefined || bound === null ? [] : [{ metric, op: '<=' as const, value: bound }];
  }));
  const compared = document.constraints.flatMap((constraint) => {
    if (constraint.kind !== 'compare' || constraint.left.terms.length !== 1 || constraint.right.terms.length !== 0) return [];
    const { metric, factor } = constraint.left.terms[0]!;
    return factor > 0 ? [{ metric, op: constraint.op, value: (constraint.right.constant - constraint.left.constant) / factor }] : [];
  });
  return [...new Map([...slo, ...compared].map((bound) => [JSON.stringify(bound), bound])).values()];
}

const SLO_METRICS = { ttft: 'ttft_ms', itl: 'tpot_ms', e2e: 'e2e_ms' } as const;

/**
 * The SLO bounds of one run, ms. A report states margins, (bound − measured) / bound, so the bound
 * is measured / (1 − margin); ten digits keep what the division blurs out of it.
 */
export function reportBounds(report: Report): Bound[] {
  if (report.slo === undefined) return [];
  const at = report.slo.at as keyof Latency;
  return Object.entries(report.slo.margins).flatMap(([name, margin]) => {
    const metric = SLO_METRICS[name as keyof typeof SLO_METRICS];
    const measured = metric === undefined ? null : report.latency[metric][at];
    if (margin === null || measured === null || measured === undefined || !(margin < 1)) return [];
    return [{ metric: `${metric}.${at}`, op: '<=' as const, value: Number((measured / (1 - margin)).toPrecision(10)) }];
  });
}

const SHORT_PATHS = new Set(['mode', 'layout', 'router', 'router.policy', 'deployment.model', 'deployment.hardware', 'deployment.engine']);

/** `disagg · 1×tp2 + 3×tp1 · kv · concurrency=64`: the dimensions of a candidate on one line. */
export function configurationName(candidate: Pick<CandidateDocument, 'id' | 'dimensions'>): string {
  const parts = Object.entries(candidate.dimensions).map(([path, value]) => {
    const text = dimensionText(value);
    return SHORT_PATHS.has(path) ? text : `${path.slice(path.lastIndexOf('.') + 1)}=${text}`;
  });
  return parts.length === 0 ? candidate.id : parts.join(' · ');
}

/** The value of a dimension as text: strings bare, the rest as JSON, a missing one as a dash. */
export function dimensionText(value: unknown): string {
  if (value === undefined) return '—';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Dimensions in which the candidates differ, in order of first appearance. */
export function varyingDimensions(document: SweepDocument): string[] {
  const values = new Map<string, Set<string>>();
  for (const { dimensions } of document.candidates) {
    for (const path of Object.keys(dimensions)) if (!values.has(path)) values.set(path, new Set());
  }
  for (const { dimensions } of document.candidates) {
    for (const [path, seen] of values) seen.add(path in dimensions ? dimensionText(dimensions[path]) : '');
  }
  return [...values].filter(([, seen]) => seen.size > 1).map(([path]) => path);
}

/** Which dimension gives a point its colour and which its shape; null = all alike. */
export function channelDimensions(document: SweepDocument): { readonly colour: string | null; readonly shape: string | null } {
  const varying = varyingDimensions(document);
  const shape = varying.find((path) => path === 'router.policy' || path === 'router') ?? null;
  const fewValues = (path: string): boolean =>
    new Set(document.candidates.map(({ dimensions }) => dimensionText(dimensions[path]))).size <= 8;
  const others = varying.filter((path) => path !== shape && fewValues(path));
  const colour = others.find((path) => path === 'mode') ?? others.find((path) => path === 'layout') ?? others[0] ?? null;
  return { colour, shape };
}

const FAVOURITES = ['tok_s_per_gpu', 'tok_s_per_user', 'ttft_ms.p99', 'tpot_ms.mean', 'goodput_ratio', 'prefix_hit_ratio', 'gpus', 'cost_per_m_output'];

/** The metrics a sweep is about: objectives, bounded metrics, then the usual ones that any candidate has. */
export function metricsShown(document: SweepDocument): string[] {
  const wanted = [...document.objectives.map(({ metric }) => metric), ...constraintBounds(document).map(({ metric }) => metric), ...FAVOURITES];
  return [...new Set(wanted)].filter((metric) => document.candidates.some((one) => hasMetric(one, metric)));
}

/** Whether a candidate has a value for a metric. */
export function hasMetric(candidate: Pick<CandidateDocument, 'metrics'>, metric: string): boolean {
  return Number.isFinite(candidate.metrics[metric] ?? NaN);
}

/** The candidates that have both metrics. */
export function plottable(candidates: readonly CandidateDocument[], x: string, y: string): CandidateDocument[] {
  return candidates.filter((one) => hasMetric(one, x) && hasMetric(one, y));
}
