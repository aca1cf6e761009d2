import { join } from 'node:path';
import Papa from 'papaparse';
import { InputError } from '../core/problem.js';
import { DECISION_TOLERANCE, decisionRegret, pricedDecisionsCsv, type PoolDecisions } from '../metrics/decision-regret.js';
import { regretOf, type Regret } from '../metrics/regret.js';
import type { Report } from '../metrics/report.js';
import { STAGE_NAMES, STAGES, stageBands, type StageBand } from '../metrics/stages.js';
import { loadScenario } from '../scenario/load.js';
import { EVEN } from '../scenario/resolve-analytic.js';
import type { Scenario } from '../scenario/scenario.js';
import { numberText, percentText } from '../sweep/words.js';
import { createEnvironment } from '../timing/environment.js';
import type { ReadOptions } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { simulate } from './run.js';
import { isFolder, readReport, refuseSets } from './run-source.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';

export interface ExplainRunOptions extends ReadOptions {
  readonly oracle?: boolean;
}

/**
 * `explain RUN`: where the time of requests went, by percentile of their latency. A scenario is simulated now; so is
 * that of a run folder, as rows hold no hand-over, and what comes out is held to its report.
 */
export async function explainRun(path: string, options: ExplainRunOptions): Promise<void> {
  const finished = isFolder(path) ? readReport(path) : null;
  if (finished) refuseSets(path, options.set, 'explain');
  const file = finished ? join(path, 'scenario.yaml') : path;
  const { scenario, warnings } = loadScenario(file, { sets: options.set, environment: createEnvironment() });
  if (scenario.run.estimator === 'analytic') throw new InputError({ code: 'E-NO-EFFECT', path: 'explain', what: 'closed forms have no requests whose time could be taken apart', hint: 'set run.estimator: simulate' });
  const guided = options.oracle === true ? guidedScenario(scenario) : null;
  printWarnings(warnings, options.quiet === true);
  const { outcome } = await simulate(scenario, undefined, guided !== null);
  if (finished) refuseOther(path, finished, outcome.report);
  const bands = stageBands(outcome.observations);
  const regret = guided && regretOf(outcome.observations, (await simulate(guided)).outcome.observations);
  const { priced, warmupRequests } = outcome.observations;
  const decisions = priced && decisionRegret(priced, scenario.deployment.pools.map(({ role }) => role), warmupRequests);
  const data = { schema: 'dynotwin.explain/1', run: scenario.name, bands, ...(decisions ? { decision_regret: { tolerance: DECISION_TOLERANCE, pools: decisions } } : {}), ...(regret ? { regret } : {}) };
  switch (options.format) {
    case 'table':
      return print([explainedText(scenario.name, outcome.report, bands), ...(decisions?.map(decisionsText) ?? []), ...(regret ? [regretText(regret)] : [])].join('\n\n'));
    case 'json':
      return print(jsonText(data));
    case 'yaml':
      return print(yamlText(data));
    case 'csv':
      if (priced) return print(pricedDecisionsCsv(priced));
      return print(`${Papa.unparse(bands.map(({ stages, ...band }) => ({ ...band, ...Object.fromEntries(STAGE_NAMES.map((stage) => [`${stage}_ms`, stages?.[stage] ?? null])) })), { newline: '\n' })}\n`);
  }
}

/** The scenario as the oracle routes it, with no queue, limits or affinity before it. Throws `E-NO-EFFECT` where that changes nothing. */
function guidedScenario(scenario: Scenario): Scenario {
  const { router, deployment } = scenario;
  const refuse = (what: string): never => {
    throw new InputError({ code: 'E-NO-EFFECT', path: '--oracle', what, hint: 'remove it' });
  };
  if (router.policy === 'oracle') refuse('the oracle routes this run');
  if (deployment.pools.every(({ replicas, engine }) => replicas * (engine.ranks ?? 1) === 1)) refuse('a router has nothing to choose where there is one worker');
  return { ...scenario, router: { ...EVEN, policy: 'oracle', oracle: { minimise: 'ttft' }, indexVisible: 'pass_start' } };
}

/** The folder may come from another version, or its scenario or trace may have changed since. */
function refuseOther(folder: string, written: Report, now: Report): void {
  const figures = ({ requests, duration_ms, latency: { ttft_ms, e2e_ms, queue_ms } }: Report): string => JSON.stringify([requests, duration_ms, ttft_ms, e2e_ms, queue_ms]);
  if (figures(written) === figures(now)) return;
  throw new InputError({ code: 'E-FILE', file: join(folder, 'report.json'), what: 'scenario.yaml beside it gives another report now', hint: "run the scenario again with this version, or explain scenario.yaml itself" });
}

function explainedText(name: string, { requests }: Report, bands: readonly StageBand[]): string {
  const head = `${name}: where the time of ${numberText(requests.completed)} completed requests went`;
  const parts = (['e2e_ms', 'ttft_ms'] as const).flatMap((latency) => {
    const some = bands.filter((band) => band.latency === latency && band.requests > 0);
    if (some.length === 0) return [];
    return [`${latency === 'e2e_ms' ? 'E2E (arrival to last token)' : 'TTFT (arrival to first token)'}, mean ms of a request by percentile of it\n${bandTable(some)}\n${slowestText(some.at(-1)!)}`];
  });
  return [head, ...(parts.length > 0 ? parts : ['no request completed'])].join('\n\n');
}

/** One pool's decisions, priced at their moments. */
function decisionsText({ pool, measure, decisions, not_best: others, not_best_ratio: share, total_regret_ms: total, worst, ...regret }: PoolDecisions): string {
  if (share === null) return `regret of the decisions (${pool}): none was taken`;
  const percentiles = (['p50', 'p90', 'p95', 'p99', 'max'] as const).map((name) => `${name} ${numberText(regret[`${name}_regret_ms`]!)}`).join(', ');
  const head = [
    `regret of the decisions (${pool}): ${numberText(others)} of ${numberText(decisions)} (${percentText(share)}) did not take the worker that the oracle predicts best at their moment, by more than ${percentText(DECISION_TOLERANCE)}`,
    `predicted ${measure} there against the best's: ${numberText(regret.mean_regret_ms!)} ms lost per decision, ${numberText(total)} ms in all; ${percentiles} ms`,
  ].join('\n');
  if (worst.length === 0) return head;
  const names = ['request', 'prompt tokens', 'worker', 'best', 'cached', "best's cached", 'predicted ms', "best's", 'regret ms'];
  const cell = (value: number | null): string => (value === null ? '-' : numberText(value));
  const rows = worst.map((one) => [one.request, one.isl, one.worker, one.best_worker, one.cached, one.best_cached, one.predicted_ms, one.best_predicted_ms, one.regret_ms].map(cell));
  return `${head}\nthe decisions that cost most (each for itself: the run went its own way)\n${textTable(names, rows, names)}`;
}

function regretText({ requests, otherwise, mean_ttft_ms: mean, oracle_mean_ttft_ms: guided, worst }: Regret): string {
  const head = `regret of the run: routed by the oracle ${numberText(otherwise)} of ${numberText(requests)} requests go to another worker; mean TTFT ${mean === null ? '-' : numberText(mean)} ms, by the oracle ${guided === null ? '-' : numberText(guided)} ms`;
  if (worst.length === 0) return head;
  const names = ['request', 'prompt tokens', 'worker', "oracle's", 'reused', "oracle's reused", 'TTFT ms', "oracle's TTFT", 'regret ms'];
  const rows = worst.map((one) => [one.id, one.isl, one.worker, one.oracle_worker, one.reused, one.oracle_reused, one.ttft_ms, one.oracle_ttft_ms, one.regret_ms].map(numberText));
  return `${head}\nthe requests that lost most (each also pays for the decisions before its own, as the runs part at the first)\n${textTable(names, rows, names)}`;
}

function bandTable(bands: readonly StageBand[]): string {
  const names = bands.map(({ band }) => band);
  const line = (title: string, cell: (band: StageBand) => string): string[] => [title, ...bands.map(cell), ''];
  const shown = STAGE_NAMES.filter((stage) => bands.some(({ stages }) => stages![stage] > 0));
  const rows = [
    line('requests', ({ requests }) => numberText(requests)),
    line('from … to', ({ from_ms: from, to_ms: to }) => `${numberText(from!)} … ${numberText(to!)}`),
    line('mean', ({ mean_ms: mean }) => numberText(mean!)),
    ...shown.map((stage) => [stage.replace('_', ' '), ...bands.map(({ stages, mean_ms: mean }) => stageCell(stages![stage], mean!)), STAGES[stage]]),
    line('prompt tokens', ({ mean_isl: tokens }) => numberText(tokens!)),
    line('reused', ({ mean_reused: tokens }) => numberText(tokens!)),
    line('output tokens', ({ mean_osl: tokens }) => numberText(tokens!)),
    line('preemptions', ({ mean_preemptions: times }) => numberText(times!)),
  ];
  return textTable(['', ...names, 'what'], rows, names);
}

function stageCell(ms: number, mean: number): string {
  return mean === 0 ? numberText(ms) : `${numberText(ms)} (${percentText(ms / mean)})`;
}

/** Where most of the slowest requests' time went. */
function slowestText({ band, requests, stages, mean_ms: mean }: StageBand): string {
  const top = STAGE_NAMES.reduce((a, b) => (stages![b] > stages![a] ? b : a));
  const share = mean === 0 ? 0 : stages![top] / mean!;
  return `slowest (${band}, ${requests === 1 ? '1 request' : `${numberText(requests)} requests`}): most of it ${top.replace('_', ' ')}, ${percentText(share)}`;
}
