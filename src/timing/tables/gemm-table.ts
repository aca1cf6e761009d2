import { compileCurve, covers, knotsOf, lerp, type Knots } from './curve.js';
import type { Points } from './points.js';

/** Time a product of m × k by k × n cannot beat, ms. */
export type GemmBound = (m: number, n: number, k: number) => number;

interface Site extends Knots {
  readonly n: number;
  readonly k: number;
}

interface NearSite {
  readonly site: Site;
  /** In log2(n), log2(k). */
  readonly distance: number;
  readonly curve: (m: number) => number;
}

const MOST_SITES = 4;
/** In log2(n), log2(k). */
const REACH = 2;

/**
 * Matrix products: measured *sites* (n, k), each a curve over m (perf-model section 2.3). No time is below the
 * bound. Points have the axes n, k, m.
 */
export class GemmTable {
  private readonly sites: readonly Site[];

  constructor(
    points: Points,
    private readonly bound: GemmBound,
  ) {
    const bySite = new Map<string, { n: number; k: number; m: number[]; ms: number[] }>();
    for (let row = 0; row < points.ms.length; row++) {
      const [n, k, m] = points.at.subarray(3 * row, 3 * row + 3) as unknown as [number, number, number];
      const key = `${n},${k}`;
      let site = bySite.get(key);
      if (site === undefined) bySite.set(key, (site = { n, k, m: [], ms: [] }));
      site.m.push(m);
      site.ms.push(Math.max(points.ms[row]!, bound(m, n, k)));
    }
    this.sites = [...bySite.values()].map(({ n, k, m, ms }) => ({ n, k, ...knotsOf({ axes: 1, at: Float64Array.from(m), ms: Float64Array.from(ms) }) }));
  }

  /** Time by m, ms; null where no measured site is near. */
  curve(n: number, k: number): ((m: number) => number) | null {
    const own = this.sites.find((site) => site.n === n && site.k === k);
    if (own !== undefined) return this.ownCurve(own);
    const near = this.nearest(n, k).map(({ site, distance }) => ({ site, distance, curve: compileCurve(site, (m) => this.bound(m, site.n, site.k)) }));
    return near.length === 0 ? null : (m) => this.bound(m, n, k) / this.reachNear(near, m);
  }

  private ownCurve(site: Site): (m: number) => number {
    const { n, k, x } = site;
    const low = median([0, 1, 2].map((i) => this.reach(site, i)));
    const high = median([3, 2, 1].map((i) => this.reach(site, x.length - i)));
    return (m) => {
      if (m < x[0]!) return this.bound(m, n, k) / low;
      return m > x.at(-1)! ? this.bound(m, n, k) / high : lerp(site, m);
    };
  }

  private reach({ n, k, x, ms }: Site, index: number): number {
    const i = Math.min(Math.max(index, 0), x.length - 1);
    return this.bound(x[i]!, n, k) / ms[i]!;
  }

  /** Sites within reach, nearest first; where only one of n and k is past all measured ones, those near in the other. */
  private nearest(n: number, k: number): { readonly site: Site; readonly distance: number }[] {
    const away = (a: number, b: number): number => Math.log2(a) - Math.log2(b);
    const sorted = (waived: 'n' | 'k' | null): { site: Site; distance: number }[] =>
      this.sites
        .map((site) => ({ site, distance: Math.hypot(away(site.n, n), away(site.k, k)), other: waived === null ? 0 : Math.abs(waived === 'n' ? away(site.k, k) : away(site.n, n)) }))
        .filter(({ distance, other }) => (waived === null ? distance <= REACH : other <= REACH))
        .sort((a, b) => a.distance - b.distance);
    const near = sorted(null);
    if (near.length > 0) return near;
    const largest = (of: 'n' | 'k'): number => Math.max(...this.sites.map((site) => site[of]));
    const past = [n > largest('n'), k > largest('k')];
    return past[0] === past[1] ? [] : sorted(past[0] ? 'n' : 'k');
  }

  /** Share of the bound reached at m, from the nearest sites that know it. */
  private reachNear(near: readonly NearSite[], m: number): number {
    const knowing: NearSite[] = [];
    for (const one of near) if (knowing.length < MOST_SITES && covers(one.site, m)) knowing.push(one);
    let [sum, weights] = [0, 0];
    for (const { site, distance, curve } of knowing.length > 0 ? knowing : near.slice(0, MOST_SITES)) {
      sum += this.bound(m, site.n, site.k) / curve(m) / distance ** 2;
      weights += 1 / distance ** 2;
    }
    return sum / weights;
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
