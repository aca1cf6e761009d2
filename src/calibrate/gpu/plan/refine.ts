import { join } from 'node:path';
import Papa from 'papaparse';
import { InputError } from '../../../core/problem.js';
import { readText } from '../../../core/read-text.js';
import { readNormalised } from '../normalised.js';
import { geometryHash, pointId, type Point } from '../points.js';
import { PROFILE_MEASUREMENTS } from '../profile-writer.js';
import type { GpuRecord } from '../records.js';
import type { Family, PointBody } from './family.js';
import { isFar, middle } from './grid.js';
import { coordinatesOfOperator } from './operators.js';
import { driftAnchors, heldOutCount, heldOutOf, itemOf, type Item } from './order.js';
import { coordinatesOfSequences } from './passes.js';
import type { Target } from './target.js';

/** Where a profile is worst, and what to measure there (spec calibration 3.2, rule 3). */

const ERROR_COLUMN = 'loo_error_pct';
type Row = Readonly<Record<typeof ERROR_COLUMN | 'weights' | 'kv_cache', string>>;

/** Leave-one-out error below which a point needs no neighbour, percent. */
const GOOD_PCT = 3;

/** A measured point of a family of the plan. */
interface Measured {
  readonly family: Family;
  readonly cell: string;
  readonly at: readonly number[];
  readonly body: PointBody;
  readonly split: Point['split'];
  readonly ms: number;
  /** Leave-one-out; null for held-out points. */
  readonly errorPct: number | null;
}

/**
 * Points to measure beside those of a profile folder, worst neighbourhood first, with held-out ones so that their share stays;
 * before them the anchors that show drift. Their times come from what was measured.
 * Throws InputError: `E-FILE`, `E-COLUMN`, `E-ROW` for its `measurements.csv`, `E-PROFILE-HARDWARE` or `E-PROFILE-MODEL` where
 * it is of another GPU or shard, `E-NO-EFFECT` where it is good everywhere.
 */
export function refinement(folder: string, target: Target, families: readonly Family[], taken: Set<string>): Item[] {
  const measured = readMeasured(join(folder, PROFILE_MEASUREMENTS), target, families);
  for (const { body } of measured) taken.add(pointId(body));
  const anchors = measured.filter(({ split }) => split === 'anchor');
  const between = bisections(measured, taken);
  if (between.length === 0) throw new InputError({ code: 'E-NO-EFFECT', path: '--refine', what: `no point of ${folder} is ${GOOD_PCT} % off or more with something left to measure beside it`, hint: 'leave --refine out' });
  const items = driftAnchors(anchors.map(({ family, body, ms }) => itemOf(target, family, body, 'anchor', ms)));
  const fitted = new Map(families.map((family) => [family.label, measured.filter((one) => one.family === family && one.errorPct !== null).length]));
  const held = heldOutQueues(target, measured, families, taken);
  for (const { family, body, ms } of between) {
    items.push(itemOf(target, family, body, 'refine', ms));
    fitted.set(family.label, fitted.get(family.label)! + 1);
    const queue = held.get(family.label)!;
    while (queue.have < heldOutCount(family, fitted.get(family.label)!) && queue.items.length > 0) {
      items.push(queue.items.shift()!);
      queue.have++;
    }
  }
  return items;
}

/** Held-out points there are of each family, and further ones. */
function heldOutQueues(target: Target, measured: readonly Measured[], families: readonly Family[], taken: Set<string>): Map<string, { have: number; readonly items: Item[] }> {
  return new Map(
    families.map((family) => {
      const own = measured.filter((one) => one.family === family);
      const fitted = own.filter(({ errorPct }) => errorPct !== null);
      const have = own.length - fitted.length;
      const wanted = heldOutCount(family, 2 * fitted.length) - have;
      return [family.label, { have, items: heldOutOf(target, family, fitted, taken, Math.max(0, wanted)) }];
    }),
  );
}

/** One point for every bad one: halfway in logs to its worst neighbour that leaves something between. */
function bisections(measured: readonly Measured[], taken: Set<string>): { readonly family: Family; readonly body: PointBody; readonly ms: number }[] {
  const fitted = distinctPlaces(measured.filter(({ errorPct }) => errorPct !== null));
  const bad = fitted.filter(({ errorPct }) => errorPct! >= GOOD_PCT).sort((a, b) => b.errorPct! - a.errorPct! || (pointId(a.body) < pointId(b.body) ? -1 : 1));
  return bad.flatMap((one) => {
    const peers = fitted.filter((other) => other !== one && other.family === one.family && other.cell === one.cell);
    const heldOut = measured.filter((other) => other.errorPct === null && other.family === one.family && other.cell === one.cell);
    for (const neighbour of neighbours(one, peers)) {
      const at = one.at.map((value, axis) => middle(value, neighbour.at[axis]!));
      if (peers.some((peer) => same(peer.at, at)) || same(one.at, at) || heldOut.some((other) => !isFar(at, other.at))) continue;
      const built = one.family.refine(one.cell, at);
      if ('refusal' in built || taken.has(pointId(built.body))) continue;
      taken.add(pointId(built.body));
      return [{ family: one.family, body: built.body, ms: Math.sqrt(one.ms * neighbour.ms) }];
    }
    return [];
  });
}

/** The nearest on both sides of every axis, or the nearest of all where no other differs on one axis only; larger errors first. */
function neighbours(one: Measured, peers: readonly Measured[]): Measured[] {
  const found = one.at.flatMap((value, axis) => {
    const line = peers.filter(({ at }) => at.every((coordinate, other) => other === axis || coordinate === one.at[other]));
    const below = line.filter(({ at }) => at[axis]! < value).sort((a, b) => b.at[axis]! - a.at[axis]!);
    const above = line.filter(({ at }) => at[axis]! > value).sort((a, b) => a.at[axis]! - b.at[axis]!);
    return [...below.slice(0, 1), ...above.slice(0, 1)];
  });
  const nearest = [...peers].sort((a, b) => distance(one, a) - distance(one, b)).slice(0, 1);
  return (found.length > 0 ? found : nearest).sort((a, b) => b.errorPct! - a.errorPct!);
}

function distance(a: Measured, b: Measured): number {
  return Math.hypot(...a.at.map((value, axis) => Math.log((1 + value) / (1 + b.at[axis]!))));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, axis) => value === b[axis]);
}

/** Of points at one place (equal and ragged lengths) the worst. */
function distinctPlaces(points: readonly Measured[]): Measured[] {
  const worst = new Map<string, Measured>();
  for (const one of points) {
    const key = JSON.stringify([one.family.label, one.cell, one.at]);
    if ((worst.get(key)?.errorPct ?? -1) < one.errorPct!) worst.set(key, one);
  }
  return [...worst.values()];
}

function readMeasured(file: string, target: Target, families: readonly Family[]): Measured[] {
  const { identities, records } = readNormalised(file);
  const { data: rows, meta } = Papa.parse<Row>(readText(file), { header: true, skipEmptyLines: true });
  if (!(meta.fields ?? []).includes(ERROR_COLUMN)) throw new InputError({ code: 'E-COLUMN', file, line: 1, path: ERROR_COLUMN, what: 'column is absent', hint: "refine a profile that 'dynotwin calibrate fit' wrote" });
  const other = identities.find(({ hardware }) => hardware !== target.gpu.name);
  if (other !== undefined) throw new InputError({ code: 'E-PROFILE-HARDWARE', file, path: '--refine', what: `was measured on ${other.hardware}, not ${target.gpu.name}`, hint: 'refine a profile of the same GPU' });
  const found = records.flatMap(({ record, line }) => measuredOf(record, rows[line - 2]!, target, families));
  if (!found.some(({ body }) => body.kind === 'pass')) {
    throw new InputError({ code: 'E-PROFILE-MODEL', file, path: '--refine', what: `holds no pass of ${target.geometry.name} at tp ${target.tp}, ${target.weights} weights and a ${target.kv} cache`, hint: 'give the model, --tp, --dtype and --kv of the profile' });
  }
  return found;
}

function measuredOf({ point, status, tp, geometry_hash: hash, median_ms: ms }: GpuRecord, row: Row, target: Target, families: readonly Family[]): Measured[] {
  if (point === undefined || status !== 'ok' || ms === null || point.of !== undefined) return [];
  const { weights, kv, geometry } = target;
  if (point.kind === 'pass' && (tp !== target.tp || hash !== geometryHash(geometry) || row.weights !== weights || row.kv_cache !== kv)) return [];
  const { pid: _pid, split, est_s: _est, ...rest } = point;
  const body = rest as PointBody;
  const place = coordinatesOfSequences(body) ?? coordinatesOfOperator(body);
  const family = place && families.find(({ name }) => name === place.name);
  if (!place || !family || !belongs(body, family, place, target)) return [];
  const error = row[ERROR_COLUMN];
  if (split !== 'holdout' && error === '') return [];
  return [{ family, cell: place.cell, at: place.at, body, split, ms, errorPct: split === 'holdout' ? null : Math.abs(Number(error)) }];
}

/** Whether an operator has the shape of the target's share. */
function belongs(body: PointBody, family: Family, { cell, at }: { readonly cell: string; readonly at: readonly number[] }, { attention }: Target): boolean {
  if (body.kind === 'pass') return true;
  if (body.kind === 'attn_ctx' || body.kind === 'attn_gen') return body.heads === attention.heads && body.kv_heads === attention.kv_heads && body.head_dim === attention.head_dim && body.kv === attention.kv;
  const own = family.refine(cell, at);
  return 'body' in own && pointId(own.body) === pointId(body);
}
