import type { Point } from './points.js';
import type { GpuRecord } from './records.js';

/** A repeated anchor further than this from its first median shows drift. */
const DRIFT_RATIO = 0.03;

/**
 * Which points of one model to measure once more: those since an anchor last gave its first time. Anchors are points that others repeat;
 * they themselves are not measured again. Source: spec calibration 5.5.
 */
export class DriftWatch {
  readonly #anchors: ReadonlySet<string>;
  readonly #first = new Map<string, number>();
  /** By anchor: points since it last gave its first time. */
  readonly #since = new Map<string, Point[]>();

  /** @param points of the whole plan */
  constructor(points: readonly Point[]) {
    this.#anchors = new Set(points.flatMap(({ of }) => (of === undefined ? [] : [of])));
  }

  /** Points to measure once more now that `point` gave this record. */
  after(point: Point, { status, median_ms: median }: Pick<GpuRecord, 'status' | 'median_ms'>): readonly Point[] {
    if (status !== 'ok' || median === null) return [];
    if (this.#anchors.has(point.pid)) {
      this.#first.set(point.pid, median);
      this.#since.set(point.pid, []);
    } else if (point.of === undefined) {
      for (const points of this.#since.values()) points.push(point);
    }
    const first = point.of === undefined ? undefined : this.#first.get(point.of);
    if (first === undefined) return [];
    const points = this.#since.get(point.of!)!;
    this.#since.set(point.of!, []);
    return Math.abs(median / first - 1) > DRIFT_RATIO ? points : [];
  }
}
