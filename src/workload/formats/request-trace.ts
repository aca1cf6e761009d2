import { InputError } from '../../core/problem.js';
import { WorkloadBuilder, type TokenRun } from '../builder.js';
import type { Workload } from '../workload.js';
import { assembleDag } from './dag.js';
import { lineBatches, noRequest, traceName } from './lines.js';
import { inferWaits } from './request-trace-waits.js';
import { RowText, type RowFields } from './row-fields.js';
import { sinceFirstRoot } from './agentic-mooncake.js';
import type { TraceOptions } from './trace.js';

/** A request that ended, times in whole ms of the recording's clock. */
export interface RecordedRequest {
  readonly id: string;
  readonly row: RowText;
  readonly startMs: number;
  readonly endMs: number;
  readonly agent: { readonly session: string; readonly parent: string | undefined } | null;
  readonly blockTokens: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly hashIds: readonly (number | bigint)[];
  readonly authored?: readonly TokenRun[];
}

/** A tool call that says which requests made it and read its result. */
export interface RecordedTool {
  readonly row: RowText;
  readonly id: string;
  readonly session: string;
  readonly source: string;
  readonly consumer: string | undefined;
  readonly child: string | undefined;
}

const EVENTS = ['request_end', 'request_payload', 'tool_start', 'tool_end', 'tool_error'] as const;

/**
 * Reads the shards of a Dynamo request trace (`dynamo.request.trace.v1`), plain or `.gz`. Requests without an
 * agent context arrive at their recorded times, independent of each other; with one they wait for each other as they did when
 * recorded. Lines that are no objects, and payload records, are skipped. Completion hashes make generated text
 * known, except in profile `aisimulate`, which does not read them.
 * Source: workload spec, section 1.5; compat S6.
 */
export async function readRequestTrace(paths: readonly string[], options: TraceOptions): Promise<Workload> {
  const requests: RecordedRequest[] = [];
  const tools: RecordedTool[] = [];
  for (const path of paths) {
    let lineNumber = 0;
    for await (const lines of lineBatches(path)) {
      for (const text of lines) {
        lineNumber++;
        if (!/^\s*[{]/.test(text)) checkSkipped(new RowText(path, lineNumber, text));
        else readRecord(new RowText(path, lineNumber, text), options, requests, tools);
      }
    }
  }
  if (requests.length === 0) throw noRequest(paths[0]!);
  checkBlockTokens(requests, options.blockTokens);
  requests.sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs || (a.id < b.id ? -1 : 1));
  const contexts = requests.filter(({ agent }) => agent !== null).length;
  const file = paths.length === 1 ? paths[0]! : undefined;
  const name = traceName(paths[0]!);
  if (contexts === 0) return independent(name, file, requests);
  if (contexts < requests.length) {
    const stray = requests.find(({ agent }) => agent === null)!;
    throw stray.row.problem(['agent_context'], 'missing on this request, while others have one', 'trace agents and plain requests into files of their own');
  }
  const failsPlays = options.fidelity !== 'dynosim';
  const rows = inferWaits(requests, tools, failsPlays ? 'each' : 'single');
  return assembleDag(failsPlays ? rows : sinceFirstRoot(rows), {
    name,
    ...(file !== undefined && { file }),
    blockTokens: requests[0]!.blockTokens,
    failsPlays,
    sorted: { requests: failsPlays, plays: true },
    playPrefix: 'dynamo-play:',
    warnings: [],
  });
}

function independent(name: string, file: string | undefined, requests: readonly RecordedRequest[]): Workload {
  const builder = new WorkloadBuilder(name, requests[0]!.blockTokens);
  const names = new Set<string>();
  for (const { id, row, startMs, promptTokens, outputTokens, hashIds, authored } of requests) {
    if (names.has(id)) throw row.problem(['request', 'request_id'], `'${id}' is the request of an earlier line already`, 'give every request its own id');
    names.add(id);
    builder.addRequest({ session: builder.addSession(id), arrivalMs: startMs, delayMs: 0, promptTokens, outputTokens, ...(authored && { authored }) }, hashIds);
  }
  return builder.finish([], file === undefined ? undefined : { file, lines: requests.map(({ row }) => row.line) });
}

/** Valid JSON that is no object says nothing; anything else is an error. */
function checkSkipped(row: RowText): void {
  if (row.text.trim() === '') return;
  try {
    JSON.parse(row.text);
  } catch {
    row.object();
  }
}

function readRecord(row: RowText, options: TraceOptions, requests: RecordedRequest[], tools: RecordedTool[]): void {
  const line = row.object();
  const record = line.object('event') ?? line;
  const event = record.choice('event_type', EVENTS) ?? record.missing('event_type');
  if (event === 'request_payload') return;
  record.choice('schema', ['dynamo.request.trace.v1']) ?? record.missing('schema');
  const context = record.object('agent_context');
  const agent = context ? { session: context.requiredText('session_id'), parent: context.text('parent_session_id') } : null;
  switch (event) {
    case 'request_end':
      requests.push(requestOf(row, record, agent, options));
      return;
    case 'tool_end':
    case 'tool_error': {
      const tool = record.requiredObject('tool');
      const claude = tool.object('claude');
      const id = tool.requiredText('tool_call_id');
      if (!claude) return;
      if (claude.choice('execution_mode', ['blocking', 'background']) === undefined) claude.missing('execution_mode');
      const session = (context ?? record.requiredObject('agent_context')).requiredText('session_id');
      tools.push({ row, id, session, source: claude.requiredText('source_request_id'), consumer: claude.text('consumer_request_id'), child: claude.text('child_session_id') });
      return;
    }
    case 'tool_start':
      return;
  }
}

function requestOf(row: RowText, record: RowFields, agent: RecordedRequest['agent'], options: TraceOptions): RecordedRequest {
  const request = record.requiredObject('request');
  const replay = request.requiredObject('replay');
  const startMs = request.requiredCount('request_received_ms', 0, Number.MAX_SAFE_INTEGER);
  const totalMs = request.number('total_time_ms', 0);
  const endMs = totalMs === undefined ? record.requiredCount('event_time_unix_ms', 0, Number.MAX_SAFE_INTEGER) : startMs + Math.round(totalMs);
  const blockTokens = replay.requiredCount('trace_block_size', 1);
  const promptTokens = replay.requiredCount('input_length', 1);
  const outputTokens = request.requiredCount('output_tokens');
  const inputs = hashes(replay, 'input_sequence_hashes', promptTokens, blockTokens) ?? replay.missing('input_sequence_hashes');
  const whole = hashes(replay, 'completion_sequence_hashes', promptTokens + outputTokens, blockTokens);
  const fullBlocks = Math.floor(promptTokens / blockTokens);
  const different = whole?.findIndex((hash, block) => block < fullBlocks && hash !== inputs[block]) ?? -1;
  if (different >= 0) throw replay.problem('completion_sequence_hashes', `block ${different} differs from that of input_sequence_hashes`, 'repeat the hashes of the full input blocks');
  const known = whole && options.fidelity !== 'aisimulate';
  return {
    id: request.requiredText('request_id'),
    row,
    startMs,
    endMs,
    agent,
    blockTokens,
    promptTokens,
    outputTokens,
    hashIds: known ? whole.slice(0, inputs.length) : inputs,
    ...(known && { authored: outputRuns(whole, promptTokens, outputTokens, blockTokens) }),
  };
}

function hashes(replay: RowFields, name: string, tokens: number, blockTokens: number): (number | bigint)[] | undefined {
  const list = replay.ids(name);
  const needed = Math.ceil(tokens / blockTokens);
  if (list && list.length !== needed) throw replay.problem(name, `${list.length} hashes, but ${tokens} tokens at trace_block_size ${blockTokens} need ${needed}`, 'give one hash per block');
  return list;
}

/** Output token k has the value of the block that holds position `promptTokens + k`. */
function outputRuns(hashIds: readonly (number | bigint)[], promptTokens: number, outputTokens: number, blockTokens: number): TokenRun[] {
  const runs: TokenRun[] = [];
  const end = promptTokens + outputTokens;
  for (let at = promptTokens; at < end; ) {
    const block = Math.floor(at / blockTokens);
    const next = Math.min(end, (block + 1) * blockTokens);
    runs.push({ hashId: hashIds[block]!, count: next - at });
    at = next;
  }
  return runs;
}

function checkBlockTokens(requests: readonly RecordedRequest[], asked: number | null): void {
  const { blockTokens } = requests[0]!;
  for (const request of requests) {
    const path = ['request', 'replay', 'trace_block_size'];
    if (request.blockTokens !== blockTokens) throw request.row.problem(path, `${request.blockTokens} here, ${blockTokens} on an earlier request`, 'use one block size per trace');
    if (asked !== null && asked !== blockTokens) throw new InputError({ code: 'E-COMBINATION', file: request.row.file, line: request.row.line, path: path.join('.'), what: `${blockTokens} differs from the block size asked for, ${asked}`, hint: 'leave the option out' });
  }
}
