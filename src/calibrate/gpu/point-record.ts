import type { PointRecord } from './measurement-files.js';
import { passMetrics } from './pass-metrics.js';
import { geometryHash, type LoadModel, type Point } from './points.js';
import type { GpuRecord } from './records.js';
import type { ReplyOf } from './wire.js';

/** How points end that were not measured, by the code of the worker's error; other codes are no end of a point. */
const STATUS: Partial<Record<ReplyOf<'error'>['code'], GpuRecord['status']>> = {
  oom: 'oom', unsupported_kind: 'unsupported', unsupported_dtype: 'unsupported', throttled: 'throttled', noisy: 'noisy',
};

/** Now, as ISO 8601 in whole seconds. */
export function utcText(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

/** Status of a point that ended in an error of this code; null = the code says nothing of the point. */
export function statusOf(code: ReplyOf<'error'>['code']): GpuRecord['status'] | null {
  return STATUS[code] ?? null;
}

/** A worker's record with what files have beside: the point, the model it ran on, what a scheduler would say of a pass. */
export function withPoint(record: GpuRecord, point: Point, load: LoadModel | null): PointRecord {
  return {
    ...record,
    point,
    tp: load?.shard.tp ?? null,
    geometry_hash: load === null ? null : geometryHash(load.model),
    ...(point.kind === 'pass' ? passMetrics(point.seqs, record.wall_ms) : {}),
  };
}

/** The record of a point without times. */
export function failedRecord(point: Point, load: LoadModel | null, status: GpuRecord['status'], flags: readonly string[]): PointRecord {
  const { pid, kind, split, mode } = point;
  const none = { median_ms: null, mad_ms: null, ci_rel: null, wall_ms: null, issue_ms: null, kernel: null, distinct_layers: null, clock_mhz: null, power_w: null, temp_c: null, power_capped: null };
  const dtype = point.kind === 'pass' ? (load?.dtype.weights ?? null) : 'dtype' in point ? point.dtype : 'kv' in point ? point.kv : 'bf16';
  return withPoint({ pid, kind, split, status, mode, n: 0, ...none, dtype, tp: null, geometry_hash: null, flags: [...flags], t_utc: utcText() }, point, load);
}
