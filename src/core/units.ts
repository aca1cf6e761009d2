/**
 * Quantities with units. A quantity with a dimension carries its unit; a bare number is a count or
 * a ratio (spec: scenario section 2.1 rule 2). Base units: ms, bytes, bytes/s, requests/s, currency
 * units per hour, ratio.
 */
export type Dimension = 'time' | 'size' | 'bandwidth' | 'request rate' | 'session rate' | 'token rate' | 'price' | 'percentage';

/** Either a value, or what is wrong with the text: code, clause, advice. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: 'E-UNIT' | 'E-TYPE' | 'E-RANGE' | 'E-ENUM' | 'E-UNSUPPORTED'; readonly what: string; readonly hint?: string };

interface Unit {
  readonly dimension: Dimension;
  /** Base value = number × 10^exponent × factor: the power of ten shifts the decimal point, so it rounds once. */
  readonly exponent: number;
  readonly factor: number;
}

const UNITS: ReadonlyMap<string, Unit> = new Map([
  ...table('time', [['ns', -6], ['us', -3], ['µs', -3], ['ms', 0], ['s', 3], ['min', 3, 60], ['h', 3, 3600]]),
  ...table('size', [['B', 0], ['KB', 3], ['MB', 6], ['GB', 9], ['TB', 12], ['KiB', 0, 2 ** 10], ['MiB', 0, 2 ** 20], ['GiB', 0, 2 ** 30], ['TiB', 0, 2 ** 40]]),
  ...table('bandwidth', [['B/s', 0], ['KB/s', 3], ['MB/s', 6], ['GB/s', 9], ['TB/s', 12], ['Kb/s', 3, 1 / 8], ['Mb/s', 6, 1 / 8], ['Gb/s', 9, 1 / 8], ['Tb/s', 12, 1 / 8]]),
  ...table('request rate', [['req/s', 0], ['req/min', 0, 1 / 60]]),
  ...table('session rate', [['sessions/s', 0], ['sessions/min', 0, 1 / 60]]),
  ...table('token rate', [['tok/s', 0]]),
  ...table('price', [['$/h', 0]]),
  ...table('percentage', [['%', -2]]),
]);

function table(dimension: Dimension, rows: readonly (readonly [string, number, number?])[]): [string, Unit][] {
  return rows.map(([name, exponent, factor]) => [name, { dimension, exponent, factor: factor ?? 1 }]);
}

/** Units offered when one is missing, and a complete example. */
const ADVICE: Readonly<Record<Dimension, { readonly units: readonly string[]; readonly example: string }>> = {
  time: { units: ['ms', 's'], example: '500 ms' },
  size: { units: ['MB', 'GB'], example: '64 GB' },
  bandwidth: { units: ['GB/s'], example: '64 GB/s' },
  'request rate': { units: ['req/s'], example: '8 req/s' },
  'session rate': { units: ['sessions/s'], example: '0.5 sessions/s' },
  'token rate': { units: ['tok/s'], example: '100 tok/s' },
  price: { units: [], example: '$3.50/h' },
  percentage: { units: ['%'], example: '90%' },
};

const NUMBER = String.raw`([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+))?`;
const QUANTITY = new RegExp(`^${NUMBER}\\s*([A-Za-zµ%][A-Za-zµ/]*)$`);
const PRICE = new RegExp(`^\\$\\s*${NUMBER}\\s*/h$`);

/** Number and unit of a text such as `1.5 s` or `$3.50/h`; null when it is not of that form. */
function split(text: string): { readonly mantissa: string; readonly exponent: number; readonly unit: string } | null {
  const price = PRICE.exec(text);
  const match = price ?? QUANTITY.exec(text);
  if (!match) return null;
  return { mantissa: match[1]!, exponent: Number(match[2] ?? 0), unit: price ? '$/h' : match[3]! };
}

const article = (noun: string): string => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);
const negativeHint = 'use 0 or more';

/** Value of a number with any known unit in base units, for expressions; null when it is none. */
export function parseAnyQuantity(text: string): { readonly value: number; readonly dimension: Dimension } | null {
  const parts = split(text.trim());
  const unit = parts && UNITS.get(parts.unit);
  if (!parts || !unit) return null;
  return { value: Number(`${parts.mantissa}e${parts.exponent + unit.exponent}`) * unit.factor, dimension: unit.dimension };
}

/**
 * Reads a quantity of one dimension into its base unit. `raw` is the parsed YAML scalar, `source`
 * how it is spelled. A bare 0 needs no unit. Negative values are E-RANGE.
 */
export function parseQuantity(raw: unknown, source: string, dimension: Dimension): Parsed<number> {
  const { units, example } = ADVICE[dimension];
  const write = `write ${article(dimension)} such as '${example}'`;
  if (raw === 0) return { ok: true, value: 0 };
  if (typeof raw === 'number' && Number.isFinite(raw)) {
    const offers = units.length > 0 ? units.map((unit) => `'${source}${unit === '%' ? '' : ' '}${unit}'`) : [`'${example}'`];
    return { ok: false, code: 'E-UNIT', what: `${source} has no unit`, hint: `write ${offers.join(' or ')}` };
  }
  const parts = typeof raw === 'string' ? split(raw.trim()) : null;
  if (!parts) return { ok: false, code: 'E-TYPE', what: `${quote(raw, source)} is not ${article(dimension)}`, hint: write };
  const unit = UNITS.get(parts.unit);
  if (!unit) {
    const known = [...UNITS].filter(([, candidate]) => candidate.dimension === dimension).map(([name]) => name);
    return { ok: false, code: 'E-UNIT', what: `'${source}' has the unknown unit '${parts.unit}'`, hint: `use one of ${known.join(', ')}` };
  }
  if (unit.dimension !== dimension) return { ok: false, code: 'E-UNIT', what: `'${source}' is ${article(unit.dimension)}`, hint: write };
  const value = Number(`${parts.mantissa}e${parts.exponent + unit.exponent}`) * unit.factor;
  if (value < 0) return { ok: false, code: 'E-RANGE', what: `${source} is negative`, hint: negativeHint };
  if (!Number.isFinite(value)) return { ok: false, code: 'E-RANGE', what: `${source} is too large`, hint: write };
  return { ok: true, value };
}

/** Limits of a bare number. */
export interface NumberRule {
  readonly integer?: boolean;
  /** Smallest and largest value allowed; `above`: smaller ones and itself are not. */
  readonly min?: number;
  readonly max?: number;
  readonly above?: number;
  /** Largest value that makes sense; named only to those who exceed it. */
  readonly cap?: number;
  /** Accept `90%` as 0.9. */
  readonly percent?: boolean;
}

/** Reads a count or a ratio: a bare number. `8k` is refused as ambiguous. */
export function parseNumber(raw: unknown, source: string, rule: NumberRule): Parsed<number> {
  const noun = rule.integer ? 'an integer' : 'a number';
  const wanted = `write ${noun}${rangeText(rule)}`;
  let value = raw;
  if (typeof raw === 'string') {
    const thousands = /^(\d+(?:\.\d+)?)\s*[kK]$/.exec(raw);
    if (thousands) {
      const count = Number(thousands[1]);
      return { ok: false, code: 'E-TYPE', what: `'${source}' is ambiguous`, hint: `write ${count * 1000} or ${count * 1024}` };
    }
    const parts = split(raw.trim());
    const unit = parts && UNITS.get(parts.unit);
    if (unit?.dimension === 'percentage' && rule.percent) value = parseAnyQuantity(raw)!.value;
    else if (unit) return { ok: false, code: 'E-UNIT', what: `'${source}' is ${article(unit.dimension)}`, hint: `${wanted}, without a unit` };
    else if (raw.trim() !== '' && Number.isFinite(Number(raw))) return { ok: false, code: 'E-TYPE', what: `'${raw}' is text`, hint: `write ${Number(raw)} without quotes` };
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) return { ok: false, code: 'E-TYPE', what: `${quote(raw, source)} is not ${noun}`, hint: wanted };
  if (rule.integer && !Number.isInteger(value)) return { ok: false, code: 'E-TYPE', what: `${source} is not ${noun}`, hint: wanted };
  if (rule.cap !== undefined && value > rule.cap) return { ok: false, code: 'E-RANGE', what: `${source} is out of range`, hint: `write ${noun} up to ${rule.cap}` };
  if (rule.integer && !Number.isSafeInteger(value)) return { ok: false, code: 'E-RANGE', what: `${source} is out of range`, hint: wanted };
  const outside = (rule.min !== undefined && value < rule.min) || (rule.max !== undefined && value > rule.max) || (rule.above !== undefined && value <= rule.above);
  if (outside) return { ok: false, code: 'E-RANGE', what: `${source} is out of range`, hint: wanted };
  return { ok: true, value };
}

function rangeText({ min, max, above }: NumberRule): string {
  const low = above !== undefined ? ` above ${above}` : min !== undefined && max === undefined ? ` of at least ${min}` : '';
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return max !== undefined ? `${low} up to ${max}` : low;
}

function quote(raw: unknown, source: string): string {
  return typeof raw === 'string' ? `'${source}'` : source;
}

/** Text that `parseQuantity` reads back to the same value. */
export function formatQuantity(value: number, dimension: Dimension): string {
  switch (dimension) {
    case 'time':
      return `${value} ms`;
    case 'size':
      return `${value} B`;
    case 'bandwidth': {
      const text = `${value / 1e9} GB/s`;
      return parseAnyQuantity(text)?.value === value ? text : `${value} B/s`;
    }
    case 'request rate':
      return `${value} req/s`;
    case 'session rate':
      return `${value} sessions/s`;
    case 'token rate':
      return `${value} tok/s`;
    case 'price':
      return `$${value}/h`;
    case 'percentage': {
      const text = `${value * 100}%`;
      return parseAnyQuantity(text)?.value === value ? text : String(value);
    }
  }
}
