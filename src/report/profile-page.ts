import { FAMILIES, INFORMATIVE, type Family } from '../calibrate/gpu/fit-points.js';
import { THRESHOLDS } from '../calibrate/gpu/acceptance.js';
import type { ProfileOnData } from '../calibrate/gpu/profile-data.js';
import { reducesText, type MeasuredProfile } from '../timing/measured/profile-schema.js';
import { number, table, text } from './data-table.js';
import { html, pageShell, type Figure, type Markup } from './html.js';
import { AGAINST, clockChart, coverageChart, judgedOf, mixedChart, parityChart, residualChart, shapeText } from './profile-charts.js';

const SQUARE = { width: 'container', height: 360 } as const;
const LOW = { width: 'container', height: 260 } as const;
const PASSES: readonly Family[] = ['decode', 'prefill', 'mixed'];
const NAMES: Readonly<Record<Family, string>> = {
  gemm: 'matrix products', attention: 'attention', decode: 'decode passes', prefill: 'prefill passes', mixed: 'mixed passes', copies: 'copies', memory: 'memory-bound operators', logits: 'logits', moe: 'experts', wall: 'whole passes, host included',
};

/** The page of a measured profile: one self-contained HTML file that makes no request. */
export function profilePage(opened: ProfileOnData): string {
  const { profile, points } = opened;
  const figures: (Figure & { readonly title: string })[] = [
    ...[...FAMILIES, ...INFORMATIVE].flatMap((family) => {
      const own = judgedOf(points, [family]);
      return own.length === 0 ? [] : [{ id: `parity-${family}`, title: NAMES[family], spec: parityChart(own, SQUARE) }];
    }),
    ...(Object.keys(AGAINST) as (keyof typeof AGAINST)[]).map((against) => ({ id: `residual-${against}`, title: `passes against ${AGAINST[against]}`, spec: residualChart(judgedOf(points, PASSES), against, LOW) })),
    { id: 'coverage', title: 'decode steps measured', spec: coverageChart(judgedOf(points, PASSES), profile.domain, SQUARE) },
    { id: 'mixed', title: 'prompts and decode steps in one pass', spec: mixedChart(opened, SQUARE) },
    { id: 'clocks', title: 'clock while measuring', spec: clockChart(points, LOW) },
  ];
  const drawn = (prefix: string): Markup => html`<div class="two">${figures.filter(({ id }) => id.startsWith(prefix)).map(({ id, title }) => html`<figure><figcaption>${title}</figcaption><div class="chart" id="${id}"></div></figure>`)}</div>`;
  const { accepted, reasons, warnings, provenance } = profile;
  const clocks = points.some(({ measured }) => measured.record.clock_mhz !== null);
  const body = html`<header><h1>${profile.name}</h1><p class="kicker">${accepted ? 'accepted' : 'not accepted'} · ${provenance.gpu} · ${points.length} points${provenance.kind === 'fake' ? ' · synthetic: no GPU was measured' : ''}</p></header>
${reasons.length === 0 ? null : html`<section><h2>Why it is not accepted</h2><ul>${reasons.map((reason) => html`<li>${reason}</li>`)}</ul></section>`}
<section><h2>Errors</h2><p class="soft">Percent of the measured time. Limits are of held-out points.</p>${errorTable(profile)}</section>
<section><h2>Predicted against measured</h2><p class="soft">Dashed lines are 10 % off. Point at a mark for its shape.</p>${drawn('parity')}</section>
<section><h2>What is left of passes</h2><p class="soft">Ratios beyond a factor of 1.5 are drawn at the edge.</p>${drawn('residual')}</section>
<section><h2>What was measured</h2><p class="soft">Shaded: the domain; lighter, up to twice its ends, where runs count passes as extrapolated. Beyond they refuse.</p>${drawn('coverage')}</section>
<section><h2>Mixed passes</h2><p class="soft">Two passes in turn read the weights twice.</p>${drawn('mixed')}</section>
<section><h2>Coefficients</h2>${coefficientTable(profile)}</section>
<section><h2>Clocks</h2>${clocks ? drawn('clocks') : html`<p>Not read: clocks ${provenance.clocks}.</p>`}</section>
<section><h2>Rejected</h2>${rejectedTable(opened)}</section>
${warnings.length === 0 ? null : html`<section><h2>Notes</h2><ul>${warnings.map((warning) => html`<li>${warning}</li>`)}</ul></section>`}
<section><h2>Provenance</h2>${provenanceTable(profile)}</section>`;
  return pageShell(`${profile.name} · dynotwin`, body, figures.filter(({ id }) => id !== 'clocks' || clocks));
}

function errorTable({ identity, errors }: MeasuredProfile): Markup {
  const sets = { fit: 'fitted', cv: 'left out in folds', holdout: 'held out' } as const;
  const rows = [...FAMILIES, ...INFORMATIVE].flatMap((family) =>
    (Object.keys(sets) as (keyof typeof sets)[]).flatMap((set) => {
      const found = errors[set][family];
      const limits = set === 'holdout' ? (THRESHOLDS as Readonly<Record<string, (typeof THRESHOLDS)['gemm']>>)[family] : undefined;
      return found === undefined ? [] : [[identity.model, identity.hardware, NAMES[family], sets[set], found.n, found.median, found.p90, found.signed, limits === undefined ? null : `${limits.median} / ${limits.p90} / ±${limits.signed}`]];
    }),
  );
  return table([text('model'), text('GPU'), text('family'), text('points'), number('n'), number('median, %'), number('p90, %'), number('bias, %'), text('limits')], rows);
}

function coefficientTable({ forms, structure, host, links }: MeasuredProfile): Markup {
  const cells = (part: string, name: string, value: number, interval: readonly [number, number] | null): (string | number | null)[] => [part, name, value, interval?.[0] ?? null, interval?.[1] ?? null];
  const rows = [
    ...[...Object.entries(forms.gemm).map(([type, form]) => [`matrix products ${type}, form ${form.form}`, form] as const), ['prompt attention, form C', forms.ctx] as const, ['decode attention, form G', forms.gen] as const].flatMap(([part, { p, intervals }]) =>
      p.map((value, i) => cells(part, `p${i}`, value, intervals[i]!)),
    ),
    ...(['norm', 'act', 'rope_kv', 'embed', 'sample'] as const).flatMap((kind) => [cells(kind, 'a, µs', forms[kind].a_us, null), cells(kind, 'e', forms[kind].e, null)]),
    ...Object.entries(structure).map(([name, { value, interval }]) => cells('passes', name, value, interval)),
    ...Object.entries(host).flatMap(([name, one]) => (typeof one === 'string' ? [] : [cells('host', name, one.value, one.interval)])),
    ...links.flatMap(({ name, gb_per_s, alpha_us }) => [cells(`link ${name}`, 'GB/s', gb_per_s, null), cells(`link ${name}`, 'latency, µs', alpha_us, null)]),
  ];
  return table([text('part'), text('coefficient'), number('value'), number('5 %'), number('95 %')], rows);
}

function rejectedTable({ rejected }: ProfileOnData): Markup {
  if (rejected.length === 0) return html`<p>None.</p>`;
  return table([text('point'), text('kind'), text('shape'), text('why')], rejected.map(({ measured: { record }, why }) => [record.pid, record.kind, record.point === undefined ? null : shapeText(record.point), why]));
}

function provenanceTable(profile: MeasuredProfile): Markup {
  const { identity, provenance, comm, domain, host } = profile;
  const rows = [
    ...Object.entries(provenance).map(([name, value]) => [name, value]),
    ['engine', `${identity.engine.name} ${identity.engine.version}`],
    ['precision', `${identity.dtype.weights} weights, ${identity.dtype.kv} cache`],
    ['tensor parallelism', String(identity.tp)],
    ['geometry', identity.geometry_hash],
    ['graphs', identity.graphs.length === 0 ? 'none' : `${identity.graphs.length}, up to ${identity.graphs.at(-1)}`],
    ['all-reduce', comm === null ? 'none' : reducesText(comm.source, profile)],
    ['host time', host.source],
    ...Object.entries(domain).map(([name, [low, high]]) => [name, `${Math.round(low)} to ${Math.round(high)}`]),
  ];
  return table([text('what'), text('value')], rows);
}
