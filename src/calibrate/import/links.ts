import { median } from '../errors.js';
import type { LinkRow } from './imported.js';

/** Transfers as a latency and a bandwidth: t = α + bytes / β. */

/** A transfer in one direction and one piece. */
export interface Transfer {
  readonly bytes: number;
  readonly us: number;
}

export interface LinkFit {
  readonly alphaUs: number;
  /** 10^9 bytes a second. */
  readonly gbPerS: number;
  /** Median of |predicted / measured − 1|, percent. */
  readonly medianPct: number;
  readonly n: number;
}

/** Candidates of α·β looked at, over this many powers of ten around the sizes, and how finely the best one is refined. */
const STEPS = 600;
const DECADES_BELOW = 6;
const DECADES_ABOVE = 3;
const REFINEMENTS = 100;
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** Slower links are likely a fall-back: TCP, or staging in host memory. */
export const RED_FLAG_GB_PER_S = 1;

/**
 * α ≥ 0 and β of least absolute error of ln t. With γ = α·β, ln t = ln(γ + bytes) − ln β, so for each γ the best ln β is a median, and one
 * number is left to search. Transfers of one size say nothing of α, which is 0 then. Needs one transfer at least; bytes and times above 0.
 */
export function fitLink(transfers: readonly Transfer[]): LinkFit {
  const sizes = new Set(transfers.map(({ bytes }) => bytes));
  const lnBeta = (gamma: number): number => median(transfers.map(({ bytes, us }) => Math.log((gamma + bytes) / us)))!;
  const loss = (gamma: number): number => {
    const level = lnBeta(gamma);
    return transfers.reduce((sum, { bytes, us }) => sum + Math.abs(Math.log((gamma + bytes) / us) - level), 0);
  };
  const gamma = sizes.size < 2 ? 0 : lowest(loss, Math.min(...sizes) / 10 ** DECADES_BELOW, Math.max(...sizes) * 10 ** DECADES_ABOVE);
  // Bytes per µs.
  const beta = Math.exp(lnBeta(gamma));
  const alphaUs = gamma / beta;
  const errors = transfers.map(({ bytes, us }) => Math.abs((alphaUs + bytes / beta) / us - 1));
  return { alphaUs, gbPerS: beta / 1000, medianPct: median(errors)! * 100, n: transfers.length };
}

/** Where `loss` is lowest: at 0, or in [from, to], searched in steps of equal ratio and then by golden sections around the best step. */
function lowest(loss: (at: number) => number, from: number, to: number): number {
  const at = (step: number): number => from * (to / from) ** (step / STEPS);
  let best = 0;
  for (let step = 1, least = loss(at(0)); step <= STEPS; step++) {
    const value = loss(at(step));
    if (value < least) [best, least] = [step, value];
  }
  let [low, high] = [Math.max(0, best - 1), Math.min(STEPS, best + 1)];
  for (let i = 0; i < REFINEMENTS; i++) {
    const [left, right] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    if (loss(at(left)) <= loss(at(right))) high = right;
    else low = left;
  }
  const found = at((low + high) / 2);
  return loss(0) <= loss(found) ? 0 : found;
}

/** A link as measured under one name. */
export interface FittedLink extends Omit<LinkFit, 'alphaUs'> {
  readonly name: string;
  /** Null: unknown, of transfers of one size or rates alone. */
  readonly alphaUs: number | null;
  /** Bandwidth each way while both ways are busy over that of one way alone; null = not measured. */
  readonly bidirectional: number | null;
  /** What every further piece of a transfer costs, µs; null = not measured. */
  readonly blockUs: number | null;
}

/**
 * Links of measured transfers, by name. Rows of one size, or with a bandwidth and no size, give a bandwidth alone, those with a time alone no link.
 * A name that differs by `bidirectional` alone is the same link both ways at once.
 */
export function fitLinks(rows: readonly LinkRow[]): FittedLink[] {
  const groups = new Map<string, LinkRow[]>();
  for (const row of rows) {
    const name = plainName(row.name);
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups].flatMap(([name, own]) => fitGroup(name, own) ?? []);
}

function plainName(name: string): string {
  return name.replace(/_?bidirectional/, '');
}

function fitGroup(name: string, rows: readonly LinkRow[]): FittedLink | null {
  const oneWay = rows.filter(({ bidirectional }) => !bidirectional);
  const sized = oneWay.filter((row): row is LinkRow & { bytes: number; time_us: number } => row.bytes !== null && row.time_us !== null);
  const whole = sized.filter(({ blocks }) => blocks === 1);
  const rates = oneWay.flatMap(({ gb_per_s }) => gb_per_s ?? []);
  // Without transfers in one piece those in several say what the link does, their pieces included.
  const transfers = (whole.length > 0 ? whole : sized).map(({ bytes, time_us }) => ({ bytes, us: time_us }));
  if (transfers.length === 0 && rates.length === 0) return null;
  const fit = transfers.length > 0 ? fitLink(transfers) : rateOnly(rates);
  const alone = ({ bytes }: { readonly bytes: number }): number => fit.alphaUs + bytes / (fit.gbPerS * 1000);
  const pieces = whole.length === 0 ? [] : sized.filter(({ blocks }) => blocks > 1).map((row) => (row.time_us - alone(row)) / (row.blocks - 1));
  const bothWays = rows.filter(({ bidirectional }) => bidirectional).flatMap((row) => (row.bytes !== null && row.time_us !== null ? [alone({ bytes: row.bytes }) / row.time_us] : row.gb_per_s === null ? [] : [row.gb_per_s / fit.gbPerS]));
  return { ...fit, name, alphaUs: new Set(transfers.map(({ bytes }) => bytes)).size > 1 ? fit.alphaUs : null, bidirectional: median(bothWays), blockUs: pieces.length === 0 ? null : Math.max(0, median(pieces)!) };
}

function rateOnly(rates: readonly number[]): LinkFit {
  const gbPerS = median(rates)!;
  return { alphaUs: 0, gbPerS, medianPct: median(rates.map((rate) => Math.abs(gbPerS / rate - 1)))! * 100, n: rates.length };
}
