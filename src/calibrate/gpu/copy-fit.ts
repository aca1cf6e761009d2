import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { median } from '../errors.js';
import { fitLink } from '../import/links.js';
import { ofKind, type FitPoint } from './fit-points.js';
import { linkName } from './predict.js';
import type { PointOf } from './points.js';

/** Links of a GPU and its host from copies of one piece, and what every further one of scattered blocks costs. */

type Link = MeasuredProfile['links'][number];

/** Fewest copies that tell a latency from a bandwidth. */
const LEAST_COPIES = 3;

/** A link for every direction and kind of memory; `bidi` is both directions at once. `points` are those to fit. */
export function fitCopies(points: readonly FitPoint[]): Link[] {
  const copies = ofKind(points, 'copy');
  const whole = copies.filter(({ point }) => point.blocks === 0 || point.gather);
  const names = [...new Set(whole.map(({ point }) => linkName(point)))].sort();
  return names.flatMap((name): Link[] => {
    const own = whole.filter(({ point }) => linkName(point) === name);
    if (own.length < LEAST_COPIES) return [];
    const { alphaUs, gbPerS, medianPct, n } = fitLink(own.map(({ point, us }) => ({ bytes: point.bytes, us })));
    const alone = ({ bytes }: PointOf<'copy'>): number => alphaUs + bytes / (gbPerS * 1000);
    const blocks = copies.filter(({ point }) => point.blocks > 1 && !point.gather && linkName(point) === name).map(({ point, us }) => (us - alone(point)) / (point.blocks - 1));
    const both = /^(h2d|d2h) pinned$/.test(name) ? whole.filter(({ point }) => linkName(point) === 'bidi pinned').map(({ point, us }) => alone(point) / us) : [];
    return [{ name, alpha_us: alphaUs, gb_per_s: gbPerS, bidirectional: median(both), block_us: blocks.length === 0 ? null : Math.max(0, median(blocks)!), n, median_pct: Number(medianPct.toFixed(4)) }];
  });
}
