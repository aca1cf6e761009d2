import { z } from 'zod';
import type { Geometry, LoadModel } from './points.js';
import type { GpuRecord, ModelReady } from './records.js';

/** Measurements in memory, whatever file they came from: a worker's JSONL or the normalised CSV of imports. */

/** Where measurements come from: `worker`, or the importer that read them. */
export const MEASUREMENT_SOURCES = ['worker', 'aic-tables', 'aic-fpm', 'fpm-log', 'vidur'] as const;

const text = z.string().min(1).nullable();

/** What measured: those of one fit must agree. Text that a source does not say is null. */
export const identitySchema = z.strictObject({
  source: z.enum(MEASUREMENT_SOURCES),
  /** `fake`: a stand-in computed the times; `import`: another program measured them. */
  kind: z.enum(['cuda', 'fake', 'import']),
  /** Name and version of the worker, such as `dynotwin-worker 1`. */
  worker: text,
  /** GPU as the driver names it, such as `NVIDIA H200`. */
  gpu: text,
  driver: text,
  cuda: text,
  torch: text,
  triton: text,
  /** Name of the hardware in the catalogue, such as `h200_sxm`. */
  hardware: z.string().min(1),
  /** Null: operators of no particular model. */
  model: text,
  /** Whose kernels ran; `dynotwin-worker` for the worker's own. */
  engine: z.strictObject({ name: z.string().min(1), version: z.string().min(1) }),
  planHash: text,
});
export type MeasurementIdentity = Readonly<z.infer<typeof identitySchema>>;

/** Where something stands; `line` is 1-based. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

/** A record, where it stands, and the index of what measured it. */
export interface MeasuredRecord extends Place {
  readonly record: GpuRecord;
  readonly identity: number;
}

/** A model that passes ran on: its geometry, tensor-parallel degree and precisions. `load`, `ready`: what the worker was told and answered; null for imports. */
export interface MeasuredModel extends Place {
  readonly geometryHash: string;
  readonly geometry: Geometry;
  readonly tp: number;
  readonly dtype: LoadModel['dtype'];
  readonly load: LoadModel | null;
  readonly ready: ModelReady | null;
  readonly identity: number;
}

/** Everything in some files. */
export interface Measurements {
  /** Distinct, in the order first seen, with the place where. */
  readonly identities: readonly (MeasurementIdentity & Place)[];
  readonly models: readonly MeasuredModel[];
  /** The last record of every pid of an identity and model (see `lastOfEach`). */
  readonly records: readonly MeasuredRecord[];
}

/** Gathers distinct identities. */
export class Identities {
  readonly list: (MeasurementIdentity & Place)[] = [];
  private readonly known = new Map<string, number>();

  /** Index of `identity` in `list`, where it is added with its place unless it is there. */
  index(identity: MeasurementIdentity, file: string, line: number): number {
    const { source, kind, worker, gpu, driver, cuda, torch, triton, hardware, model, engine, planHash } = identity;
    const key = JSON.stringify([source, kind, worker, gpu, driver, cuda, torch, triton, hardware, model, engine.name, engine.version, planHash]);
    let at = this.known.get(key);
    if (at === undefined) this.known.set(key, (at = this.list.push({ ...identity, file, line }) - 1));
    return at;
  }
}

/** The last record of every pid of an identity and model, in the order of those last ones: points are measured again after a drift. */
export function lastOfEach(records: readonly MeasuredRecord[]): MeasuredRecord[] {
  const last = new Map<string, MeasuredRecord>();
  for (const one of records) {
    const key = `${one.identity} ${one.record.geometry_hash} ${one.record.tp} ${one.record.pid}`;
    last.delete(key);
    last.set(key, one);
  }
  return [...last.values()];
}
