import { InputError } from '../../core/problem.js';
import { findHardware, hardwareNames } from '../../timing/catalogue.js';
import { Identities, lastOfEach, type MeasuredModel, type MeasuredRecord, type MeasurementIdentity, type Measurements } from '../gpu/measurements.js';
import { pointId, type MatrixType, type Point } from '../gpu/points.js';
import type { GpuRecord } from '../gpu/records.js';
import { holdOut } from './split.js';

/** What importers share: what the user says beside the source, what they count, and the records they make. */

/** What a source may leave unsaid. */
export interface ImportOptions {
  readonly model?: string;
  readonly hardware?: string;
  readonly tp?: number;
  readonly engine?: string;
  readonly engineVersion?: string;
  readonly dtype?: MatrixType;
  readonly kv?: 'bf16' | 'fp8';
  /** The engine ran without overlapping its passes. */
  readonly overlapOff?: boolean;
}

/** Measured operators and passes, to be fitted. */
export interface ImportedRecords {
  readonly shape: 'records';
  readonly measurements: Measurements;
}

/** A target to validate against: one statistic of one metric of one run. Times in ms, rates per s. Null = not known. */
export interface ServingRow {
  readonly source: string;
  readonly model: string | null;
  readonly isl: number | null;
  readonly osl: number | null;
  readonly concurrency: number | null;
  readonly request_rate: number | null;
  readonly metric: string;
  readonly stat: string;
  readonly value: number;
  readonly unit: string;
}

/** Timing of a request inside a frontend, ms. Null = not recorded. */
export interface RequestTiming {
  readonly source: string;
  readonly request_id: string;
  readonly model: string | null;
  readonly input_tokens: number | null;
  readonly output_tokens: number | null;
  readonly prefill_wait_ms: number | null;
  readonly prefill_ms: number | null;
  readonly ttft_ms: number | null;
  readonly total_ms: number | null;
  readonly kv_hit_rate: number | null;
  /** Time to first token less waiting and prefill. */
  readonly frontend_ms: number | null;
}

/** A measured transfer; null = not known. */
export interface LinkRow {
  readonly name: string;
  /** Of the whole transfer. */
  readonly bytes: number | null;
  readonly time_us: number | null;
  readonly gb_per_s: number | null;
  readonly bidirectional: boolean;
  /** Pieces the bytes were in. */
  readonly blocks: number;
  readonly source: string;
}

export type Imported =
  | ImportedRecords
  | { readonly shape: 'serving'; readonly rows: readonly ServingRow[] }
  | { readonly shape: 'requests'; readonly rows: readonly RequestTiming[] }
  | { readonly shape: 'links'; readonly rows: readonly LinkRow[] };

/** Rows that were left out by reason, and warnings. */
export class Tally {
  private readonly reasons = new Map<string, number>();
  private readonly told = new Set<string>();

  drop(why: string, rows: number = 1): void {
    if (rows > 0) this.reasons.set(why, (this.reasons.get(why) ?? 0) + rows);
  }

  warn(text: string): void {
    this.told.add(text);
  }

  /** Most frequent first. */
  get dropped(): readonly { readonly why: string; readonly rows: number }[] {
    return [...this.reasons].map(([why, rows]) => ({ why, rows })).sort((a, b) => b.rows - a.rows || (a.why < b.why ? -1 : 1));
  }

  get warnings(): readonly string[] {
    return [...this.told];
  }
}

/** An importer of one kind: reads a file or folder. Throws `InputError`. */
export type Importer = (source: string, options: ImportOptions, tally: Tally) => Promise<Imported>;

/**
 * What the source says, else what the option says. Throws `E-MISSING` where neither does, naming the option, and `E-CONFLICT` where
 * they differ.
 */
export function said<T extends string | number>(fromSource: T | null | undefined, fromOption: T | undefined, option: string, what: string, file: string): T {
  if (fromSource !== null && fromSource !== undefined && fromSource !== '') {
    if (fromOption !== undefined && fromOption !== fromSource) throw new InputError({ code: 'E-CONFLICT', file, path: option, what: `the source says ${what} '${fromSource}', the option '${fromOption}'`, hint: `leave ${option} out` });
    return fromSource;
  }
  if (fromOption === undefined) throw new InputError({ code: 'E-MISSING', file, path: option, what: `the source does not say ${what}`, hint: `add ${option}` });
  return fromOption;
}

/** `said` of hardware, which must be in the catalogue. Throws `E-ENUM` beside. */
export function saidHardware(fromSource: string | null, options: ImportOptions, file: string): string {
  const name = said(fromSource, options.hardware, '--hardware', 'the hardware', file);
  if (findHardware(name) === null) throw new InputError({ code: 'E-ENUM', file, path: '--hardware', what: `hardware '${name}' is not in the catalogue`, hint: `use one of ${hardwareNames().join(', ')}` });
  return name;
}

/** An identity of which only some parts are known. */
export function importIdentity(known: Pick<MeasurementIdentity, 'source' | 'hardware' | 'engine'> & Partial<MeasurementIdentity>): MeasurementIdentity {
  return { kind: 'import', worker: null, gpu: null, driver: null, cuda: null, torch: null, triton: null, model: null, planHash: null, ...known };
}

type Bare<T> = T extends unknown ? Omit<T, 'pid' | 'split' | 'est_s'> : never;
/** A point without its name, split and expected time. */
export type BarePoint = Bare<Point>;

/** What is known of a time: repeats and their scatter, what ran, on how many GPUs. */
export type Timed = Pick<GpuRecord, 'median_ms'> & Partial<GpuRecord>;

/** The record of a point that another program measured; est_s is its median (imports are never run). */
export function importRecord(bare: BarePoint, { median_ms, ...known }: Timed): GpuRecord {
  const pid = pointId(bare);
  const split = 'grid' as const;
  return {
    pid, kind: bare.kind, split, status: 'ok', point: { ...bare, pid, split, est_s: median_ms! / 1000 } as Point, mode: bare.mode, n: 1, median_ms, mad_ms: null, ci_rel: null, wall_ms: null, issue_ms: null,
    kernel: null, dtype: null, tp: null, geometry_hash: null, distinct_layers: null, clock_mhz: null, power_w: null, temp_c: null, power_capped: null, flags: [], t_utc: null, ...known,
  };
}

/** Gathers records, their identities and models; `finish` holds out about a fifth of each family (`holdOut`). Throws `E-ROW` when nothing is left. */
export class RecordBuilder {
  readonly identities = new Identities();
  private readonly models = new Map<string, MeasuredModel>();
  private readonly records: MeasuredRecord[] = [];

  add(record: GpuRecord, identity: MeasurementIdentity, file: string, line: number, model: Pick<MeasuredModel, 'geometryHash' | 'geometry' | 'tp' | 'dtype'> | null = null): void {
    const at = this.identities.index(identity, file, line);
    this.records.push({ record, identity: at, file, line });
    if (model === null) return;
    const key = `${at} ${model.geometryHash} ${model.tp} ${model.dtype.weights} ${model.dtype.kv}`;
    if (!this.models.has(key)) this.models.set(key, { ...model, load: null, ready: null, identity: at, file, line });
  }

  /** @param source named where nothing is left */
  finish(source: string, tally: Tally): ImportedRecords {
    const reasons = tally.dropped.slice(0, 5).map(({ why, rows }) => `${rows} × ${why}`);
    if (this.records.length === 0) throw new InputError({ code: 'E-ROW', file: source, what: `holds no usable row${reasons.length > 0 ? `: ${reasons.join('; ')}` : ''}`, hint: 'give a source with measurements of the kinds that are read' });
    const kept = lastOfEach(this.records);
    return { shape: 'records', measurements: { identities: this.identities.list, models: [...this.models.values()], records: holdOut(kept, (identity) => this.identities.list[identity]!.source === 'fpm-log') } };
  }
}
