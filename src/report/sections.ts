import type { Latency, Report } from '../metrics/report.js';
import { configurationName, dimensionText, metricsShown, varyingDimensions, type CandidateDocument, type RecommendationDocument, type SweepDocument } from './document.js';
import { durationText, metricLabel, metricText, numberText, percentText } from './format.js';
import { html, type Markup } from './html.js';

/** Title, what was searched, and the recommendation with its reason (or why there is none). */
export function sweepHeader(document: SweepDocument): Markup {
  const { counts, name, search } = document.sweep;
  const goals = document.objectives.map(({ direction, metric }) => `${direction} ${metricLabel(metric)}`).join(', ');
  return html`<header>
<h1>${name}</h1>
<p class="kicker">${plural(document.candidates.length, 'candidate')} simulated (${search.method} search; ${counts.product} combinations, ${counts.merged} merged, ${counts.illegal} not legal) · objectives: ${goals}</p>
${document.recommendations.length > 0 ? hero(document, document.recommendations[0]!) : nothingFeasible(document)}
</header>`;
}

function hero(document: SweepDocument, best: RecommendationDocument): Markup {
  return html`<section class="panel hero" id="recommendation">
<div class="soft">Recommended · ${best.label}</div>
<h2>${configurationName(best.candidate)}</h2>
${tiles(metricsShown(document).map((metric) => [metricLabel(metric), metricText(metric, best.candidate.metrics[metric])]))}
${why(best)}
${marginList(best.candidate)}
</section>`;
}

function nothingFeasible(document: SweepDocument): Markup {
  const misses = document.nearestMisses.map((one) => html`<div class="panel"><h3>${configurationName(one)}</h3><div class="soft"><code>${one.id}</code></div>${marginList(one)}</div>`);
  return html`<section class="panel hero" id="recommendation">
<h2 class="bad">No candidate meets every constraint</h2>
${document.bindingConstraint === null ? null : html`<p>The binding constraint is <code>${document.bindingConstraint}</code>.</p>`}
${misses.length === 0 ? null : html`<p>The nearest misses:</p><div class="cards">${misses}</div>`}
</section>`;
}

/** The other recommendations as cards; nothing when there is at most one. */
export function recommendationCards(document: SweepDocument): Markup | null {
  if (document.recommendations.length < 2) return null;
  const metrics = metricsShown(document).slice(0, 4);
  const cards = document.recommendations.slice(1).map((one, index) => html`<article class="panel">
<div class="soft">${index + 2} · ${one.label}</div>
<h3>${configurationName(one.candidate)}</h3>
${tiles(metrics.map((metric) => [metricLabel(metric), metricText(metric, one.candidate.metrics[metric])]))}
${why(one)}
${marginList(one.candidate)}
</article>`);
  return html`<section><h2>Also worth deploying</h2><div class="cards">${cards}</div></section>`;
}

function why(one: RecommendationDocument): Markup {
  const ties = one.tiedWith.length === 0 ? null : html`<p class="soft">Closer than the timing source’s stated error: ${one.tiedWith.map((id, i) => html`${i > 0 ? ', ' : ''}<code>${id}</code>`)}</p>`;
  const advice = one.advice === undefined ? null : html`<h3>Aggregated or disaggregated?</h3><ul>${one.advice.sentences.map((sentence) => html`<li>${sentence}</li>`)}</ul>`;
  return html`<ul>${one.reasons.map((reason) => html`<li>${reason}</li>`)}</ul>${advice}${ties}`;
}

function marginList(one: CandidateDocument): Markup | null {
  if (one.margins.length === 0) return null;
  return html`<ul class="margins">${one.margins.map(({ constraint, margin, met }) => html`<li><code>${constraint}</code><span class="${met ? 'good' : 'bad'}">${met ? 'met' : 'missed'}${margin === null ? ', no sample' : `, margin ${percentText(margin, true)}`}</span></li>`)}</ul>`;
}

/** Every candidate, best rank first; headers sort, a check box hides the infeasible. */
export function candidateTable(document: SweepDocument): Markup {
  const dimensions = varyingDimensions(document);
  const metrics = metricsShown(document);
  const head = [
    header('rank', true), ...dimensions.map((path) => header(path, false)), ...metrics.map((metric) => header(metricLabel(metric), true)),
    header('feasible', false), header('worst margin', true), header('why', false), header('id', false),
  ];
  const rows = [...document.candidates].sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1)).map((one) => {
    const margins = one.margins.flatMap(({ margin }) => (margin === null ? [] : [margin]));
    const worst = margins.length === 0 ? null : Math.min(...margins);
    const missed = one.margins.filter(({ met }) => !met).map(({ constraint }) => constraint).join(', ');
    return html`<tr class="${one.feasible ? 'feasible' : 'infeasible'}${one.onFront ? ' front' : ''}">
${number(one.rank, String(one.rank))}${dimensions.map((path) => html`<td>${dimensionText(one.dimensions[path])}</td>`)}${metrics.map((metric) => number(one.metrics[metric] ?? null, metricText(metric, one.metrics[metric])))}<td class="${one.feasible ? 'good' : 'bad'}">${one.feasible ? 'yes' : 'no'}</td>${number(worst, worst === null ? '–' : percentText(worst, true))}<td class="why">${one.reason !== '' ? one.reason : one.feasible ? (one.onFront ? `on the front${one.tiedWith && one.tiedWith.length > 0 ? `, tied with ${plural(one.tiedWith.length, 'other')}` : ''}` : 'dominated') : missed}</td><td><code>${one.id}</code></td></tr>`;
  });
  return html`<section><h2>Candidates</h2>
<label class="filter"><input type="checkbox" id="feasible-only"> feasible only</label>
<div class="scroll"><table class="sortable" id="candidates"><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div></section>`;
}

/** Combinations that never ran, grouped by reason. */
export function illegalList(document: SweepDocument): Markup | null {
  const reasons = [...new Set(document.sweep.illegal.map(({ reason }) => reason))];
  if (reasons.length === 0) return null;
  const items = reasons.map((reason) => ({ reason, ones: document.sweep.illegal.filter((one) => one.reason === reason) })).map(({ reason, ones }) => html`<li>${reason} <span class="soft">(${plural(ones.length, 'combination')}, such as ${configurationName({ id: '', dimensions: ones[0]!.dimensions })})</span></li>`);
  return html`<section><h2>Not legal</h2><ul>${items}</ul></section>`;
}

/** Figures of one run. */
export function runTiles(report: Report): Markup {
  const { throughput, latency, goodput, gpu, cost } = report;
  return tiles([
    ['tok/s/GPU', numberText(throughput.tok_s_per_gpu)],
    ['tok/s/user', metricText('tok_s_per_user', throughput.tok_s_per_user)],
    ['req/s', numberText(throughput.requests_s)],
    ['TTFT p50', metricText('ttft_ms.p50', latency.ttft_ms.p50)],
    ['TTFT p99', metricText('ttft_ms.p99', latency.ttft_ms.p99)],
    ['TPOT mean', metricText('tpot_ms.mean', latency.tpot_ms.mean)],
    ...(goodput ? [['goodput', percentText(goodput.ratio)] as const] : []),
    ['prefix hits', percentText(report.cache.prefix_hit_ratio)],
    ['GPUs', numberText(gpu.peak)],
    ...(cost ? [['cost', `${numberText(cost.total)} ${cost.currency}`] as const] : []),
  ]);
}

/** How every request ended, and the SLO's verdict. */
export function runOutcome(report: Report): Markup {
  const { total, ...ends } = report.requests;
  const parts = Object.entries(ends).filter(([, count]) => count > 0).map(([name, count]) => `${numberText(count)} ${name}`);
  const margins = Object.entries(report.slo?.margins ?? {}).map(([name, margin]) => html`<li><code>${name.toUpperCase()} at ${report.slo!.at}</code><span class="${margin !== null && margin < 0 ? 'bad' : 'good'}">${margin === null ? 'no sample' : `margin ${percentText(margin, true)}`}</span></li>`);
  return html`<p>${plural(total, 'request')} over ${durationText(report.duration_ms)} of virtual time: ${parts.length === 0 ? 'none ended' : parts.join(', ')}. Busiest pool ${percentText(report.load.ratio)}${report.load.kv_peak_ratio === null ? '' : `, KV peak ${percentText(report.load.kv_peak_ratio)}`}${report.load.preemptions === null ? '' : `, ${plural(report.load.preemptions, 'preemption')}`}.</p>
${report.slo ? html`<p>The SLO is <strong class="${report.slo.met ? 'good' : 'bad'}">${report.slo.met ? 'met' : 'missed'}</strong>.</p><ul class="margins">${margins}</ul>` : null}`;
}

/** Every latency of one run, one row each. */
export function latencyTable(report: Report): Markup {
  const columns = ['mean', 'p50', 'p75', 'p90', 'p95', 'p99', 'max'] as const satisfies readonly (keyof Latency)[];
  const rows = Object.entries(report.latency).map(([name, values]) => html`<tr><td>${name === 'queue_ms' ? 'queue' : name.replace('_ms', '').toUpperCase()}</td>${columns.map((column) => number(values[column], metricText('_ms', values[column])))}${number(values.count, numberText(values.count))}</tr>`);
  return html`<div class="scroll"><table><thead><tr><th>latency</th>${columns.map((column) => html`<th class="number">${column}</th>`)}<th class="number">samples</th></tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** Pools of one run. */
export function poolTable(report: Report): Markup {
  const rows = report.pools.map((pool) => html`<tr><td>${pool.name}</td><td>${pool.role}</td><td>${pool.shape}</td><td class="number">${pool.replicas.start === pool.replicas.end && pool.replicas.min === pool.replicas.max ? String(pool.replicas.end) : `${pool.replicas.min}–${pool.replicas.max}`}</td><td class="number">${pool.gpus_per_worker}</td><td class="number">${numberText(pool.kv_blocks)}</td><td class="number">${percentText(pool.busy_ratio)}</td><td class="number">${percentText(pool.saturation ?? pool.busy_ratio)}</td></tr>`);
  return html`<section><h2>Pools</h2><div class="scroll"><table><thead><tr><th>pool</th><th>role</th><th>shape</th><th class="number">workers</th><th class="number">GPUs each</th><th class="number">KV blocks each</th><th class="number">busy</th><th class="number">saturation</th></tr></thead><tbody>${rows}</tbody></table></div></section>`;
}

/** Where pass times came from and how wrong they may be; then every warning. */
export function provenance(report: Report): Markup {
  const error = (value: number | null): string => (value === null ? 'unknown' : `${numberText(value)} %`);
  const sources = report.timing.map((one) => html`<li><strong>${one.pool}</strong>: ${one.source}, ${one.calibration}; stated error TTFT ${error(one.error_pct.ttft)}, TPOT ${error(one.error_pct.tpot)}${one.extrapolated_passes !== null && one.extrapolated_passes > 0 ? `; ${plural(one.extrapolated_passes, 'pass', 'passes')} outside the calibrated range` : ''}</li>`);
  const warnings = report.warnings.map((one) => html`<li><code>${one.code}</code> ${one.path ? html`<code>${one.path}</code>: ` : null}${one.message}</li>`);
  return html`<section><h2>How far to trust this</h2><ul id="timing">${sources}<li>fidelity <strong>${report.scenario.fidelity}</strong>, seed ${report.scenario.seed}</li></ul>
${warnings.length === 0 ? html`<p class="soft">No warnings.</p>` : html`<h3>Warnings</h3><ul id="warnings">${warnings}</ul>`}</section>`;
}

function tiles(pairs: readonly (readonly [string, string])[]): Markup {
  return html`<dl class="tiles">${pairs.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function header(label: string, numeric: boolean): Markup {
  return html`<th${numeric ? html` class="number"` : null}><button>${label}</button></th>`;
}

function number(value: number | null, text: string): Markup {
  return html`<td class="number" data-value="${value === null ? '' : String(value)}">${text}</td>`;
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${numberText(count)} ${count === 1 ? one : many}`;
}
