import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Papa from 'papaparse';
import { z } from 'zod';
import { InputError } from '../core/problem.js';
import type { Report } from '../metrics/report.js';
import type { RunSeries } from '../sweep/result.js';
import type { SweepDocument } from './document.js';
import { parseTimelineCsv } from './timeline-csv.js';

export interface RunArtefacts {
  readonly report: Report;
  readonly series: RunSeries;
}

/** What a folder holds: one run, or a sweep with its first recommendation's run where there is one. */
export type Artefacts = ({ readonly kind: 'run' } & RunArtefacts) | { readonly kind: 'sweep'; readonly document: SweepDocument; readonly winner: RunArtefacts | null };

/**
 * Reads the folder of a run (report.json, requests.csv or .jsonl, timeline.csv) or of a sweep or
 * plan (sweep.json, winner.json). Samples and timeline of a run are optional; `readSweep` turns the text of a sound sweep.json into its document. Errors: `E-FILE`
 * unreadable or damaged, `E-KIND` not such a folder.
 */
export function loadArtefacts(folder: string, readSweep: (text: string, file: string) => SweepDocument): Artefacts {
  if (!existsSync(folder)) throw new InputError({ code: 'E-FILE', file: folder, what: 'no such folder', hint: "give a folder that 'run', 'sweep' or 'plan' wrote, such as out/quickstart" });
  if (!statSync(folder).isDirectory()) throw new InputError({ code: 'E-FILE', file: folder, what: 'not a folder', hint: 'give the folder the file lies in' });
  if (existsSync(join(folder, 'sweep.json'))) {
    const path = join(folder, 'sweep.json');
    const { text } = readJson(path, 'dynotwin.sweep/1', sweepSchema);
    return { kind: 'sweep', document: readSweep(text, path), winner: loadWinner(folder) };
  }
  if (existsSync(join(folder, 'report.json'))) return { kind: 'run', ...loadRun(folder) };
  throw new InputError({ code: 'E-KIND', file: folder, what: 'holds neither sweep.json nor report.json', hint: "give a folder that 'run', 'sweep' or 'plan' wrote" });
}

function loadWinner(folder: string): RunArtefacts | null {
  const path = join(folder, 'winner.json');
  return existsSync(path) ? (readJson(path, 'dynotwin.winner/1', winnerSchema).value as RunArtefacts) : null;
}

function loadRun(folder: string): RunArtefacts {
  const report = readJson(join(folder, 'report.json'), 'dynotwin.report/1', reportSchema).value as Report;
  return { report, series: { ...loadSamples(folder), timeline: loadTimeline(folder) } };
}

function loadSamples(folder: string): Pick<RunSeries, 'ttftMs' | 'tpotMs'> {
  const rows = requestRows(folder).filter((row) => row.status === 'completed');
  const column = (name: string): number[] => rows.map((row) => row[name]).filter((value) => typeof value === 'number' && Number.isFinite(value)) as number[];
  return { ttftMs: column('ttft_ms'), tpotMs: column('tpot_ms') };
}

function requestRows(folder: string): Record<string, unknown>[] {
  const csv = join(folder, 'requests.csv');
  if (existsSync(csv)) {
    const { data, meta } = Papa.parse<Record<string, unknown>>(readFileSync(csv, 'utf8'), { header: true, dynamicTyping: true, skipEmptyLines: true });
    const absent = ['status', 'ttft_ms', 'tpot_ms'].filter((name) => !meta.fields?.includes(name));
    if (absent.length > 0) throw damaged(csv, `column ${absent.join(', ')} is missing`, 1);
    return data;
  }
  const jsonl = join(folder, 'requests.jsonl');
  if (!existsSync(jsonl)) return [];
  return readFileSync(jsonl, 'utf8').split('\n').flatMap((line, i) => {
    if (line === '') return [];
    const row = parseJson(line);
    if (row === null || typeof row !== 'object') throw damaged(jsonl, 'not a JSON object', i + 1);
    return [row as Record<string, unknown>];
  });
}

function loadTimeline(folder: string): RunSeries['timeline'] {
  const path = join(folder, 'timeline.csv');
  if (!existsSync(path)) return null;
  const timeline = parseTimelineCsv(readFileSync(path, 'utf8'));
  if (timeline === null) throw damaged(path, 'not a timeline of start_ms, end_ms, arrivals, first_tokens, ends, output_tokens, in_system', 1);
  return timeline;
}

function readJson(path: string, wanted: string, schema: z.ZodType): { readonly text: string; readonly value: unknown } {
  const text = readFileSync(path, 'utf8');
  const value = parseJson(text);
  if (value === undefined) throw damaged(path, 'not JSON');
  const name = value !== null && typeof value === 'object' && 'schema' in value ? value.schema : undefined;
  if (name !== wanted) throw new InputError({ code: 'E-KIND', file: path, path: 'schema', what: `${JSON.stringify(name) ?? 'nothing'} is not '${wanted}'`, hint: 'write the folder again with this version' });
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new InputError({ ...damaged(path, parsed.error.issues[0]!.message).problems[0]!, path: parsed.error.issues[0]!.path.join('.') });
  return { text, value };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(file: string, what: string, line?: number): InputError {
  return new InputError({ code: 'E-FILE', file, ...(line === undefined ? {} : { line, col: 1 }), what, hint: 'the file is damaged; run the scenario again' });
}

const figure = z.number().nullable();
const text = z.string();

const candidateSchema = z.looseObject({
  id: text, dimensions: z.record(text, z.unknown()), status: text, reason: text, metrics: z.record(text, figure), feasible: z.boolean(),
  margins: z.array(z.looseObject({ constraint: text, margin: figure, met: z.boolean(), value: figure, bound: figure })), on_front: z.boolean(), tied_with: z.array(text).optional(), rank: z.number(),
});

const sideSchema = z.looseObject({ terms: z.array(z.looseObject({ metric: text, factor: z.number() })), constant: z.number() });

/** The parts of sweep.json that are drawn; others pass. */
const sweepSchema = z.looseObject({
  name: text, search: z.looseObject({ method: text }),
  counts: z.looseObject({ product: z.number(), merged: z.number(), illegal: z.number(), toRun: z.number() }),
  illegal: z.array(z.looseObject({ dimensions: z.record(text, z.unknown()), reason: text })),
  objectives: z.array(z.looseObject({ direction: z.enum(['max', 'min']), metric: text })),
  constraints: z.array(z.discriminatedUnion('kind', [
    z.looseObject({ kind: z.literal('slo'), text }),
    z.looseObject({ kind: z.literal('compare'), text, op: z.enum(['<=', '>=', '<', '>', '==']), left: sideSchema, right: sideSchema }),
  ])),
  candidates: z.array(candidateSchema), front: z.array(text), nearest_misses: z.array(text),
  recommendations: z.array(z.looseObject({ id: text, label: text, reasons: z.array(text), tied_with: z.array(text), advice: z.looseObject({ sentences: z.array(text) }).optional() })),
  binding_constraint: text.nullable(),
});

const latencySchema = z.looseObject({ mean: figure, p50: figure, p75: figure, p90: figure, p95: figure, p99: figure, max: figure, count: z.number() });
const replicaSchema = z.looseObject({ start: z.number(), min: z.number(), max: z.number(), end: z.number() });

/** The parts of report.json that are drawn; others pass. */
const reportSchema = z.looseObject({
  scenario: z.looseObject({ name: text, sha256: text, fidelity: text, seed: z.number() }),
  timing: z.array(z.looseObject({ pool: text, source: text, calibration: text, error_pct: z.looseObject({ ttft: figure, tpot: figure }), extrapolated_passes: figure })),
  requests: z.record(text, z.number()),
  duration_ms: z.number(),
  latency: z.looseObject({ ttft_ms: latencySchema, ttst_ms: latencySchema, tpot_ms: latencySchema, itl_ms: latencySchema, e2e_ms: latencySchema, queue_ms: latencySchema }),
  throughput: z.looseObject({ requests_s: z.number(), tok_s_per_gpu: z.number(), tok_s_per_user: figure }),
  goodput: z.looseObject({ ratio: z.number() }).optional(),
  slo: z.looseObject({ met: z.boolean(), at: text, margins: z.record(text, figure) }).optional(),
  cache: z.looseObject({ prefix_hit_ratio: z.number() }),
  load: z.looseObject({ ratio: z.number(), kv_peak_ratio: figure, preemptions: figure }),
  gpu: z.looseObject({ peak: z.number() }),
  cost: z.looseObject({ currency: text, total: z.number() }).optional(),
  pools: z.array(z.looseObject({ name: text, role: text, shape: text, replicas: replicaSchema, gpus_per_worker: z.number(), kv_blocks: z.number(), busy_ratio: z.number(), saturation: z.number().optional() })),
  warnings: z.array(z.looseObject({ code: text, path: text.optional(), message: text })),
});

const counts = z.array(z.number());
const winnerSchema = z.looseObject({
  report: reportSchema,
  series: z.looseObject({
    ttftMs: counts,
    tpotMs: counts,
    timeline: z.looseObject({ intervalMs: z.number(), arrivals: counts, firstTokens: counts, ends: counts, outputTokens: counts, inSystem: counts }).nullable(),
  }),
});
