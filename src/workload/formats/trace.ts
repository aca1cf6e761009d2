import { statSync } from 'node:fs';
import { InputError } from '../../core/problem.js';
import type { Fidelity } from '../../scenario/scenario.js';
import type { Workload } from '../workload.js';
import { lineBatches } from './lines.js';
import { readMooncake } from './mooncake.js';

export interface TraceOptions {
  /** Tokens per hash id; null = what the file says, else 512. */
  readonly blockTokens: number | null;
  /** A prompt longer than its ids cover is an error; else it is cut to them, with a warning. */
  readonly strict: boolean;
  /** Profile: decides what the references read differently. */
  readonly fidelity: Fidelity;
  /** First N rows (after `skip`); null or absent = all. Not for traces whose requests wait for each other. */
  readonly requests?: number | null;
  readonly skip?: number;
  /** Leading blocks that sessions of a group share (applied_compute_agentic). */
  readonly sharedPrefix?: { readonly ratio: number; readonly groups: number } | null;
  /** Times inside sub-agents (weka only); absent = found from them. */
  readonly nestedTimestamps?: 'relative' | 'absolute';
}

interface Format {
  readonly read: (paths: readonly string[], options: TraceOptions) => Promise<Workload>;
  /** A first part of the trace can be used alone. */
  readonly cuts: boolean;
  readonly manyFiles?: boolean;
}

/** The reader of a format that has one file; its module is loaded only when a trace is of that format. */
const one =
  (load: () => Promise<(path: string, options: TraceOptions) => Promise<Workload>>): Format['read'] =>
  async (paths, options) =>
    (await load())(paths[0]!, options);

/** A new format is one file and one line here. */
const FORMATS = {
  mooncake: { read: ([path], options) => readMooncake(path!, { ...options, blockTokens: options.blockTokens ?? 512 }), cuts: true },
  'mooncake-delta': { read: ([path], options) => readMooncake(path!, { ...options, blockTokens: options.blockTokens ?? 512, delta: true }), cuts: true },
  agentic_mooncake: { read: one(async () => (await import('./agentic-mooncake.js')).readAgenticMooncake), cuts: false },
  applied_compute_agentic: { read: one(async () => (await import('./trie.js')).readTrie), cuts: true },
  dynamo: { read: async (paths, options) => (await import('./request-trace.js')).readRequestTrace(paths, options), cuts: false, manyFiles: true },
  weka: { read: one(async () => (await import('./weka.js')).readWeka), cuts: false },
  bailian: { read: one(async () => (await import('./bailian.js')).readBailian), cuts: true },
  burstgpt: { read: one(async () => (await import('./burstgpt.js')).readBurstGpt), cuts: true },
} as const satisfies Readonly<Record<string, Format>>;

export type TraceFormat = keyof typeof FORMATS;

export const TRACE_FORMATS = Object.keys(FORMATS) as readonly TraceFormat[];

/**
 * Reads a trace. `auto` looks at the first rows (see `detectFormat`). Throws `InputError` with file, line and
 * column; `E-COMBINATION` for several files of a format that has one, or a cut of a trace that cannot be cut.
 * Source: workload spec, section 1.
 */
export async function readTrace(paths: readonly string[], format: TraceFormat | 'auto', options: TraceOptions): Promise<Workload> {
  const name = format === 'auto' ? await detectFormat(paths[0]!) : format;
  const { read, cuts, manyFiles }: Format = FORMATS[name];
  if (paths.length > 1 && !manyFiles) throw new InputError({ code: 'E-COMBINATION', file: paths[1]!, what: `${paths.length} files given, and a trace of format ${name} is one`, hint: 'give one file' });
  if (!cuts && ((options.requests ?? null) !== null || (options.skip ?? 0) > 0)) {
    throw new InputError({ code: 'E-COMBINATION', file: paths[0]!, what: `a part of a trace of format ${name} cannot run alone: requests wait for each other`, hint: 'use all of it' });
  }
  if (name !== 'weka' && options.nestedTimestamps !== undefined) {
    throw new InputError({ code: 'E-NO-EFFECT', file: paths[0]!, path: 'workload.nested_timestamps', what: `not read with a trace of format ${name}`, hint: 'remove it' });
  }
  return read(paths, options);
}

/** Rows looked at; a file that only looks like plain Mooncake so far is read as that. */
const ROWS = 100;

/**
 * The format of a trace by its first rows. Delta rows look like full ones: `mooncake-delta` must be named. Throws `E-TRACE`
 * when it looks like none, `E-FILE` when it cannot be read.
 */
export async function detectFormat(path: string): Promise<TraceFormat> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return 'weka';
  let rows = 0;
  let isMooncake = false;
  for await (const lines of lineBatches(path)) {
    for (const text of lines) {
      if (text.trim() === '') continue;
      const found = formatOf(text, rows === 0);
      if (found !== null && found !== 'mooncake') return found;
      isMooncake ||= found === 'mooncake';
      if (++rows >= ROWS && isMooncake) return 'mooncake';
    }
  }
  if (isMooncake) return 'mooncake';
  if (rows === 0) throw new InputError({ code: 'E-TRACE', file: path, what: 'holds no request', hint: 'a trace needs at least one row' });
  throw new InputError({ code: 'E-TRACE', file: path, what: 'looks like no known trace format', hint: `name it: ${TRACE_FORMATS.join(', ')}` });
}

/** Members that give a row away. */
const SIGNS: readonly (readonly [TraceFormat, readonly string[]])[] = [
  ['agentic_mooncake', ['wait_for', 'branches', 'prefix_reset', 'tool_wait_ms', 'tool_events', 'request_kind', 'play_id']],
  ['dynamo', ['event_type', 'event']],
  ['applied_compute_agentic', ['num_turns']],
  ['weka', ['hash_id_scope']],
  ['bailian', ['chat_id']],
  ['mooncake', ['hash_ids', 'input_length', 'input_tokens', 'output_length', 'output_tokens']],
];

function formatOf(text: string, isFirst: boolean): TraceFormat | null {
  if (isFirst && /^\ufeff?"?timestamp"?\s*,/i.test(text)) return 'burstgpt';
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch {
    // A JSON document over several lines, or a fault that the reader of the format reports better.
    return isFirst && /^\s*\{\s*("(id|models|block_size|hash_id_scope)"|$)/.test(text) ? 'weka' : isFirst ? 'mooncake' : null;
  }
  if (typeof row !== 'object' || row === null) return null;
  if ('schema' in row && row.schema === 'dynamo.agentic_mooncake') return 'agentic_mooncake';
  return SIGNS.find(([, members]) => members.some((member) => member in row))?.[0] ?? null;
}
