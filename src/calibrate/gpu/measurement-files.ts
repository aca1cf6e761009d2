import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../core/problem.js';
import { loadSchema, pointSchema, type LoadModel, type Point } from './points.js';
import { capabilitiesSchema, readySchema, recordSchema, type GpuRecord, type ModelReady } from './records.js';
import { WIRE_VERSION } from './wire.js';

/** Files of measurements as a worker or `calibrate run` writes them: NAME.jsonl and, beyond 14 MB, NAME.1.jsonl, NAME.2.jsonl, … */

export const MEASUREMENTS_FILE = 'measurements.jsonl';

const version = { v: z.literal(WIRE_VERSION) };
const headSchema = capabilitiesSchema.extend({ ...version, type: z.literal('capabilities'), plan_hash: z.string(), hardware: z.string(), t_utc: z.string() });
/** First line of every file: what measured, which plan, since when. */
export type MeasurementHead = z.infer<typeof headSchema>;

const endSchema = z.strictObject({ ...version, type: z.literal('end'), reason: z.enum(['complete', 'budget', 'signal']), left: z.number().int().min(0) });
export type MeasurementEnd = Pick<z.infer<typeof endSchema>, 'reason' | 'left'>;

const lineSchema = z.discriminatedUnion('type', [
  headSchema,
  readySchema.extend({ ...version, type: z.literal('model_ready'), load: loadSchema }),
  recordSchema.extend({ ...version, type: z.literal('result'), point: pointSchema }),
  endSchema,
]);
/** A line of such a file; `v` is added by the writer. */
export type MeasurementLine = z.infer<typeof lineSchema>;

/** A record as files have it. */
export type PointRecord = GpuRecord & { readonly point: Point };

interface Place {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
}

export interface MeasurementFiles {
  readonly files: readonly string[];
  readonly head: MeasurementHead;
  /** Each model once, as loaded last. */
  readonly models: readonly (Place & { readonly load: LoadModel; readonly ready: ModelReady })[];
  /** The last record of every point of a tensor-parallel degree, in the order first measured. */
  readonly records: readonly (Place & { readonly record: PointRecord })[];
  /** `recordKey` of points that were once flagged `drift`. */
  readonly drifted: ReadonlySet<string>;
  /** How the last run ended; null = it was cut off. */
  readonly end: MeasurementEnd | null;
  /** SHA-256 (hex) of the files' bytes. */
  readonly sha256: string;
}

/** Name of a point's record: passes of one shape are measured at several tensor-parallel degrees. */
export function recordKey(tp: number | null, pid: string): string {
  return `${tp ?? '-'} ${pid}`;
}

/** NAME.k.jsonl of NAME.jsonl; itself for 0. */
export function rotatedFile(path: string, part: number): string {
  return part === 0 ? path : path.replace(/(\.[^./]*)?$/, `.${part}$1`);
}

/** A file of measurements and its rotations that exist, in order; [] when there is none. `path` may be a folder that holds measurements.jsonl. */
export function measurementPaths(path: string): string[] {
  const first = existsSync(path) && statSync(path).isDirectory() ? join(path, MEASUREMENTS_FILE) : path;
  const paths: string[] = [];
  while (existsSync(rotatedFile(first, paths.length))) paths.push(rotatedFile(first, paths.length));
  return paths;
}

/**
 * Reads a file of measurements with its rotations. The last line of the last file may be torn. Throws `InputError` with file and line:
 * `E-FILE`, `E-SYNTAX` (no JSON, no line of measurements), `E-MIXED` (rotations of different plans or GPUs).
 */
export function readMeasurementFiles(path: string): MeasurementFiles {
  const files = measurementPaths(path);
  if (files.length === 0) throw new InputError({ code: 'E-FILE', file: path, what: 'holds no measurements', hint: `give a measurements file of a worker, or a folder with ${MEASUREMENTS_FILE}` });
  const reader = new Reader();
  const hash = createHash('sha256');
  files.forEach((file, part) => {
    const text = readFileSync(file);
    hash.update(text);
    reader.read(file, text.toString('utf8'), part === files.length - 1);
  });
  return reader.result(files, hash.digest('hex'));
}

/** What measurements that go into one file have in common. */
const IDENTITY: Readonly<Record<string, (head: MeasurementIdentity) => string>> = {
  plan_hash: ({ plan_hash }) => plan_hash,
  'gpu.name': ({ gpu }) => gpu.name,
  'gpu.driver': ({ gpu }) => gpu.driver,
  'gpu.cuda': ({ gpu }) => gpu.cuda,
  'software.torch': ({ software }) => software.torch,
  'software.triton': ({ software }) => software.triton,
  worker: ({ worker }) => worker,
};
type MeasurementIdentity = Pick<MeasurementHead, 'plan_hash' | 'gpu' | 'software' | 'worker'>;

/** The first field in which two heads are not of one run; null = they are. */
export function headDifference(before: MeasurementIdentity, head: MeasurementIdentity): { readonly path: string; readonly before: string; readonly found: string } | null {
  const other = Object.entries(IDENTITY).find(([, of]) => of(before) !== of(head));
  return other === undefined ? null : { path: other[0], before: other[1](before), found: other[1](head) };
}

class Reader {
  #head: MeasurementHead | null = null;
  readonly #models = new Map<string, MeasurementFiles['models'][number]>();
  readonly #records = new Map<string, Place & { readonly record: PointRecord }>();
  readonly #drifted = new Set<string>();
  #end: MeasurementEnd | null = null;

  read(file: string, text: string, last: boolean): void {
    const lines = text.split('\n');
    lines.forEach((line, index) => {
      const place = { file, line: index + 1 };
      if (line === '' && index === lines.length - 1) return;
      if (last && index === lines.length - 1 && !isJson(line)) return;
      this.#take(parseOrRefuse(line, place), place);
    });
  }

  result(files: readonly string[], sha256: string): MeasurementFiles {
    if (this.#head === null) throw new InputError({ code: 'E-SYNTAX', file: files[0]!, line: 1, what: 'the capabilities line is missing', hint: 'a file of measurements starts with it' });
    return {
      files,
      head: this.#head,
      models: [...this.#models.values()],
      records: [...this.#records.values()],
      drifted: this.#drifted,
      end: this.#end,
      sha256,
    };
  }

  #take(message: MeasurementLine, place: Place): void {
    if ((message.type === 'capabilities') !== (place.line === 1)) {
      throw new InputError({ code: 'E-SYNTAX', ...place, path: 'type', what: `'${message.type}' does not belong on this line`, hint: 'a file of measurements has its capabilities line first, and once' });
    }
    this.#end = null;
    switch (message.type) {
      case 'capabilities':
        return this.#takeHead(message, place);
      case 'model_ready': {
        const { v: _v, type: _type, load, ...ready } = message;
        this.#models.set(JSON.stringify(load), { ...place, load, ready });
        return;
      }
      case 'result': {
        const { v: _v, type: _type, ...record } = message;
        const key = recordKey(record.tp, record.pid);
        if (record.flags.includes('drift')) this.#drifted.add(key);
        this.#records.set(key, { ...place, record });
        return;
      }
      case 'end':
        this.#end = { reason: message.reason, left: message.left };
    }
  }

  #takeHead(head: MeasurementHead, place: Place): void {
    const before = this.#head;
    const other = before === null ? null : headDifference(before, head);
    if (other !== null) throw new InputError({ code: 'E-MIXED', ...place, path: other.path, what: `is ${other.found}, in the file before ${other.before}`, hint: 'keep the rotations of one run only in a folder' });
    this.#head ??= head;
  }
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function parseOrRefuse(line: string, place: Place): MeasurementLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError({ code: 'E-SYNTAX', ...place, what: `the line is not valid JSON (${reason})`, hint: 'only the last line may be torn; remove this one if its measurement can be missed' });
  }
  const parsed = lineSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new InputError({ code: 'E-SYNTAX', ...place, path: path.join('.'), what: `is no line of measurements: ${message}`, hint: 'give a file that a dynotwin worker wrote' });
}
