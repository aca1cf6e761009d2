import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import { loadSchema } from './points.js';
import { capabilitiesSchema } from './records.js';

/**
 * What `engines/cuda/serve.py` reads and writes: its configuration, and the requests and passes of a slice of a trace that a GPU
 * served by the wall clock. Times in ms from the start.
 */

const count = z.number().int().positive();
const whole = z.number().int().min(0);
const time = z.number().min(0);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** The scheduler's settings, as vLLM names them; `context_length` null = no limit. */
export const schedulerSchema = z.strictObject({
  block_size: count,
  kv_blocks: count,
  max_num_seqs: count,
  max_num_batched_tokens: count,
  prefix_caching: z.boolean(),
  chunked_prefill: z.boolean(),
  context_length: count.nullable(),
  preemption: z.enum(['lifo', 'fifo']),
});
export type SchedulerSettings = z.infer<typeof schedulerSchema>;

export const serveConfigSchema = z.strictObject({
  schema: z.literal('dynotwin.serve/1'),
  /** SHA-256 of the slice's bytes. */
  slice_sha256: hash,
  /** Tokens per hash id. */
  trace_block_tokens: count,
  load: z.discriminatedUnion('kind', [
    /** At the slice's timestamps; `utilisation`: offered requests/s over what the worker can do, as simulated; null = not scaled so. */
    z.strictObject({ kind: z.literal('open'), utilisation: z.number().positive().nullable() }),
    z.strictObject({ kind: z.literal('closed'), concurrency: count }),
  ]),
  scheduler: schedulerSchema,
  /** Batches of captured decode graphs, rising. */
  graphs: z.array(count),
  load_model: loadSchema,
  /** The profile the slice was made for, and SHA-256 of its profile.yaml. */
  profile: z.strictObject({ name: z.string(), sha256: hash }),
});
export type ServeConfig = z.infer<typeof serveConfigSchema>;

const head = { v: z.literal(1), schema: z.literal('dynotwin.serve/1'), capabilities: capabilitiesSchema, config: serveConfigSchema, t_utc: z.string() };
const requestsHeadSchema = z.strictObject({ ...head, type: z.literal('requests'), /** Name of the file of passes beside it. */ passes: z.string().regex(/^[^/\\]+$/) });
const passesHeadSchema = z.strictObject({ ...head, type: z.literal('passes') });

const requestSchema = z.strictObject({
  id: whole,
  arrival_ms: time,
  admit_ms: time.nullable(),
  first_token_ms: time.nullable(),
  end_ms: time.nullable(),
  status: z.enum(['completed', 'rejected', 'unfinished']),
  isl: count,
  osl: whole,
  osl_requested: whole,
  reused_tokens: whole,
  preemptions: whole,
});
/** One request as it was served; `id` = its place in the slice, from 0. */
export type ServedRequest = z.infer<typeof requestSchema>;

const endSchema = z.strictObject({ type: z.literal('end'), reason: z.enum(['complete', 'budget', 'signal', 'error']), left: whole, passes: whole, end_ms: time, overhead: z.number().nullable() });

const ids = z.array(whole).default([]);
const milliseconds = z.number().nullable();
const passSchema = z.strictObject({
  n: whole,
  start_ms: time,
  end_ms: time,
  /** s */
  wall_time: time,
  num_prefill_requests: whole,
  sum_prefill_tokens: whole,
  sum_prefill_kv_tokens: whole,
  var_prefill_length: z.number(),
  num_decode_requests: whole,
  sum_decode_kv_tokens: whole,
  var_decode_kv_tokens: z.number(),
  max_decode_kv_tokens: whole,
  num_queued_prefill: whole,
  sum_queued_prefill_tokens: whole,
  var_queued_prefill_length: z.number(),
  num_queued_decode: whole,
  sum_queued_decode_kv_tokens: whole,
  var_queued_decode_kv_tokens: z.number(),
  active_blocks: whole,
  /** Prompt work: request, tokens it had in the cache, tokens computed. */
  prefill: z.array(z.tuple([whole, whole, count])).default([]),
  /** Request and tokens it found in the cache. */
  admitted: z.array(z.tuple([whole, whole])).default([]),
  preempted: ids,
  rejected: ids,
  finished: ids,
  gpu_ms: milliseconds,
  issue_ms: milliseconds,
  sched_ms: milliseconds,
  /** Batch of the graph that was replayed; null = eager. */
  graph: count.nullable(),
});
/** One pass: from the start of its scheduling to its tokens on the host and the scheduler's update. */
export type ServedPass = z.infer<typeof passSchema>;

/** One run of serve.py. */
export interface Served {
  readonly file: string;
  readonly head: z.infer<typeof requestsHeadSchema>;
  /** By id. */
  readonly requests: readonly ServedRequest[];
  readonly end: z.infer<typeof endSchema>;
  readonly passes: readonly ServedPass[];
}

/**
 * Reads a run of serve.py: its file of requests, and the passes beside it (with continuations NAME.1.jsonl, …).
 * Throws `InputError`: `E-FILE` with file and line for what is missing or no output of serve.py, `E-TWIN` where the two files are of different runs.
 */
export function readServed(file: string): Served {
  const [first, ...lines] = linesOf(file);
  const header = parse(file, 1, first, requestsHeadSchema);
  const last = lines.pop();
  const end = parse(file, lines.length + 2, last, endSchema);
  const passesFile = join(dirname(file), header.passes);
  return { file, head: header, requests: lines.map((line, index) => parse(file, index + 2, line, requestSchema)), end, passes: readPasses(passesFile, header, end.passes) };
}

function readPasses(file: string, { config, t_utc }: Served['head'], expected: number): ServedPass[] {
  const stem = file.slice(0, file.length - extname(file).length);
  const passes: ServedPass[] = [];
  for (let part = 0, path = file; part === 0 || existsSync(path); path = `${stem}.${++part}${extname(file)}`) {
    const [first, ...lines] = linesOf(path);
    const head = parse(path, 1, first, passesHeadSchema);
    if (head.t_utc !== t_utc || JSON.stringify(head.config) !== JSON.stringify(config)) {
      throw new InputError({ code: 'E-TWIN', file: path, line: 1, what: `these passes are of the run of ${head.t_utc}, the requests of that of ${t_utc}`, hint: 'keep the two files of a run together' });
    }
    lines.forEach((line, index) => passes.push(parse(path, index + 2, line, passSchema)));
  }
  if (passes.length === expected) return passes;
  throw new InputError({ code: 'E-TWIN', file, what: `holds ${passes.length} passes, the run had ${expected}`, hint: 'copy every file of the run' });
}

function linesOf(file: string): string[] {
  return readText(file).replace(/\n$/, '').split('\n');
}

function parse<T>(file: string, line: number, text: string | undefined, schema: z.ZodType<T>): T {
  const refuse = (what: string): InputError => new InputError({ code: 'E-FILE', file, line, what: `no output of serve.py: ${what}`, hint: 'give the file that serve.py wrote with --out' });
  let value: unknown;
  try {
    value = JSON.parse(text ?? '');
  } catch {
    throw refuse('the line is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw refuse([path.join('.'), message].filter((part) => part !== '').join(': '));
}
