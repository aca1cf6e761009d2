import { z } from 'zod';
import { InputError } from '../../core/problem.js';
import type { Sequences } from '../gpu/points.js';
import { importIdentity, RecordBuilder, said, saidHardware, type Imported, type ImportOptions, type Tally } from './imported.js';
import { jsonLines, jsonlFiles, type JsonLine } from './lines.js';
import { passPoint, passRecord, type ObservedPass } from './passes.js';
import { decodeSequences, prefillSequences } from './sequences.js';
import { shardOf } from './shard.js';

/** Forward-pass metrics that Dynamo's workers log (`DYN_FPM_TRACE=1`, `DYN_FPM_MODE=full`). */

/** First passes of a worker after each start: compiling, capturing, cold caches. */
const WARM_UP = 50;
/** Share of shapes seen more than once whose slowest pass takes this many times the quickest: then passes were merged. */
const MERGED = { share: 0.05, ratio: 2 };

const whole = z.number().int().min(0);
const scheduledSchema = z.looseObject({
  num_prefill_requests: whole.default(0),
  sum_prefill_tokens: whole.default(0),
  sum_prefill_kv_tokens: whole.default(0),
  var_prefill_length: z.number().min(0).default(0),
  num_decode_requests: whole.default(0),
  sum_decode_kv_tokens: whole.default(0),
  var_decode_kv_tokens: z.number().min(0).default(0),
  extend_lengths: z.array(whole).nullish(),
  past_kv_lengths: z.array(whole).nullish(),
});
type Scheduled = z.infer<typeof scheduledSchema>;
const metricsSchema = z.looseObject({ worker_id: z.union([z.string(), z.number()]), dp_rank: whole.default(0), counter_id: whole, wall_time: z.number().nullable() });

/** One rank's part of a pass. */
interface Logged {
  readonly worker: string;
  /** How often the worker was started anew before: it keeps its name and counts from 0 again. */
  readonly epoch: number;
  readonly rank: number;
  readonly counter: number;
  readonly seconds: number;
  readonly scheduled: Scheduled;
  /** Ranks with work in the pass. */
  readonly ranks: number;
  readonly file: string;
  readonly line: number;
}

/** Passes of the same sequences. */
interface Shape {
  readonly pass: ObservedPass;
  readonly point: NonNullable<ReturnType<typeof passPoint>>;
  readonly ms: number[];
  readonly flags: Set<string>;
  /** The first of them. */
  readonly at: Logged;
}

/**
 * Reads a log, or the `.jsonl[.gz]` files of a folder; lines are metrics or `{"event": {"fpm": …}}`, other events count as left out. A pass is a
 * worker's `counter_id`, as its slowest rank ran it; where a rank repeats one, the worker was started anew. Exact sequences where
 * `extend_lengths` and `past_kv_lengths` exist, else some with the logged sums and variances (flag `synthesised_sequences`). Equal passes are one
 * record. Throws `E-MISSING` for what a log never says (model, hardware, tp, engine), for SGLang without `--overlap-off`, `E-ROW` where passes
 * were merged all the same, `E-SYNTAX` with file and line.
 */
export async function importFpmLog(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const model = said(null, options.model, '--model', 'the model', source);
  const shard = shardOf(model, said(null, options.tp, '--tp', 'the tensor-parallel degree', source), options.dtype, options.kv);
  const engine = { name: said(null, options.engine, '--engine', 'the engine', source), version: said(null, options.engineVersion, '--engine-version', "the engine's version", source) };
  const identity = importIdentity({ source: 'fpm-log', hardware: saidHardware(null, options, source), model, engine });
  if (engine.name === 'sglang' && options.overlapOff !== true) {
    throw new InputError({ code: 'E-MISSING', file: source, path: '--overlap-off', what: 'SGLang times two passes as one while it overlaps them', hint: 'log with its overlap schedule disabled and add --overlap-off' });
  }
  if (engine.name !== 'sglang' && options.overlapOff === true) throw new InputError({ code: 'E-NO-EFFECT', file: source, path: '--overlap-off', what: `is about SGLang, not ${engine.name}`, hint: 'leave it out' });
  const shapes = new Map<string, Shape>();
  for (const logged of warmPasses(await slowestRanks(source, tally), tally)) {
    const pass = sequencesOf(logged);
    const point = typeof pass === 'string' ? null : passPoint(pass, engine.name);
    if (typeof pass === 'string' || point === null) {
      tally.drop(typeof pass === 'string' ? pass : 'more sequences than a point takes');
      continue;
    }
    const key = JSON.stringify(point);
    const shape = shapes.get(key) ?? { pass, point, ms: [], flags: new Set(), at: logged };
    shape.ms.push(logged.seconds * 1000);
    for (const flag of pass.flags) shape.flags.add(flag);
    shapes.set(key, shape);
  }
  if (engine.name === 'sglang') checkMerged(source, [...shapes.values()].map(({ ms }) => ms));
  const builder = new RecordBuilder();
  for (const { pass, point, ms, flags, at } of shapes.values()) builder.add(passRecord(point, { ...pass, ms, flags: [...flags] }, engine.name, shard), identity, at.file, at.line, shard);
  return builder.finish(source, tally);
}

/** By worker and rank: how often it was started anew, and the passes seen since. */
type Starts = Map<string, { readonly epoch: number; readonly counters: Set<number> }>;

/** Of every pass the rank that took longest. */
async function slowestRanks(source: string, tally: Tally): Promise<Logged[]> {
  const passes = new Map<string, Logged>();
  const starts: Starts = new Map();
  for await (const line of jsonLines(jsonlFiles(source), () => tally.drop('last line, cut off'))) {
    const found = loggedOf(line);
    if (typeof found === 'string') {
      tally.drop(found);
      continue;
    }
    const logged = { ...found, epoch: epochOf(starts, found) };
    const key = `${logged.worker} ${logged.epoch} ${logged.counter}`;
    const before = passes.get(key);
    if (before === undefined) passes.set(key, logged);
    else {
      tally.drop('rank of a pass whose slowest rank counts');
      const ranks = before.ranks + 1;
      passes.set(key, logged.seconds > before.seconds ? { ...logged, ranks } : { ...before, ranks });
    }
  }
  return [...passes.values()];
}

/** How often a rank was started anew before this pass of it, which is added. */
function epochOf(starts: Starts, { worker, rank, counter }: Omit<Logged, 'epoch'>): number {
  const key = `${worker} ${rank}`;
  let start = starts.get(key) ?? { epoch: 0, counters: new Set() };
  if (start.counters.has(counter)) start = { epoch: start.epoch + 1, counters: new Set() };
  starts.set(key, start);
  start.counters.add(counter);
  return start.epoch;
}

/** A rank's part of a pass, or why the line is none. Throws `E-ROW`. */
function loggedOf({ value, file, line }: JsonLine): Omit<Logged, 'epoch'> | string {
  const event = value['event'];
  const fpm = event === undefined ? value : (event as Readonly<Record<string, unknown>> | null)?.['fpm'];
  if (fpm === undefined) return 'event of another kind';
  const metrics = metricsSchema.safeParse(fpm);
  const scheduled = scheduledSchema.safeParse((fpm as Readonly<Record<string, unknown>> | undefined)?.['scheduled_requests'] ?? fpm);
  const error = metrics.error ?? scheduled.error;
  if (error !== undefined) throw new InputError({ code: 'E-ROW', file, line, path: error.issues[0]!.path.join('.'), what: error.issues[0]!.message, hint: 'forward-pass metrics have worker_id, counter_id, wall_time and scheduled_requests' });
  const { worker_id: worker, dp_rank: rank, counter_id: counter, wall_time: seconds } = metrics.data!;
  const { num_prefill_requests: prefills, num_decode_requests: decodes } = scheduled.data!;
  if (prefills + decodes === 0) return 'idle';
  if (seconds === null || seconds <= 0) return 'pass without a time';
  return { worker: String(worker), rank, counter, seconds, scheduled: scheduled.data!, ranks: 1, file, line };
}

function warmPasses(passes: readonly Logged[], tally: Tally): Logged[] {
  const starts = new Map<string, Logged[]>();
  for (const pass of passes) {
    const key = `${pass.worker} ${pass.epoch}`;
    const own = starts.get(key);
    if (own === undefined) starts.set(key, [pass]);
    else own.push(pass);
  }
  return [...starts.values()].flatMap((own) => {
    const inOrder = own.sort((a, b) => a.counter - b.counter);
    tally.drop(`first ${WARM_UP} passes of a worker`, Math.min(WARM_UP, inOrder.length));
    return inOrder.slice(WARM_UP);
  });
}

/** Sequences of a pass, or why it is left out. */
function sequencesOf({ scheduled, ranks }: Logged): ObservedPass | string {
  const { num_prefill_requests: prefills, sum_prefill_tokens: fresh, sum_prefill_kv_tokens: past, var_prefill_length: spread } = scheduled;
  const { num_decode_requests: decodes, sum_decode_kv_tokens: cached, var_decode_kv_tokens: cachedSpread, extend_lengths: extend, past_kv_lengths: pasts } = scheduled;
  const flags = ranks > 1 ? ['data_parallel'] : [];
  if (extend && pasts) {
    if (extend.length !== pasts.length || extend.length !== prefills + decodes) return 'lists of lengths that differ from the number of requests';
    const seqs = extend.map((length, i): [number, number] => [length, pasts[i]!]);
    if (seqs.some(([length]) => length === 0)) return 'request without a new token';
    // The lists do not say which are prompts: the last token of a prompt costs what a decode step does. Their order costs nothing.
    const isDecode = ([length, before]: readonly [number, number]): boolean => length === 1 && before > 0;
    seqs.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
    return { prefill: seqs.filter((one) => !isDecode(one)), decode: seqs.filter(isDecode), ms: [], flags };
  }
  if (prefills > 0 && fresh < prefills) return 'fewer new tokens than prompts';
  const prefill: Sequences = prefills === 0 ? [] : prefillSequences(prefills, fresh, past, spread);
  const decode: Sequences = decodes === 0 ? [] : decodeSequences(decodes, cached, cachedSpread);
  const known = prefills <= 1 && decodes <= 1;
  return { prefill, decode, ms: [], flags: known ? flags : [...flags, 'synthesised_sequences'] };
}

/** Throws `E-ROW` where too many equal passes differ too much. */
function checkMerged(source: string, shapes: readonly (readonly number[])[]): void {
  const repeated = shapes.filter((ms) => ms.length > 1);
  const apart = repeated.filter((ms) => Math.max(...ms) > MERGED.ratio * Math.min(...ms));
  if (apart.length <= MERGED.share * repeated.length) return;
  throw new InputError({ code: 'E-ROW', file: source, what: `${apart.length} of ${repeated.length} equal passes differ more than ${MERGED.ratio} times`, hint: 'passes were timed two at a time; log with the overlap schedule disabled' });
}
