import { pointId, type Point } from '../points.js';
import type { Candidate, Family, FamilyName, PointBody } from './family.js';
import { bitReversed, halton, isFar } from './grid.js';
import { Estimator, loadSeconds, runMs } from './estimate.js';
import type { Target } from './target.js';

/**
 * Which points of one shard are measured, and in which order (spec calibration 3.2): host, anchors, first half of the held-out
 * points, copies, level 1, the other half, level 2, …; families take turns, so that whatever is cut off leaves a rougher profile.
 */

/** Share of a family that is held out. */
const HELD_OUT = 0.2;
/** A decode step and a product are repeated so often, s of estimated time. */
const DRIFT_S = 60;
/** What a worker keeps back: it starts a point only if 1.5 times its estimate and 10 s are left. */
const RESERVE = { factor: 1.5, s: 10 } as const;
/** Copies come before the first level of the others. */
const COPIES = 0;
/** Tries for every held-out point that is asked for. */
const TRIES = 60;

export interface Dropped {
  readonly reason: string;
  readonly count: number;
}

/** A point that may be measured. */
export interface Item {
  readonly label: string;
  readonly name: FamilyName;
  readonly split: Point['split'];
  readonly pid: string;
  readonly body: PointBody;
  /** Expected time of one run. */
  readonly ms: number;
}

/** Points of one shard in order, with what each family takes. */
export interface Section {
  readonly target: Target;
  readonly points: readonly Point[];
  /** Label of each point's family. */
  readonly labels: readonly string[];
  /** Loading and measuring, s. */
  readonly seconds: number;
  readonly loadS: number;
}

/** Everything one shard could measure, and what was left out already. */
export interface Pool {
  readonly anchors: readonly Item[];
  /** After the anchors, in order: copies, whose level is `COPIES`, then level after level. */
  readonly rest: readonly (Item & { readonly level: number })[];
  /** By family; the first ones are used. */
  readonly heldOut: ReadonlyMap<string, readonly Item[]>;
  readonly families: readonly Family[];
  readonly dropped: ReadonlyMap<string, number>;
}

/** Collects candidates of families; points in `taken` are measured elsewhere, and what is collected is added to it. */
export function poolOf(target: Target, families: readonly Family[], taken: Set<string>): Pool {
  const dropped = new Map<string, number>();
  const all = families.map((family) => ({ family, candidates: distinct(family, taken, dropped) }));
  const atLevel = (level: number, of: readonly FamilyCandidates[]): Item[] =>
    takeTurns(of.map(({ family, candidates }) => bitReversed(candidates.filter((one) => one.level === level)).map((one) => itemOf(target, family, one.built.body, level === 0 ? 'anchor' : 'grid'))));
  const highest = Math.max(...all.flatMap(({ candidates }) => candidates.map(({ level }) => level)));
  const levels = Array.from({ length: highest }, (_, index) => index + 1);
  const copies = all.filter(({ family }) => family.name === 'copy');
  const others = all.filter(({ family }) => family.name !== 'copy');
  return {
    anchors: firstAnchors(atLevel(0, all)),
    rest: [...levels.flatMap((level) => atLevel(level, copies).map((item) => ({ ...item, level: COPIES }))), ...levels.flatMap((level) => atLevel(level, others).map((item) => ({ ...item, level })))],
    heldOut: new Map(all.map(({ family, candidates }) => [family.label, heldOutOf(target, family, candidates, taken, heldOutCount(family, candidates.length))])),
    families,
    dropped,
  };
}

interface FamilyCandidates {
  readonly family: Family;
  readonly candidates: readonly Feasible[];
}

/** Host actions, then the anchors that are repeated, then the others. */
function firstAnchors(anchors: readonly Item[]): Item[] {
  const repeated = driftAnchors(anchors);
  const rank = (item: Item): number => (item.name === 'host' ? 0 : repeated.includes(item) ? 1 : 2);
  return [...anchors].sort((a, b) => rank(a) - rank(b));
}

type Feasible = Candidate & { readonly built: { readonly body: PointBody } };

/** What of a family can be measured, each point once at its lowest level. */
function distinct({ candidates }: Family, taken: Set<string>, dropped: Map<string, number>): Feasible[] {
  const refused = new Set<string>();
  const found: Feasible[] = [];
  for (const one of [...candidates].sort((a, b) => a.level - b.level)) {
    if ('refusal' in one.built) {
      const key = JSON.stringify([one.built.refusal, one.cell, one.at]);
      if (!refused.has(key)) dropped.set(one.built.refusal, (dropped.get(one.built.refusal) ?? 0) + 1);
      refused.add(key);
      continue;
    }
    const pid = pointId(one.built.body);
    if (taken.has(pid)) continue;
    taken.add(pid);
    found.push(one as Feasible);
  }
  return found;
}

/** A point of a family as it is planned; `ms`: where one run's time is known better than from rooflines. */
export function itemOf(target: Target, { label, name }: Family, body: PointBody, split: Point['split'], ms = runMs(target, body)): Item {
  return { label, name, split, pid: pointId(body), body, ms };
}

/** `wanted` points far from all of `fitted`, from the Halton sequence; fewer where there is no such place left. Adds them to `taken`. */
export function heldOutOf(target: Target, family: Family, fitted: readonly Pick<Candidate, 'cell' | 'at'>[], taken: Set<string>, wanted: number): Item[] {
  const { between } = family;
  if (between === null) return [];
  const found: Item[] = [];
  for (let index = 1; found.length < wanted && index <= TRIES * wanted; index++) {
    const { at, cell, built } = between(halton(index));
    if ('refusal' in built || fitted.some((one) => one.cell === cell && !isFar(at, one.at))) continue;
    const item = itemOf(target, family, built.body, 'holdout');
    if (taken.has(item.pid)) continue;
    taken.add(item.pid);
    found.push(item);
  }
  return found;
}

/** Points to hold out beside `fitted` ones of a family. */
export function heldOutCount({ heldOut, between }: Family, fitted: number): number {
  if (between === null || fitted === 0) return 0;
  return Math.max(heldOut, Math.ceil((fitted * HELD_OUT) / (1 - HELD_OUT) - 1e-9));
}

/** First items of all lists, then second ones, … */
export function takeTurns<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...lists.map((list) => list.length));
  return Array.from({ length: longest }, (_, index) => lists.flatMap((list) => list.slice(index, index + 1))).flat();
}

/** The points of a shard with the first `count` of `pool.rest`, in the order of the spec. */
export function arrange({ anchors, rest, heldOut, families }: Pool, count: number): Item[] {
  const used = rest.slice(0, count);
  const fitted = [...anchors, ...used];
  const held = families.map((family) => heldOut.get(family.label)!.slice(0, heldOutCount(family, fitted.filter(({ label }) => label === family.label).length)));
  const half = (list: readonly Item[]): number => Math.ceil(list.length / 2);
  return [
    ...anchors,
    ...takeTurns(held.map((list) => list.slice(0, half(list)))),
    ...used.filter(({ level }) => level === COPIES),
    ...used.filter(({ level }) => level === 1),
    ...takeTurns(held.map((list) => list.slice(half(list)))),
    ...used.filter(({ level }) => level > 1),
  ];
}

/** Gives items their estimates and adds the repeats that show drift. */
export function schedule(target: Target, items: readonly Item[]): Section {
  const estimator = new Estimator();
  const loadS = loadSeconds(target);
  const points: Point[] = [];
  const labels: string[] = [];
  const repeated = driftAnchors(items);
  const measured = new Set<string>();
  let [seconds, since] = [loadS, 0];
  const add = (item: Item, body: PointBody, pid: string): void => {
    const est_s = estimator.seconds(body, pid, item.ms);
    points.push({ pid, split: item.split, est_s, ...body } as Point);
    labels.push(item.label);
    seconds += est_s;
    since += est_s;
  };
  let round = 0;
  for (const item of items) {
    add(item, item.body, item.pid);
    measured.add(item.pid);
    if (since < DRIFT_S) continue;
    since = 0;
    round++;
    for (const anchor of repeated.filter(({ pid }) => measured.has(pid))) {
      const body: PointBody = { ...anchor.body, repeat: round, of: anchor.pid };
      add(anchor, body, pointId(body));
    }
  }
  return { target, points, labels, seconds, loadS };
}

/** A decode step and a product of middling time among the anchors. */
export function driftAnchors(items: readonly Item[]): Item[] {
  return (['decode', 'gemm'] as const).flatMap((name) => {
    const anchors = items.filter((item) => item.name === name && item.split === 'anchor').sort((a, b) => a.ms - b.ms);
    return anchors.slice(anchors.length >> 1, (anchors.length >> 1) + 1);
  });
}

/** Least budget in which a worker starts every point of a section, s. */
export function neededSeconds({ points, seconds }: Section): number {
  const last = points.at(-1)?.est_s ?? 0;
  return seconds + (RESERVE.factor - 1) * last + RESERVE.s;
}

/** The largest part of a pool that fits into `budgetS`, of which it uses so many of `rest`; the anchors with their held-out points where nothing does. */
export function fill(target: Target, pool: Pool, budgetS: number): { readonly section: Section; readonly used: number } {
  const sectionOf = (count: number): Section => schedule(target, arrange(pool, count));
  let [low, high] = [0, pool.rest.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (neededSeconds(sectionOf(middle)) <= budgetS) low = middle;
    else high = middle - 1;
  }
  return { section: sectionOf(low), used: low };
}
