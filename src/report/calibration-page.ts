import type { ErrorRow, Validation } from '../calibrate/validate.js';
import type { TargetRow } from '../calibrate/targets.js';
import { backendChart, parityChart, residualChart } from './calibration-charts.js';
import { number, table, text } from './data-table.js';
import { percentText } from './format.js';
import { html, pageShell, type Figure, type Markup } from './html.js';

const SQUARE = { width: 'container', height: 360 } as const;
const LOW = { width: 'container', height: 240 } as const;
const QUANTITIES = ['tpot', 'ttft'] as const;
const LEVEL_NAMES = { analytic: 'closed forms over tables', M1: 'tables alone', M2: 'numbers per backend and model, in sample', M3: 'calibrated, 5 folds held out', 'M3-zero-shot': 'calibrated, combination held out' } as const;

/** What a page of a validation says beside its result. */
export interface CalibrationHead {
  readonly title: string;
  /** Where rows and cases come from. */
  readonly data: string;
}

/** The page of a validation: one self-contained HTML file that makes no request. */
export function calibrationPage(head: CalibrationHead, validation: Validation, targets: readonly TargetRow[]): string {
  const { points } = validation;
  const figures: (Figure & { readonly title: string })[] = [
    ...(['M3', 'M3-zero-shot', 'M2', 'M1', 'analytic'] as const).flatMap((level) =>
      QUANTITIES.map((quantity) => ({ id: `parity-${level}-${quantity}`, title: `${quantity.toUpperCase()}: ${LEVEL_NAMES[level]}`, spec: parityChart(points, level, quantity, SQUARE) })),
    ),
    ...(['concurrency', 'isl'] as const).flatMap((against) =>
      QUANTITIES.map((quantity) => ({ id: `residual-${against}-${quantity}`, title: `${quantity.toUpperCase()} against ${against === 'isl' ? 'prompt length' : 'concurrency'}, 5 folds held out`, spec: residualChart(points, 'M3', quantity, against, LOW) })),
    ),
    ...QUANTITIES.map((quantity) => ({ id: `backend-${quantity}`, title: `${quantity.toUpperCase()} by backend, 5 folds held out`, spec: backendChart(points, 'M3', quantity, LOW) })),
  ];
  const drawn = (prefix: string): Markup => html`<div class="two">${figures.filter(({ id }) => id.startsWith(prefix)).map(({ id, title }) => html`<figure><figcaption>${title}</figcaption><div class="chart" id="${id}"></div></figure>`)}</div>`;
  const body = html`<header><h1>${head.title}</h1><p class="kicker">${validation.rows} distinct measurements · ${head.data}</p></header>
<section><h2>Predicted against measured</h2><p class="soft">Dashed lines are 20 % off. Point at a mark for its row.</p>${drawn('parity')}</section>
<section><h2>What is left</h2><p class="soft">Ratios beyond a factor of four are drawn at the edge.</p>${drawn('residual')}${drawn('backend')}</section>
<section><h2>Targets</h2>${targetTable(targets)}</section>
<section><h2>Errors</h2>${errorTable(validation.errors)}</section>
${validation.ablation.length === 0 ? null : html`<section><h2>What each part is worth</h2>${ablationTable(validation)}</section>`}
<section><h2>Numbers</h2>${numbersTable(validation)}</section>
${validation.refusals.length === 0 ? null : html`<section><h2>Refused</h2><ul>${validation.refusals.map(({ why, rows }) => html`<li>${rows} × ${why}</li>`)}</ul></section>`}`;
  return pageShell(`${head.title} · dynotwin`, body, figures);
}

/** A ratio as a number of percent. */
const percent = (value: number | null): number | null => (value === null ? null : Number((value * 100).toFixed(1)));

function targetTable(targets: readonly TargetRow[]): Markup {
  return table(
    [text('level'), text('rows'), text('metric'), text('measure'), text('bound'), number('found, %'), text('')],
    targets.map(({ level, name, metric, measure, sign, bound, value, met, stretch }) => [level, name, metric.toUpperCase(), measure, `${sign} ${percentText(bound)}${stretch ? ' (stretch)' : ''}`, percent(value), met ? 'met' : 'missed']),
  );
}

function errorTable(errors: readonly ErrorRow[]): Markup {
  return table(
    [text('level'), text('rows'), text('metric'), number('n'), number('covered, %'), number('MdAPE, %'), number('MAPE, %'), number('bias, %'), number('within 20 %'), number('in interval, %')],
    errors.map(({ level, name, metric, errors: e }) => [level, name, metric.toUpperCase(), e.n, percent(e.coverage), percent(e.mdape), percent(e.mape), percent(e.bias), percent(e.within20), percent(e.inInterval)]),
  );
}

function ablationTable({ ablation }: Validation): Markup {
  return table(
    [text('change'), text('backend'), number('n'), number('TPOT, %'), number('standard error'), number('TTFT, %'), number('standard error'), number('TTFT bias, %')],
    ablation.map(({ variant, backend, n, tpot, tpotSe, ttft, ttftSe, ttftBias }) => [variant, backend, n, percent(tpot), percent(tpotSe), percent(ttft), percent(ttftSe), percent(ttftBias)]),
  );
}

function numbersTable({ model }: Validation): Markup {
  const rows = [...model].flatMap(([backend, { mean, models }]) => [
    ...[...models].map(([family, { rows: n, numbers: p }]) => [backend, family, n, p.m_dec, p.m_pre, p.m_ga, p.host_ms, p.launch_us]),
    [backend, 'mean', null, mean.m_dec, mean.m_pre, mean.m_ga, mean.host_ms, mean.launch_us],
  ]);
  return table([text('backend'), text('model'), number('rows'), number('m_dec'), number('m_pre'), number('m_ga'), number('host, ms'), number('floor, ms a layer')], rows);
}
