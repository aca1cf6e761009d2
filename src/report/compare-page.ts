import type { Difference } from '../sweep/compare.js';
import type { Configuration, PairedComparison } from '../sweep/paired.js';
import { CONTESTED, DIMENSIONS, pairedDifferences, type RunPair } from '../sweep/who-wins.js';
import { differenceChart, intervalChart, latencyName, winChart, winMapChart } from './compare-charts.js';
import { number, table, text } from './data-table.js';
import { metricLabel, numberText } from './format.js';
import { html, pageShell, type Figure, type Markup } from './html.js';

const HALF = { width: 'container', height: 270 } as const;
const TALL = { width: 'container', height: 380 } as const;

/** What a page of a comparison shows. */
export interface ComparisonInput {
  /** In their order, the first first. */
  readonly names: readonly string[];
  readonly differences: readonly Difference[];
  readonly paired: readonly PairedComparison[];
  readonly unpaired: readonly { readonly run: string; readonly why: string }[];
  /** Requests of those that are paired; null where the first has none. */
  readonly base: Configuration | null;
  readonly others: readonly Configuration[];
}

type TitledFigure = Figure & { readonly title: string };

/** The page of a comparison: one self-contained HTML file that makes no request. */
export function comparisonPage({ names, differences, paired, unpaired, base, others }: ComparisonInput): string {
  const [first, ...rest] = names;
  const parts = paired.map((one, index) => {
    const other = others.find(({ name }) => name === one.run)!;
    const pairs = base!.runs.map(({ samples }, i) => ({ first: samples, other: other.runs[i]!.samples }));
    return pairedPart(`${index}`, first!, one, pairs, differences.filter(({ run }) => run === one.run));
  });
  const title = `${rest.join(', ')} against ${first!}`;
  const body = html`<header><h1>${title}</h1><p class="kicker">a comparison of ${names.length} ${names.length === 2 ? 'configurations' : 'configurations with the first'}; differences are to <code>${first!}</code>, below 0 = less than it</p></header>
${unpaired.length === 0 ? null : html`<section class="panel"><ul>${unpaired.map(({ run, why }) => html`<li>${run} is compared as a whole: ${why}</li>`)}</ul></section>`}
${parts.map(({ markup }) => markup)}
<section><h2>Every metric</h2>${metricTable(first!, rest, differences)}</section>`;
  return pageShell(`${title} · dynotwin`, body, parts.flatMap(({ figures }) => figures));
}

function pairedPart(id: string, first: string, paired: PairedComparison, pairs: readonly RunPair[], differences: readonly Difference[]): { readonly markup: Markup; readonly figures: readonly TitledFigure[] } {
  const intervals = intervalChart(paired.intervals, differences, TALL);
  const shares = CONTESTED.flatMap((metric) => {
    const values = pairedDifferences(pairs, metric);
    return values.length === 0 ? [] : [{ id: `differences-${metric}-${id}`, title: `${latencyName(metric)} of each request: ${paired.run} − ${first}`, spec: differenceChart(metric, values, HALF) }];
  });
  const maps = CONTESTED.flatMap((metric) => {
    const cells = paired.map.filter((cell) => cell.metric === metric);
    return cells.length === 0 ? [] : [{ id: `map-${metric}-${id}`, title: `${latencyName(metric)}: share of requests for which ${paired.run} is faster`, spec: winMapChart(cells, HALF) }];
  });
  const wins = paired.where.length === 0 ? [] : [{ id: `wins-${id}`, title: `Share of requests for which ${paired.run} is faster`, spec: winChart(paired.where, TALL) }];
  const overview = intervals === null ? [] : [{ id: `intervals-${id}`, title: 'Differences with 95 % intervals', spec: intervals }];
  const drawn = (figures: readonly TitledFigure[]): Markup => html`<div class="two">${figures.map(({ id: place, title }) => html`<figure><figcaption>${title}</figcaption><div class="chart" id="${place}"></div></figure>`)}</div>`;
  const { requests, clusters, draws, repeats } = paired;
  return {
    markup: html`<section><h2>${paired.run} against ${first}</h2>
<p class="soft">${numberText(requests)} requests in ${numberText(clusters)} ${clusters === requests ? 'sessions of one' : 'sessions'}${repeats === 1 ? '' : `, ${repeats} repeats`}; intervals from ${numberText(draws)} bootstrap draws of whole sessions, alike on both sides. Point at a mark for its numbers.</p>
${drawn([...overview, ...wins])}${drawn(shares)}${drawn(maps)}
${paired.where.length === 0 ? null : whereTable(paired)}</section>`,
    figures: [...overview, ...wins, ...shares, ...maps],
  };
}

function whereTable({ where }: PairedComparison): Markup {
  return table(
    [text('requests by'), text('bucket'), text('latency'), number('requests'), number('faster'), number('slower'), number('equal'), number('mean difference, ms'), number('from'), number('to')],
    where.map(({ dimension, bucket, metric, pairs, faster, slower, equal, mean_difference: mean, low, high }) => [DIMENSIONS[dimension], bucket, latencyName(metric), pairs, faster, slower, equal, mean, low, high]),
  );
}

/** One column per run beside the first. */
function metricTable(first: string, others: readonly string[], differences: readonly Difference[]): Markup {
  const metrics = [...new Set(differences.map(({ metric }) => metric))];
  const find = (run: string, metric: string): Difference | undefined => differences.find((one) => one.run === run && one.metric === metric);
  return table(
    [text('metric'), number(first), ...others.flatMap((run) => [number(run), number('difference, %'), text('beyond timing error')])],
    metrics.flatMap((metric) => {
      const cells = others.map((run) => find(run, metric));
      if (cells.every((cell) => cell === undefined || (cell.first === null && cell.value === null))) return [];
      return [[metricLabel(metric), cells.find((cell) => cell !== undefined)!.first, ...cells.flatMap((cell) => [cell?.value ?? null, cell?.percent ?? null, cell == null || cell.exceeds_error === null ? 'cannot tell' : cell.exceeds_error ? 'yes' : 'no'])]];
    }),
  );
}
