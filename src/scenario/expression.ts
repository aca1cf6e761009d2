import { parseAnyQuantity, type Dimension } from '../core/units.js';
import { metricInfo, suggestMetric, type MetricInfo } from './metrics-names.js';
import type { Constraint, LinearExpression, Objective } from './scenario.js';

/** What is wrong with an objective or a constraint. */
export class ExpressionError extends Error {
  constructor(readonly code: 'E-EXPR' | 'E-UNIT', readonly what: string, readonly hint: string) {
    super(what);
  }
}

/** A metric named by a text, with `needs` for the caller to check. */
export type Named = { readonly metrics: readonly MetricInfo[] };

/** Reads `max METRIC` or `min METRIC`. Throws ExpressionError. */
export function parseObjective(text: string): Objective & Named {
  const [direction, name, ...rest] = text.trim().split(/\s+/);
  if ((direction !== 'max' && direction !== 'min') || name === undefined || rest.length > 0) {
    throw new ExpressionError('E-EXPR', `'${text}' is not an objective`, "write 'max METRIC' or 'min METRIC'");
  }
  return { direction, metric: name, metrics: [findMetric(name)] };
}

/** Reads `slo` or `EXPRESSION OP EXPRESSION`; `find` knows the metrics that may be named. Throws ExpressionError. */
export function parseConstraint(text: string, find: (name: string) => MetricInfo = findMetric): Constraint & Named {
  if (text.trim() === 'slo') return { kind: 'slo', text: 'slo', metrics: [] };
  const parser = new Parser(text, find);
  const left = parser.sum();
  const op = parser.comparison();
  const right = parser.sum();
  parser.end();
  sameUnit(left, right);
  return { kind: 'compare', text: text.trim(), op, left: linear(left), right: linear(right), metrics: parser.metrics };
}

type Comparison = Extract<Constraint, { kind: 'compare' }>['op'];

/** A linear expression and its unit; undefined = 0, which fits every unit. */
interface Value {
  readonly terms: ReadonlyMap<string, number>;
  readonly constant: number;
  readonly unit: string | undefined;
  readonly text: string;
}

const BASE_UNITS: Partial<Record<Dimension, string>> = { time: 'ms', 'request rate': 'req/s', 'token rate': 'tok/s', percentage: '', price: '' };
const TOKEN = /\s*(?:(\$?\d+\.?\d*(?:[eE][+-]?\d+)?|\$?\.\d+)(?:\s*(%|[A-Za-zµ]+(?:\/[A-Za-z]+)?|\/h))?|([A-Za-z_]\w*(?:\.\w+)*)|(<=|>=|==|[<>+\-*()]))/y;
type Token = { readonly kind: 'number'; readonly number: string; readonly unit: string | undefined } | { readonly kind: 'name' | 'sign'; readonly text: string };

class Parser {
  readonly metrics: MetricInfo[] = [];
  private readonly tokens: Token[] = [];
  private next = 0;

  constructor(private readonly text: string, private readonly find: (name: string) => MetricInfo) {
    const pattern = new RegExp(TOKEN);
    const end = text.trimEnd().length;
    while (pattern.lastIndex < end) {
      const from = pattern.lastIndex;
      const match = pattern.exec(text);
      if (!match) throw this.error(`'${text.slice(from).trim()}' is not understood`);
      const [, number, unit, name, sign] = match;
      this.tokens.push(number !== undefined ? { kind: 'number', number, unit } : name !== undefined ? { kind: 'name', text: name } : { kind: 'sign', text: sign! });
    }
  }

  sum(): Value {
    let value = this.product();
    for (let sign = this.sign('+', '-'); sign; sign = this.sign('+', '-')) {
      const other = this.product();
      sameUnit(value, other);
      value = combine(value, sign === '+' ? other : scale(other, -1));
    }
    return value;
  }

  comparison(): Comparison {
    const sign = this.sign('<=', '>=', '<', '>', '==');
    if (!sign) throw this.error('no comparison');
    return sign as Comparison;
  }

  end(): void {
    if (this.next < this.tokens.length) throw this.error('something follows the comparison');
  }

  private product(): Value {
    let value = this.factor();
    while (this.sign('*')) {
      const other = this.factor();
      if (value.terms.size > 0 && other.terms.size > 0) throw this.error('two metrics are multiplied');
      if (value.unit && other.unit) throw this.error('two quantities with units are multiplied');
      const [factor, scaled] = value.terms.size > 0 || value.unit ? [other.constant, value] : [value.constant, other];
      value = scale(scaled, factor);
    }
    return value;
  }

  private factor(): Value {
    if (this.sign('-')) return scale(this.factor(), -1);
    if (this.sign('(')) {
      const value = this.sum();
      if (!this.sign(')')) throw this.error("a ')' is missing");
      return value;
    }
    const token = this.tokens[this.next++];
    if (token?.kind === 'number') return this.number(token.number, token.unit);
    if (token?.kind !== 'name') throw this.error('a metric or a number is missing');
    const info = this.find(token.text);
    this.metrics.push(info);
    return { terms: new Map([[info.name, 1]]), constant: 0, unit: info.unit, text: info.name };
  }

  private number(number: string, unit: string | undefined): Value {
    const text = unit === undefined ? number : `${number} ${unit}`;
    if (unit === undefined) {
      const constant = Number(number);
      return { terms: new Map(), constant, unit: constant === 0 ? undefined : '', text };
    }
    const quantity = parseAnyQuantity(unit === '/h' ? `${number}/h` : text);
    const base = quantity ? BASE_UNITS[quantity.dimension] : undefined;
    if (!quantity || base === undefined) throw new ExpressionError('E-UNIT', `'${text}' has no unit that a metric has`, 'use ms, s, min, %, tok/s or req/s');
    return { terms: new Map(), constant: quantity.value, unit: base, text };
  }

  private sign(...signs: readonly string[]): string | undefined {
    const token = this.tokens[this.next];
    if (token?.kind !== 'sign' || !signs.includes(token.text)) return undefined;
    this.next++;
    return token.text;
  }

  private error(what: string): ExpressionError {
    return new ExpressionError('E-EXPR', `${what} in '${this.text}'`, "write for example 'ttft_ms.p99 <= 2 s'");
  }
}

/** The metric of a name. Throws ExpressionError. */
export function findMetric(name: string): MetricInfo {
  const info = metricInfo(name);
  if (info) return info;
  const guess = suggestMetric(name);
  throw new ExpressionError('E-EXPR', `unknown metric '${name}'`, guess ? `did you mean '${guess}'?` : "write for example 'ttft_ms.p99' or 'tok_s_per_gpu'");
}

/** Times need their unit; rates may go without, their metric's name has it. */
function sameUnit(a: Value, b: Value): void {
  if (a.unit === undefined || b.unit === undefined || a.unit === b.unit) return;
  const [bare, other] = a.unit === '' ? [a, b] : [b, a];
  if (bare.unit === '' && other.unit !== 'ms' && (bare.terms.size === 0 || other.terms.size === 0)) return;
  if (bare.unit === '' && bare.terms.size === 0) throw new ExpressionError('E-UNIT', `${bare.text} has no unit`, `write '${bare.text} ms' or '${bare.text} s'`);
  throw new ExpressionError('E-UNIT', `${a.text} is in ${a.unit || 'no unit'}, ${b.text} in ${b.unit || 'no unit'}`, 'compare like with like');
}

function combine(a: Value, b: Value): Value {
  const terms = new Map(a.terms);
  for (const [name, factor] of b.terms) terms.set(name, (terms.get(name) ?? 0) + factor);
  return { terms, constant: a.constant + b.constant, unit: a.unit || (b.unit ?? a.unit), text: a.text };
}

function scale(value: Value, factor: number): Value {
  return { ...value, terms: new Map([...value.terms].map(([name, own]) => [name, own * factor])), constant: value.constant * factor };
}

function linear({ terms, constant }: Value): LinearExpression {
  return { terms: [...terms].map(([metric, factor]) => ({ metric, factor })), constant };
}
