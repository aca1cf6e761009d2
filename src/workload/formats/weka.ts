import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../core/problem.js';
import type { Workload } from '../workload.js';
import { assembleDag, type DagRow } from './dag.js';
import { lineBatches, noRequest, traceName, wholeText } from './lines.js';
import { RowText, type RowFields } from './row-fields.js';
import type { TraceOptions } from './trace.js';
import { EPSILON_S, type WekaRequest } from './weka-chains.js';
import { lowerPlay, type WekaAgent, type WekaPlay } from './weka-graph.js';

/**
 * Reads Weka / AgentX plays: a JSON file (one play), a folder of them, or a `.jsonl` file (one play a line), and turns
 * their recorded times into a graph of waits. Lanes take plays in file or line order. Outputs of 0 tokens stay 0. Hash ids are local to their
 * play; missing ids and the partial last block of a prompt are its own, surplus ids are cut. Times inside a sub-agent are
 * relative to it when any in the corpus precedes its sub-agent's (or as `nestedTimestamps` says).
 * Source: workload spec, section 1.7; compat S7.
 */
export async function readWeka(path: string, options: TraceOptions): Promise<Workload> {
  const documents: WekaDocument[] = [];
  for (const file of wekaFiles(path)) documents.push(...(await documentsOf(file)));
  if (documents.length === 0) throw noRequest(path);
  const blockTokens = checkBlockTokens(documents, options.blockTokens);
  const relative = options.nestedTimestamps === undefined ? documents.some(precedesItsAgent) : options.nestedTimestamps === 'relative';
  const names = new Set<string>();
  const rows: DagRow[] = [];
  const numbers = { next: 0 };
  for (const document of documents) {
    const read = playOf(document, relative);
    if (names.has(read.name)) throw document.fields.refused('id', 'names an earlier play already', 'give every play its own id');
    names.add(read.name);
    rows.push(...lowerPlay(read, blockTokens, numbers));
  }
  const { file } = documents[0]!.row;
  return assembleDag(rows, {
    name: traceName(path),
    ...(documents.every(({ row }) => row.file === file) && { file }),
    blockTokens,
    failsPlays: true,
    sorted: { requests: true, plays: false },
    playPrefix: '',
    warnings: [],
  });
}

interface WekaDocument {
  readonly row: RowText;
  readonly fields: RowFields;
}

function wekaFiles(path: string): string[] {
  const kind = lstatSync(path, { throwIfNoEntry: false });
  if (kind?.isSymbolicLink()) throw new InputError({ code: 'E-FILE', file: path, what: 'is a symbolic link', hint: 'give the file itself' });
  if (!kind?.isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() || entry.isSymbolicLink() || entry.name.endsWith('.json') ? wekaFiles(join(path, entry.name)) : []));
}

async function documentsOf(path: string): Promise<WekaDocument[]> {
  const rows: RowText[] = [];
  if (/\.jsonl(\.gz)?$/.test(path)) {
    let line = 0;
    for await (const batch of lineBatches(path)) for (const text of batch) if (++line && text.trim() !== '') rows.push(new RowText(path, line, text));
  } else rows.push(new RowText(path, 1, await wholeText(path)));
  return rows.map((row) => ({ row, fields: row.object() }));
}

function checkBlockTokens(documents: readonly WekaDocument[], asked: number | null): number {
  const blockTokens = documents[0]!.fields.requiredCount('block_size', 1);
  for (const { fields } of documents) {
    if (fields.requiredCount('block_size', 1) !== blockTokens) throw fields.refused('block_size', `differs from that of an earlier play, ${blockTokens}`, 'use one block size per corpus');
    if (asked !== null && asked !== blockTokens) throw fields.refused('block_size', `differs from the block size asked for, ${asked}`, 'leave the option out');
  }
  return blockTokens;
}

function entries({ fields }: WekaDocument): RowFields[] {
  return fields.objects('requests') ?? fields.missing('requests');
}

function kindOf(entry: RowFields, allowed: readonly ('n' | 's' | 'subagent')[]): 'n' | 's' | 'subagent' {
  return entry.choice('type', allowed) ?? entry.missing('type');
}

function precedesItsAgent(document: WekaDocument): boolean {
  return entries(document).some((entry) => {
    if (kindOf(entry, ['n', 's', 'subagent']) !== 'subagent') return false;
    const startS = entry.requiredNumber('t', 0);
    return (entry.objects('requests') ?? []).some((inner) => inner.requiredNumber('t', 0) + EPSILON_S < startS);
  });
}

function playOf(document: WekaDocument, relative: boolean): WekaPlay {
  const { row, fields } = document;
  fields.choice('hash_id_scope', ['local']) ?? fields.missing('hash_id_scope');
  const requests: WekaRequest[] = [];
  const agents: WekaAgent[] = [];
  entries(document).forEach((entry, order) => {
    if (kindOf(entry, ['n', 's', 'subagent']) === 'subagent') agents.push(agentOf(entry, order, relative, requests.length > 0));
    else requests.push(requestOf(entry, `${order}`, order, 0, ['requests', order]));
  });
  if (requests.length === 0) throw fields.problem('requests', 'holds no request beside sub-agents', 'a play starts with a request of its own');
  return { name: fields.requiredText('id'), row, requests, agents };
}

function agentOf(entry: RowFields, order: number, relative: boolean, hasParent: boolean): WekaAgent {
  const startS = entry.requiredNumber('t', 0);
  const status = entry.choice('status', ['completed', 'async_launched']) ?? entry.missing('status');
  const offsetS = relative ? startS : 0;
  const inner = entry.objects('requests') ?? entry.missing('requests');
  const requests = inner.map((one, index) => {
    kindOf(one, ['n', 's']);
    return requestOf(one, `${order}:${index}`, index, offsetS, ['requests', order, 'requests', index]);
  });
  if (!hasParent) throw entry.problem('t', 'no request stands before this sub-agent', 'put the request that called it first');
  if (status === 'completed' && requests.length === 0) throw entry.problem('requests', 'is empty, yet the sub-agent completed', 'leave the sub-agent out');
  const durationMs = entry.number('duration_ms');
  const endS = durationMs === undefined ? requests.reduce((latest, { endS: end }) => Math.max(latest, end), startS) : startS + Math.max(0, durationMs) / 1000;
  return { name: entry.requiredText('agent_id'), order, endS, blocking: status === 'completed', requests };
}

function requestOf(entry: RowFields, id: string, order: number, offsetS: number, path: WekaRequest['path']): WekaRequest {
  const startS = offsetS + entry.requiredNumber('t', 0);
  return {
    id,
    order,
    startS,
    endS: startS + Math.max(0, entry.number('api_time') ?? 0),
    model: entry.requiredText('model'),
    promptTokens: entry.requiredCount('in', 1),
    outputTokens: entry.requiredCount('out'),
    hashes: entry.ids('hash_ids') ?? [],
    path,
  };
}
