import { changeText, counted, figureText, findingsOf, scenarioName, summaryText } from './findings.js';
import type { GateResult, MetricResult } from './result.js';
import { percentText } from '../sweep/words.js';

/** For a comment on a change: what does not hold, then what else is worth a look. A comment with the same mark may be replaced. */
export function markdown(results: readonly GateResult[]): string {
  const passed = results.every((result) => result.passed);
  const parts = ['<!-- dynotwin regress -->', `### dynotwin regress: ${passed ? 'passed' : 'failed'}`, '', `${summaryText(results)}.`];
  const broken = results.flatMap(findingsOf).filter(({ kind, fatal }) => fatal && kind !== 'metric');
  if (broken.length > 0) parts.push('', ...table(['scenario', 'check', 'expected', 'got'], broken.map(({ scenario, subject, expected, got }) => [scenario, subject, expected, got])));
  const section = (title: string, verdict: MetricResult['verdict'], open: boolean): void => {
    const rows = results.flatMap((result) => result.metrics.filter((one) => one.verdict === verdict).map((one) => metricCells(result, one)));
    if (rows.length === 0) return;
    const body = table(METRIC_HEAD, rows);
    parts.push('', ...(open ? [`**${title}**`, '', ...body] : [`<details><summary>${title}: ${counted(rows.length, 'metric')}</summary>`, '', ...body, '', '</details>']));
  };
  section('Worse than the baseline', 'worse', true);
  section('Within the noise over seeds', 'noise', false);
  section("Better than the baseline; 'dynotwin regress --update' keeps it", 'better', false);
  return `${parts.join('\n')}\n`;
}

export const METRIC_HEAD = ['scenario', 'metric', 'baseline', 'now', 'change', 'tolerance'] as const;

/** A row under `METRIC_HEAD`. */
export function metricCells(result: GateResult, one: MetricResult): string[] {
  return [scenarioName(result, one.name), one.metric, figureText(one.metric, one.baseline), figureText(one.metric, one.now), changeText(one), percentText(one.tolerance)];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)];
}

/** Text that stays one cell and plain. */
function cell(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\`*_[\]<>|&~]/g, (sign) => `\\${sign}`);
}
