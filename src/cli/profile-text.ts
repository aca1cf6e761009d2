import { FAMILIES, INFORMATIVE } from '../calibrate/gpu/fit-points.js';
import { THRESHOLDS } from '../calibrate/gpu/acceptance.js';
import { HOST_IN_PASSES, reducesText, type FamilyErrors, type MeasuredProfile } from '../timing/measured/profile-schema.js';
import { textTable } from './text-table.js';

/** Measured profiles in words and tables. */

type Errors = Readonly<Record<string, FamilyErrors>>;

/** Columns of a table of errors. */
const MEASURES = ['median', 'p90', 'signed'] as const;
const TITLES = { median: 'median', p90: 'p90', signed: 'bias' } as const;

/** What every use of a profile says: what it is, how far off, what was measured and what not. */
export function profileSummary(profile: MeasuredProfile): string {
  const { name, identity, provenance, accepted, errors, links, comm, host } = profile;
  const families = ['decode', 'prefill', 'mixed'].flatMap((family) => {
    const found = errors.holdout[family];
    return found === undefined ? [] : [`${family} ${percent(found.median)} % (p90 ${percent(found.p90)}, bias ${signed(found.signed)})`];
  });
  const measured = provenance.kind === 'fake' ? 'nothing (synthetic)' : ['compute', ...(links.length === 0 ? [] : ['copies'])].join(', ');
  const engine = `${identity.engine.name} ${identity.engine.version}`;
  const hostText = host.source === 'none' ? 'none (optimistic)' : host.source === 'in passes' ? HOST_IN_PASSES : engine;
  return [
    `profile   ${name} (${engine}, ${provenance.date.slice(0, 10)}, data ${provenance.data_sha256.slice(0, 4)}…)  ${accepted ? 'accepted' : 'not accepted'}`,
    `held-out: ${families.length === 0 ? 'unknown' : families.join('  ')}`,
    `measured: ${measured}   modelled: ${comm === null ? 'nothing' : reducesText(comm.source, profile)}   host: ${hostText}   clocks ${provenance.clocks}`,
  ].join('\n');
}

/** Everything a profile says. */
export function profileText(profile: MeasuredProfile): string {
  const { fit, cv, holdout } = profile.errors;
  return [profileSummary(profile), coefficientTable(profile), errorTable({ fit, cv, 'held-out': holdout }, ['held-out']), ...warningList(profile.warnings), verdict(profile.reasons)].join('\n\n');
}

/** Coefficients with their intervals. */
function coefficientTable({ forms, structure, host, links }: MeasuredProfile): string {
  const rows: string[][] = [];
  const add = (part: string, name: string, value: number, interval: readonly [number, number] | null | undefined): void => {
    rows.push([part, name, digits(value), interval === undefined ? '' : interval === null ? 'not identified' : `${digits(interval[0])} to ${digits(interval[1])}`]);
  };
  const products = Object.entries(forms.gemm).map(([type, form]) => [`gemm ${type}`, form] as const);
  for (const [name, form] of [...products, ['ctx', forms.ctx] as const, ['gen', forms.gen] as const]) form.p.forEach((value, i) => add(`${name} (${form.form})`, `p${i}`, value, form.intervals[i]));
  for (const name of ['norm', 'act', 'rope_kv', 'embed', 'sample'] as const) {
    add(name, 'a_us', forms[name].a_us, undefined);
    add(name, 'e', forms[name].e, undefined);
  }
  for (const [name, { value, interval }] of Object.entries(structure)) add('passes', name, value, interval);
  for (const [name, value] of Object.entries(host)) if (typeof value !== 'string') add('host', name, value.value, value.interval);
  const copies = links.map(({ name, alpha_us, gb_per_s, bidirectional, block_us, n, median_pct }) => [name, digits(gb_per_s), digits(alpha_us), optional(bidirectional), optional(block_us), String(n), percent(median_pct)]);
  const tables = [textTable(['part', 'coefficient', 'value', '5 to 95 %'], rows, ['value'])];
  if (copies.length > 0) tables.push(textTable(['link', 'GB/s', 'latency us', 'both ways', 'us a block', 'n', 'error %'], copies, ['GB/s', 'latency us', 'both ways', 'us a block', 'n', 'error %']));
  return tables.join('\n\n');
}

/** Errors in percent by family, one group of columns for each set, with the limits of those that are judged. */
export function errorTable(sets: Readonly<Record<string, Errors>>, judged: readonly string[]): string {
  const names = Object.keys(sets);
  const families = [...FAMILIES, ...INFORMATIVE].filter((family) => (FAMILIES as readonly string[]).includes(family) || names.some((name) => sets[name]![family] !== undefined));
  const head = ['family', ...names.flatMap((name) => [`${name} n`, ...MEASURES.map((measure) => `${name} ${TITLES[measure]}`)]), 'limits'];
  const rows = families.map((family) => {
    const limits = (THRESHOLDS as Readonly<Record<string, Readonly<Record<(typeof MEASURES)[number], number>>>>)[family];
    const cells = names.flatMap((name) => {
      const found = sets[name]![family];
      if (found === undefined) return ['0', '-', '-', '-'];
      const over = (measure: (typeof MEASURES)[number]): string => (judged.includes(name) && limits !== undefined && Math.abs(found[measure]) > limits[measure] ? '!' : '');
      return [String(found.n), ...MEASURES.map((measure) => `${measure === 'signed' ? signed(found[measure]) : percent(found[measure])}${over(measure)}`)];
    });
    return [family, ...cells, limits === undefined ? '' : `${judged.join(', ')} ${limits.median} / ${limits.p90} / ±${limits.signed}`];
  });
  return textTable(head, rows, head.slice(1, -1));
}

/** `accepted`, or why not. */
export function verdict(reasons: readonly string[]): string {
  return reasons.length === 0 ? 'accepted' : ['not accepted:', ...reasons.map((reason) => `  ${reason}`)].join('\n');
}

/** One paragraph, or none. */
export function warningList(warnings: readonly string[]): string[] {
  return warnings.length === 0 ? [] : [warnings.map((warning) => `note: ${warning}`).join('\n')];
}

function percent(value: number): string {
  return value.toFixed(1);
}

function signed(value: number): string {
  const text = percent(value);
  return Number(text) === 0 ? '0.0' : value > 0 ? `+${text}` : text;
}

function digits(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function optional(value: number | null): string {
  return value === null ? '-' : digits(value);
}
