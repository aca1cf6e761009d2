import type { Report } from '../metrics/report.js';
import type { RunSeries } from '../sweep/result.js';
import { distributionChart, loadChart, paretoChart, tokenChart } from './charts.js';
import { channelDimensions, configurationName, constraintBounds, frontierPairs, plottable, reportBounds, sweepDocument, type Bound, type SweepDocument, type SweepInput } from './document.js';
import { metricLabel } from './format.js';
import { html, pageShell, type Figure, type Markup } from './html.js';
import { candidateTable, illegalList, latencyTable, poolTable, provenance, recommendationCards, runOutcome, runTiles, sweepHeader } from './sections.js';

/** Part of a page with the charts it holds. */
interface Block {
  readonly markup: Markup;
  readonly figures: readonly Figure[];
}

const WIDE = { width: 'container', height: 430 } as const;
const HALF = { width: 'container', height: 270 } as const;

/**
 * The page of a sweep: one self-contained HTML file that makes no request. Recommendation and why,
 * frontier, the winner's distributions and load (`winner` null = none), candidates, warnings.
 */
export async function sweepPage(result: SweepInput, winner: { readonly report: Report; readonly series: RunSeries } | null): Promise<string> {
  const document = sweepDocument(result);
  const frontier = frontierBlock(document);
  const best = document.recommendations[0];
  const charts = winner === null ? null : runCharts(winner.report, winner.series, constraintBounds(document));
  const body = html`${sweepHeader(document)}
${frontier.markup}
${recommendationCards(document)}
${winner === null || charts === null ? null : html`<section><h2>The winner under load</h2>
${best === undefined ? null : html`<p class="soft">${configurationName(best.candidate)}</p>`}
${charts.markup}${latencyTable(winner.report)}${runOutcome(winner.report)}</section>`}
${candidateTable(document)}
${illegalList(document)}
${winner === null ? null : provenance(winner.report)}`;
  return pageShell(`${document.sweep.name} · dynotwin`, body, [...frontier.figures, ...(charts?.figures ?? [])]);
}

/** The page of one run, in the same form. */
export async function runPage(report: Report, series: RunSeries): Promise<string> {
  const charts = runCharts(report, series, []);
  const body = html`<header><h1>${report.scenario.name}</h1><p class="kicker">${report.scenario.estimator === undefined ? 'one simulation' : 'one estimate by closed forms'} · scenario <code>${report.scenario.sha256.slice(0, 12)}</code></p>
<section class="panel hero">${runTiles(report)}${runOutcome(report)}</section></header>
<section><h2>Latency and load</h2>${charts.markup}${latencyTable(report)}</section>
${poolTable(report)}
${provenance(report)}`;
  return pageShell(`${report.scenario.name} · dynotwin`, body, charts.figures);
}

function frontierBlock(document: SweepDocument): Block {
  const pairs = frontierPairs(document.objectives).filter(({ x, y }) => plottable(document.candidates, x, y).length > 0);
  if (pairs.length === 0) return { markup: html`<section><h2>Frontier</h2><p class="soft">No candidate has both metrics: there is nothing to draw.</p></section>`, figures: [] };
  const figures = pairs.map(({ x, y }, i) => ({ id: `frontier-${i}`, spec: paretoChart(document, x, y, WIDE) }));
  const { colour, shape } = channelDimensions(document);
  const channels = [colour === null ? '' : `colour: ${colour}`, shape === null ? '' : `shape: ${shape === 'router.policy' ? 'router policy' : shape}`].filter((one) => one !== '').join('; ');
  return {
    markup: html`<section><h2>Frontier</h2>
<p class="soft">Each mark is one simulated deployment${channels === '' ? '' : ` (${channels})`}; the dashed line joins those no other beats, rings number the recommended, faded ones miss a constraint. Point at a mark for its configuration.</p>
${figures.map(({ id }, i) => figure(id, `${metricLabel(pairs[i]!.y)} against ${metricLabel(pairs[i]!.x)}`))}</section>`,
    figures,
  };
}

function runCharts(report: Report, series: RunSeries, extra: readonly Bound[]): Block {
  const bounds = [...new Map([...reportBounds(report), ...extra].map((bound) => [JSON.stringify(bound), bound])).values()];
  const on = (metric: string): Bound[] => bounds.filter((bound) => bound.metric.startsWith(`${metric}.`));
  const charts = [
    ...(series.ttftMs.length > 0 ? [{ id: 'ttft', title: 'Time to first token (TTFT)', spec: distributionChart('TTFT', series.ttftMs, on('ttft_ms'), HALF) }] : []),
    ...(series.tpotMs.length > 0 ? [{ id: 'tpot', title: 'Time per output token (TPOT, mean ITL of a request)', spec: distributionChart('TPOT', series.tpotMs, on('tpot_ms'), HALF) }] : []),
    ...(series.timeline && series.timeline.arrivals.length > 0
      ? [{ id: 'load', title: 'Load over time', spec: loadChart(series.timeline, HALF) }, { id: 'tokens', title: 'Output over time', spec: tokenChart(series.timeline, HALF) }]
      : []),
  ];
  const missing = charts.length === 0 ? html`<p class="soft">No request samples or timeline were kept with this run.</p>` : null;
  return { markup: html`${missing}<div class="two">${charts.map(({ id, title }) => figure(id, title))}</div>`, figures: charts };
}

function figure(id: string, title: string): Markup {
  return html`<figure><figcaption>${title}</figcaption><div class="chart" id="${id}"></div></figure>`;
}
