import type { Problem } from '../../core/problem.js';
import type { TokenRun } from '../builder.js';
import type { Workload } from '../workload.js';
import { assembleDag, type DagRow } from './dag.js';
import { lineBatches, noRequest, traceName } from './lines.js';
import { RowText, type RowFields } from './row-fields.js';
import { readRowHints } from './row-hints.js';
import type { TraceOptions } from './trace.js';

const SCHEMA = 'dynamo.agentic_mooncake';

/**
 * Reads an agentic Mooncake file of version 1 or 2 (by its first row). In version 1 a request without
 * `wait_for` starts at its `timestamp` (default 0), any other at the last end it waits for, plus `delay` and
 * `tool_wait_ms`; `branches`, `prefix_reset`, `tool_events` and `request_kind` say nothing about times. Profile `dynosim`
 * lets any end release those who wait; the others make each connected set of requests a play.
 * Source: workload spec, sections 1.3, 1.4, 3.1; compat D2, S2, S4.
 */
export async function readAgenticMooncake(path: string, options: TraceOptions): Promise<Workload> {
  const rows: DagRow[] = [];
  const warnings = new Map<string, Problem>();
  let header: { readonly blockTokens: number } | null = null;
  let lineNumber = 0;
  let first = true;
  const blockTokens = (): number => header?.blockTokens ?? options.blockTokens ?? 512;
  for await (const lines of lineBatches(path)) {
    for (const text of lines) {
      lineNumber++;
      if (text.trim() === '') continue;
      const row = new RowText(path, lineNumber, text);
      const fields = row.object();
      if (first && fields.has('schema')) header = readHeader(fields, options.blockTokens);
      else rows.push(header ? rowOfVersion2(row, fields, blockTokens()) : rowOfVersion1(row, fields, blockTokens(), options.strict, warnings));
      first = false;
    }
  }
  if (rows.length === 0) throw noRequest(path);
  const failsPlays = header !== null || options.fidelity !== 'dynosim';
  return assembleDag(header || failsPlays ? rows : sinceFirstRoot(rows), {
    name: traceName(path),
    file: path,
    blockTokens: blockTokens(),
    failsPlays,
    sorted: { requests: failsPlays, plays: true },
    playPrefix: 'legacy-play:',
    warnings: [...warnings.values()],
  });
}

/** Times count from the first request that waits for none (compat D2). */
export function sinceFirstRoot(rows: readonly DagRow[]): DagRow[] {
  const firstMs = rows.reduce((least, { waitsFor, notBeforeMs }) => (waitsFor.length === 0 ? Math.min(least, notBeforeMs) : least), Infinity);
  return rows.map((row) => (row.waitsFor.length === 0 ? row : { ...row, notBeforeMs: firstMs }));
}

function readHeader(fields: RowFields, asked: number | null): { blockTokens: number } {
  fields.choice('schema', [SCHEMA]);
  if (fields.requiredCount('version') !== 2) throw fields.refused('version', 'is not 2', 'version 1 files have no header');
  const blockTokens = fields.requiredCount('block_size', 1);
  if (asked !== null && asked !== blockTokens) throw fields.refused('block_size', `differs from the block size asked for, ${asked}`, 'leave the option out');
  if (fields.choice('hash_id_scope', ['local']) === undefined) fields.missing('hash_id_scope');
  const source = fields.requiredObject('source');
  source.requiredText('format');
  source.requiredText('digest');
  return { blockTokens };
}

function rowOfVersion2(row: RowText, fields: RowFields, blockTokens: number): DagRow {
  const name = fields.requiredText('request_id');
  const promptTokens = fields.requiredCount('input_length', 1);
  const hashIds = fields.ids('hash_ids') ?? fields.missing('hash_ids');
  const needed = Math.ceil(promptTokens / blockTokens);
  if (hashIds.length !== needed) throw fields.problem('hash_ids', `${hashIds.length} ids, but ${promptTokens} tokens at block_size ${blockTokens} need ${needed}`, 'give one id per block');
  fields.requiredText('model');
  const outputTokens = fields.requiredCount('output_length');
  const waitsFor = (fields.objects('dependencies') ?? []).map((edge, index) => {
    const trigger = edge.choice('trigger', ['dispatch', 'completion']) ?? edge.missing('trigger');
    const relation = edge.choice('relation', ['sequence', 'spawn', 'join', 'replay_barrier']) ?? edge.missing('relation');
    if (trigger === 'dispatch' && relation !== 'spawn') throw edge.refused('trigger', `does not go with relation ${relation}`, "use 'completion', or relation 'spawn'");
    return { name: edge.requiredText('request_id'), trigger, delayMs: edge.requiredNumber('delay_ms', 0), path: ['dependencies', index, 'request_id'] };
  });
  return {
    name,
    session: fields.requiredText('session_id'),
    play: fields.requiredText('play_id'),
    notBeforeMs: fields.requiredNumber('not_before_ms', 0),
    promptTokens,
    outputTokens,
    hashIds,
    ...authoredOf(fields, outputTokens),
    asks: readRowHints(fields),
    waitsFor,
    line: row.line,
    problem: row.problem.bind(row),
  };
}

function rowOfVersion1(row: RowText, fields: RowFields, blockTokens: number, strict: boolean, warnings: Map<string, Problem>): DagRow {
  const name = fields.requiredText('request_id');
  const outputTokens = fields.requiredCount(fields.nameOf('output_length', 'output_tokens'));
  const hashIds = fields.ids('hash_ids') ?? fields.missing('hash_ids');
  const waits = fields.items('wait_for', (list, index) => list.requiredText(index)) ?? [];
  const delay = fields.nameOf('delay', 'delay_ms');
  const delayMs = (fields.number(delay, 0) ?? 0) + (fields.number('tool_wait_ms', 0) ?? 0);
  if (waits.length === 0 && delayMs > 0) {
    const path = fields.has(delay) ? delay : 'tool_wait_ms';
    note(warnings, { code: 'W-NO-EFFECT', file: row.file, line: row.line, path, what: 'stands on a request that waits for none', hint: 'give it a later timestamp' });
  }
  const timestampMs = fields.number(fields.nameOf('timestamp', 'created_time'), 0) ?? 0;
  return {
    name,
    session: fields.text('session_id') ?? 'agentic-session',
    play: null,
    notBeforeMs: waits.length === 0 ? timestampMs : 0,
    promptTokens: coveredPrompt(row, fields, hashIds.length, blockTokens, strict, warnings),
    outputTokens,
    hashIds,
    ...authoredOf(fields, outputTokens),
    asks: readRowHints(fields),
    waitsFor: [...new Set(waits)].map((on) => ({ name: on, trigger: 'completion', delayMs, path: ['wait_for', waits.indexOf(on)] })),
    line: row.line,
    problem: row.problem.bind(row),
  };
}

/** Prompt length of a Mooncake row: absent or longer than its ids cover = what they cover (spec: workload section 1.2). */
function coveredPrompt(row: RowText, fields: RowFields, idCount: number, blockTokens: number, strict: boolean, warnings: Map<string, Problem>): number {
  const name = fields.nameOf('input_length', 'input_tokens');
  const covered = idCount * blockTokens;
  if (idCount === 0) throw fields.refused('hash_ids', 'is empty', 'a prompt has at least one block');
  const asked = fields.count(name, 1) ?? covered;
  if (asked <= covered) return asked;
  const what = `${idCount} ${idCount === 1 ? 'id covers' : 'ids cover'} ${covered} tokens at block_size ${blockTokens}, ${name} is ${asked}`;
  if (strict) throw fields.problem('hash_ids', what, 'set workload.block_size if the trace uses another');
  note(warnings, { code: 'W-CLAMPED', file: row.file, line: row.line, path: name, what: `cut to what hash_ids cover, first here: ${what}`, hint: 'set the trace block size if the trace uses another' });
  return covered;
}

/** Output tokens written by the author of the row. */
function authoredOf(fields: RowFields, outputTokens: number): { authored?: TokenRun[] } {
  const ids = fields.items('output_token_ids', (list, index) => list.requiredCount(index, 0, 2 ** 32 - 1));
  if (ids === undefined) return {};
  if (ids.length !== outputTokens) throw fields.refused('output_token_ids', `holds ${ids.length} tokens, output_length is ${outputTokens}`, 'give one id per output token');
  return { authored: ids.map((symbol) => ({ symbol, count: 1 })) };
}

/** One warning of a kind. */
function note(warnings: Map<string, Problem>, problem: Problem): void {
  if (!warnings.has(problem.code)) warnings.set(problem.code, problem);
}
