import type { Timeline } from '../metrics/observations.js';
import { channelDimensions, configurationName, dimensionText, frontierAxes, metricsShown, plottable, sweepDocument, type Bound, type CandidateDocument, type SweepDocument, type SweepInput } from './document.js';
import { axisLabel, durationText, metricLabel, metricText, numberText, percentText } from './format.js';
import { coarser, distribution } from './samples.js';

/** Size in characters; `colour` adds ANSI colours. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
  readonly colour: boolean;
}

const GLYPHS = ['●', '○', '■', '□', '▲', '△', '◆', '◇'];
const ANSI = [34, 33, 32, 35, 31, 36, 94, 93];
const BARS = '▁▂▃▄▅▆▇█';
const TICK_WIDTH = 8;

interface Mark {
  readonly one: CandidateDocument;
  readonly column: number;
  readonly row: number;
  /** What wins where marks meet: recommended, front, feasible, others. */
  readonly weight: number;
}

/**
 * The frontier as a scatter plot of `width` × `height` characters, legend included below: one glyph
 * per (colour, shape) series, digits on the recommended ones, dots for the infeasible.
 */
export function paretoPlot(result: SweepInput, { width, height, colour }: TerminalSize): string {
  const document = sweepDocument(result);
  const { x, y } = frontierAxes(document.objectives);
  const candidates = plottable(document.candidates, x, y);
  if (candidates.length === 0) return `No candidate has both ${metricLabel(x)} and ${metricLabel(y)}: nothing to plot.`;
  const columns = Math.max(16, width - TICK_WIDTH - 2);
  const rows = Math.max(6, height - 4);
  const across = scale(candidates.map((one) => one.metrics[x]!), columns);
  const up = scale(candidates.map((one) => one.metrics[y]!), rows);
  const place = new Map(document.recommendations.map((one, index) => [one.candidate.id, index + 1]));
  const marks: Mark[] = candidates.map((one) => ({
    one, column: across.at(one.metrics[x]!), row: rows - 1 - up.at(one.metrics[y]!),
    weight: (place.has(one.id) ? 100 - place.get(one.id)! : 0) + (one.onFront ? 2 : 0) + (one.feasible ? 1 : 0),
  }));
  const series = seriesOf(document);
  const grid = Array.from({ length: rows }, () => new Array<string>(columns).fill(' '));
  for (const { one, column, row } of marks.sort((a, b) => a.weight - b.weight)) {
    const rank = place.get(one.id);
    const index = series.names.indexOf(series.of(one));
    const glyph = rank !== undefined && rank <= 9 ? String(rank) : one.feasible ? glyphOf(index) : '·';
    grid[row]![column] = paint(glyph, one.feasible ? ANSI[index % ANSI.length]! : 90, colour);
  }
  const body = grid.map((cells, row) => {
    const tick = row % 4 === 0 || row === rows - 1 ? numberText(up.value(rows - 1 - row)) : '';
    return `${tick.padStart(TICK_WIDTH)} ${tick === '' ? '│' : '┤'}${cells.join('').trimEnd()}`;
  });
  return [` ${axisLabel(y)}`, ...body, ...xAxis(columns, across.value, axisLabel(x)), ...legend(document, series.names, colour, width)].join('\n');
}

function seriesOf(document: SweepDocument): { names: string[]; of(one: CandidateDocument): string } {
  const { colour, shape } = channelDimensions(document);
  const paths = [colour, shape].filter((path) => path !== null);
  const of = (one: CandidateDocument): string => printable(paths.map((path) => dimensionText(one.dimensions[path])).join(' '));
  return { names: [...new Set(document.candidates.map(of))].sort(), of };
}

function legend(document: SweepDocument, names: readonly string[], colour: boolean, width: number): string[] {
  const entries = names.flatMap((name, i) => (name === '' ? [] : [{ text: `${glyphOf(i)} ${name}`, code: ANSI[i % ANSI.length]! }]));
  if (document.recommendations.length > 0) entries.push({ text: `1-${Math.min(9, document.recommendations.length)} recommended`, code: 0 });
  if (document.candidates.some((one) => !one.feasible)) entries.push({ text: '· infeasible', code: 90 });
  const lines: string[] = [];
  let used = Infinity;
  for (const { text, code } of entries) {
    const fits = used + text.length + 3 <= width;
    if (fits) lines[lines.length - 1] += `   ${paint(text, code, colour)}`;
    else lines.push(` ${paint(text, code, colour)}`);
    used = fits ? used + text.length + 3 : text.length + 1;
  }
  return lines;
}

function glyphOf(index: number): string {
  return GLYPHS[index] ?? String.fromCharCode(97 + ((index - GLYPHS.length) % 26));
}

function xAxis(columns: number, value: (cell: number) => number, title: string): string[] {
  const step = Math.max(10, Math.floor((columns - 1) / 4));
  const line = Array.from({ length: columns }, (_, i) => (i % step === 0 ? '┬' : '─')).join('');
  let ticks = ' '.repeat(TICK_WIDTH + 2);
  for (let cell = 0; cell < columns; cell += step) ticks = `${ticks.padEnd(TICK_WIDTH + 2 + cell)}${numberText(value(cell))} `;
  return [`${' '.repeat(TICK_WIDTH + 1)}└${line}`, `${ticks.trimEnd()}  ${title}`];
}

/** Linear map of values onto cells 0 … count-1 and back. */
function scale(values: readonly number[], count: number): { at(value: number): number; value(cell: number): number } {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const span = high - low || Math.abs(high) || 1;
  return { at: (value) => Math.round(((value - low) / span) * (count - 1)), value: (cell) => low + (cell / (count - 1)) * span };
}

/** The front as a text table, best first objective first; recommended ones carry their number. */
export function frontTable(result: SweepInput): string {
  const document = sweepDocument(result);
  if (document.front.length === 0) return nothingFeasible(document);
  const metrics = metricsShown(document).slice(0, 6);
  const place = new Map(document.recommendations.map((one, index) => [one.candidate.id, `${index + 1} ${one.label}`]));
  const rows = document.front.map((one) => [one.id, printable(configurationName(one)), ...metrics.map((metric) => metricText(metric, one.metrics[metric])), printable(place.get(one.id) ?? '')]);
  const table = textTable(['id', 'configuration', ...metrics.map(metricLabel), 'recommended'], rows, new Set(metrics.map((_, i) => i + 2)));
  const ties = document.front.filter(({ tiedWith }) => tiedWith && tiedWith.length > 0).map(({ id, tiedWith }) => `  ${id} with ${tiedWith!.slice(0, 3).join(', ')}${tiedWith!.length > 3 ? ` and ${tiedWith!.length - 3} more` : ''}`);
  return ties.length === 0 ? table : `${table}\nTied within the timing error:\n${ties.slice(0, 10).join('\n')}${ties.length > 10 ? `\n  and ${ties.length - 10} more of the front` : ''}`;
}

function nothingFeasible(document: SweepDocument): string {
  const misses = document.nearestMisses.map((one) => `  ${one.id}  ${printable(configurationName(one))}: ${one.margins.filter(({ met }) => !met).map(({ constraint, margin }) => `${printable(constraint)} (${margin === null ? 'no sample' : percentText(margin, true)})`).join(', ')}`);
  const binding = document.bindingConstraint === null ? '' : ` (binding: ${printable(document.bindingConstraint)})`;
  return [`No candidate meets every constraint${binding}.`, ...(misses.length > 0 ? ['Nearest misses:', ...misses] : [])].join('\n');
}

function textTable(head: readonly string[], rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string => cells.map((cell, i) => (right.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join('  ').trimEnd();
  return [line(head), ...rows.map(line)].join('\n');
}

/** Histogram of samples (ms) as horizontal bars, one line per bin, with the share at or below each; bounds are named after it. */
export function distributionPlot(title: string, samplesMs: readonly number[], bounds: readonly Bound[], { width, height, colour }: TerminalSize): string {
  if (samplesMs.length === 0) return `${title}: no samples.`;
  const { bins } = distribution(samplesMs, Math.max(4, height - 2));
  const most = Math.max(...bins.map(({ count }) => count));
  const labels = bins.map(({ from, to }) => `${durationText(from)} – ${durationText(to)}`);
  const labelWidth = Math.max(...labels.map((label) => label.length));
  const room = Math.max(8, width - labelWidth - 20);
  let below = 0;
  const lines = bins.map(({ count }, i) => {
    below += count;
    const bar = '█'.repeat(Math.round((count / most) * room)) || (count > 0 ? '▏' : '');
    return `${labels[i]!.padStart(labelWidth)} │${paint(bar, 34, colour)} ${count} (${percentText(below / samplesMs.length)})`;
  });
  const notes = bounds.map(({ metric, op, value }) => `bound: ${metricLabel(metric)} ${op} ${metricText(metric, value)}`);
  return [`${title}, ${numberText(samplesMs.length)} requests: count (share at or below)`, ...lines, ...notes].join('\n');
}

/** Load over virtual time as one sparkline per series, each on its own scale. */
export function timelinePlot(timeline: Timeline, { width, colour }: TerminalSize): string {
  if (timeline.arrivals.length === 0) return 'The timeline is empty.';
  const merged = coarser(timeline, Math.max(10, width - 36));
  const series = [['arrivals', merged.arrivals], ['first tokens', merged.firstTokens], ['finished', merged.ends], ['output tokens', merged.outputTokens], ['in system', merged.inSystem]] as const;
  const lines = series.map(([name, values], i) => {
    const most = values.reduce((a, b) => Math.max(a, b), 0);
    const spark = values.map((value) => (value <= 0 ? ' ' : BARS[Math.min(7, Math.floor((value / most) * 8))])).join('');
    return `${name.padStart(13)} │${paint(spark, ANSI[i]!, colour)}│ max ${numberText(most)}`;
  });
  const end = durationText(merged.intervalMs * merged.arrivals.length);
  return [`Load over ${end} of virtual time, ${durationText(merged.intervalMs)} per column`, ...lines].join('\n');
}

/** `[█████·····] 12/40  30 %  12 s, 28 s left`: one line of at most `width` characters. */
export function progressLine(done: number, total: number, elapsedMs: number, width: number): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const left = done > 0 && done < total ? `, ${wholeDuration((elapsedMs / done) * (total - done))} left` : '';
  const text = ` ${done}/${total}  ${Math.floor(share * 100)} %  ${wholeDuration(elapsedMs)}${left}`;
  const room = Math.min(40, width - text.length - 2);
  if (room < 4) return text.trimStart().slice(0, Math.max(0, width));
  const filled = Math.floor(share * room);
  return `[${'█'.repeat(filled)}${'·'.repeat(room - filled)}]${text}`;
}

function wholeDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function paint(text: string, code: number, colour: boolean): string {
  return colour && code !== 0 && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text;
}

/** Names without control characters, so that data cannot drive the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
