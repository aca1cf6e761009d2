import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { checkDriver } from '../../src/workload/check.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { detectFormat, readTrace, type TraceFormat, type TraceOptions } from '../../src/workload/formats/trace.js';
import { mooncakeText } from '../../src/workload/formats/write-mooncake.js';
import type { Workload } from '../../src/workload/workload.js';
import { blocksOf, commonPrefix, problemOf, temporaryFile } from './support.js';

type Row = Readonly<Record<string, unknown>>;
const lines = (...rows: readonly Row[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const OPTIONS: TraceOptions = { blockTokens: null, strict: true, fidelity: 'realistic' };
const read = (format: TraceFormat | 'auto', text: string, options: Partial<TraceOptions> = {}, name = 'trace.jsonl'): Promise<Workload> => readTrace([temporaryFile(text, name)], format, { ...OPTIONS, ...options });
const idsOf = ({ hashIds, hashOffsets }: Workload, r: number): number[] => [...hashIds.subarray(hashOffsets[r]!, hashOffsets[r + 1]!)];
/** Edges as `source>target:delay`, `*` for those that fire at dispatch. */
const waits = ({ graph, requestCount }: Workload): string[] =>
  Array.from({ length: requestCount }, (_, r) => r).flatMap((r) =>
    Array.from({ length: graph!.offsets[r + 1]! - graph!.offsets[r]! }, (_, i) => graph!.offsets[r]! + i).map((e) => `${graph!.requestNames[r]}>${graph!.requestNames[graph!.targets[e]!]}:${Math.round(graph!.delayMs[e]! * 1e6) / 1e6}${graph!.atDispatch[e] ? '*' : ''}`),
  ).sort();

describe('applied_compute_agentic', () => {
  const row = { num_turns: 2, input_prompt_length: 1000, assistant_response_length: [100, 50], tool_call_output_length: [500, 700], tool_call_latency: [1.5, 0], final_assistant_response_length: 30 };

  it('worked example 11', async () => {
    const workload = await read('auto', lines(row, row, row), { sharedPrefix: { ratio: 0.5, groups: 2 } });
    expect([...workload.promptTokens.subarray(0, 3)]).toEqual([1000, 1600, 2350]);
    expect([...workload.outputTokens.subarray(0, 3)]).toEqual([100, 50, 30]);
    expect([...workload.delayMs.subarray(0, 3)]).toEqual([0, 1500, 0]);
    expect([idsOf(workload, 0), idsOf(workload, 1), idsOf(workload, 2)]).toEqual([[0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]]);
    // Lines 1 and 3 are of one group and share its one block; line 2 is of the other.
    expect([3, 6].map((r) => commonPrefix(idsOf(workload, 0), idsOf(workload, r)))).toEqual([0, 1]);
    expect(workload.sessionNames).toEqual([1, 2, 3].map((line) => `applied_compute_agentic_session_${line}`));
  });

  it('shares nothing unless asked; needs a closed loop, but in aisimulate', async () => {
    const workload = await read('auto', lines(row, row));
    expect(commonPrefix(idsOf(workload, 0), idsOf(workload, 3))).toBe(0);
    expect(await problemOf(() => checkDriver(workload, { kind: 'open', speedup: 1 }))).toMatchObject({ code: 'E-TRACE', line: 1, path: 'timestamp' });
    expect(() => checkDriver(workload, { kind: 'closed', concurrency: 1 })).not.toThrow();
    expect([...(await read('auto', lines(row, row), { fidelity: 'aisimulate' })).arrivalMs]).toEqual([0, NaN, NaN, 0, NaN, NaN]);
  });

  it.each<[Row, string, string]>([
    [{ ...row, tool_call_latency: [1] }, 'tool_call_latency', 'holds 1 values, num_turns is 2'],
    [{ ...row, tool_call_latency: [1, -2] }, 'tool_call_latency.1', '-2 is negative'],
    [{ ...row, input_prompt_length: 0 }, 'input_prompt_length', '0 is below 1'],
    [{ ...row, final_assistant_response_length: undefined }, 'final_assistant_response_length', 'missing'],
    [{ ...row, assistant_response_length: undefined }, 'assistant_response_length', 'missing'],
  ])('refuses %#', async (bad, path, what) => {
    expect(await problemOf(() => read('applied_compute_agentic', `\n${lines(bad)}`))).toMatchObject({ code: 'E-TRACE', line: 2, path, what });
  });
});

describe('agentic_mooncake refuses', () => {
  const header = { schema: 'dynamo.agentic_mooncake', version: 2, block_size: 4, hash_id_scope: 'local', source: { format: 'f', digest: 'd' } };
  const row = (request_id: string, rest: Row = {}): Row => ({ request_id, play_id: 'p', session_id: 's', model: 'm', input_length: 6, output_length: 1, hash_ids: [1, 2], not_before_ms: 0, ...rest });
  const on = (request_id: string, rest: Row = {}): Row => ({ request_id, trigger: 'completion', delay_ms: 0, relation: 'sequence', ...rest });
  const old = (request_id: string | undefined, rest: Row = {}): Row => ({ request_id, input_length: 4, output_length: 1, hash_ids: [1], ...rest });
  it.each<[name: string, rows: Row[], line: number, path: string | undefined, what: string]>([
    ['another schema', [{ ...header, schema: 'x' }], 1, 'schema', '"x" is not one of dynamo.agentic_mooncake'],
    ['another version', [{ ...header, version: 3 }], 1, 'version', '3 is not 2'],
    ['block size 0', [{ ...header, block_size: 0 }], 1, 'block_size', '0 is below 1'],
    ['an empty source', [{ ...header, source: { format: '', digest: 'd' } }], 1, 'source.format', '"" is blank'],
    ['a header alone', [header], 1, undefined, 'holds no request'],
    ['too few ids', [header, row('a', { hash_ids: [1] })], 2, 'hash_ids', '1 ids, but 6 tokens at block_size 4 need 2'],
    ['too many ids', [header, row('a', { hash_ids: [1, 2, 3] })], 2, 'hash_ids', '3 ids, but 6 tokens at block_size 4 need 2'],
    ['a blank model', [header, row('a', { model: ' ' })], 2, 'model', '" " is blank'],
    ['a negative start', [header, row('a', { not_before_ms: -1 })], 2, 'not_before_ms', '-1 is negative'],
    ['no start', [header, row('a', { not_before_ms: null })], 2, 'not_before_ms', 'missing'],
    ['dispatch without spawn', [header, row('a'), row('b', { dependencies: [on('a', { trigger: 'dispatch' })] })], 3, 'dependencies.0.trigger', '"dispatch" does not go with relation sequence'],
    ['a repeated id', [header, row('a'), row('b', { dependencies: [on('a')] }), row('a')], 4, 'request_id', "'a' is the request of line 2 already"],
    ['an unknown id', [header, row('a'), row('b', { dependencies: [on('zz')] })], 3, 'dependencies.0.request_id', "request 'b' waits for unknown request 'zz'"],
    ['itself', [header, row('a', { dependencies: [on('a')] })], 2, 'dependencies.0.request_id', "request 'a' waits for itself"],
    ['another play', [header, row('a'), row('b', { play_id: 'q', dependencies: [on('a')] })], 3, 'dependencies.0.request_id', "request 'b' waits for 'a' of another play"],
    ['a cycle', [header, row('a'), row('b', { dependencies: [on('c')] }), row('c', { dependencies: [on('b')] })], 3, undefined, "2 requests wait for each other in a cycle or behind one, 'b' among them"],
    ['two roots', [header, row('a'), row('b')], 3, 'dependencies', "play 'p' has two requests that wait for none, 'a' and 'b'"],
    ['version 1: an unknown id', [old('a'), old('b', { wait_for: ['a', 'zz'] })], 2, 'wait_for.1', "request 'b' waits for unknown request 'zz'"],
    ['version 1: a cycle', [old('a', { wait_for: ['b'] }), old('b', { wait_for: ['a'] })], 1, undefined, "2 requests wait for each other in a cycle or behind one, 'a' among them"],
    ['version 1: a repeated id', [old('a'), old('a')], 2, 'request_id', "'a' is the request of line 1 already"],
    ['version 1: no id', [old(undefined, { wait_for: [] })], 1, 'request_id', 'missing'],
    ['version 1: too long a prompt', [old('a', { input_length: 5 })], 1, 'hash_ids', '1 id covers 4 tokens at block_size 4, input_length is 5'],
    ['version 1: a name and its alias', [old('a', { delay: 1, delay_ms: 1 })], 1, 'delay_ms', 'another name of delay, which is given too'],
  ])('%s', async (name, rows, line, path, what) => {
    const problem = await problemOf(() => read('agentic_mooncake', lines(...rows), name.startsWith('version 1') ? { blockTokens: 4 } : {}));
    expect(problem).toMatchObject({ code: 'E-TRACE', what });
    expect(problem.path).toBe(path);
    expect(problem.hint).toBeTruthy();
    if (name !== 'a header alone') expect(problem.line).toBe(line);
  });

  it('a block size that differs from the one asked for, and part of a trace', async () => {
    expect(await problemOf(() => read('auto', lines(header, row('a')), { blockTokens: 8 }))).toMatchObject({ path: 'block_size', what: '4 differs from the block size asked for, 8' });
    expect(await problemOf(() => read('auto', lines(header, row('a')), { requests: 1 }))).toMatchObject({ code: 'E-COMBINATION' });
    const workload = await read('auto', lines(header, row('a')));
    expect(await problemOf(() => checkDriver(workload, { kind: 'closed', concurrency: 2 }))).toMatchObject({ code: 'E-COMBINATION' });
    expect(await problemOf(() => mooncakeText(workload))).toMatchObject({ code: 'E-UNSUPPORTED' });
  });

  it('cuts long prompts of version 1 with a warning when not strict, and says what has no effect', async () => {
    const workload = await read('agentic_mooncake', lines(old('a', { input_length: 5, delay: 3 }), old('b', { wait_for: ['a'] })), { blockTokens: 4, strict: false });
    expect([...workload.promptTokens]).toEqual([4, 4]);
    expect(workload.warnings.map(({ code }) => code)).toEqual(['W-NO-EFFECT', 'W-CLAMPED']);
  });
});

describe('dynamo request traces', () => {
  const end = (request_id: string, startMs: number, totalMs: number, agent?: Row, replay: Row = {}): Row => ({
    schema: 'dynamo.request.trace.v1', event_type: 'request_end', event_time_unix_ms: startMs + totalMs + 5, ...(agent && { agent_context: agent }),
    request: { request_id, output_tokens: 3, request_received_ms: startMs, total_time_ms: totalMs, replay: { trace_block_size: 4, input_length: 6, input_sequence_hashes: [11, 12], ...replay } },
  });

  it('independent requests: by start, end and id; wrapped records; several files, packed or not', async () => {
    const first = temporaryFile(lines(end('c', 1300, 1), { timestamp: 1, event: end('b', 1200, 9) }) + '[1]\n"text"\n\n' + lines({ event_type: 'request_payload' }), 'a.jsonl');
    const second = temporaryFile(gzipSync(lines(end('a', 1200, 9))), 'b.jsonl.gz');
    expect(await detectFormat(first)).toBe('dynamo');
    const workload = await readTrace([first, second], 'auto', OPTIONS);
    expect(workload.sessionNames).toEqual(['a', 'b', 'c']);
    expect([...workload.arrivalMs]).toEqual([0, 0, 100]);
    expect(workload.traceBlockTokens).toBe(4);
    expect(workload.source).toBeUndefined();
  });

  it('completion hashes make generated text known, but in aisimulate', async () => {
    // 6 + 3 tokens: the second block's id is the completion's, and holds outputs 0 and 1; output 2 opens block 13.
    const text = lines(end('a', 0, 1, undefined, { completion_sequence_hashes: [11, 22, 13] }), end('b', 50, 1, undefined, { input_length: 8, input_sequence_hashes: [11, 22] }));
    const workload = await read('dynamo', text);
    expect([idsOf(workload, 0), idsOf(workload, 1)]).toEqual([[0, 1], [0, 1]]);
    expect([...workload.authored!.symbols]).toEqual([1, 2]);
    expect([...workload.authored!.counts]).toEqual([2, 1]);
    const table = expandBlocks(workload, 4);
    expect(table.generated!.blocks[0]).toBe(blocksOf(table, 1)[1]);
    const without = await read('dynamo', text, { fidelity: 'aisimulate' });
    expect(without.authored).toBeUndefined();
    expect(idsOf(without, 1)).not.toEqual(idsOf(without, 0));
  });

  const parent = { session_id: 'p' };
  const child = { session_id: 'c', parent_session_id: 'p' };
  const agents = lines(end('p1', 1000, 100, parent), end('c1', 1050, 250, child), end('p2', 1200, 50, parent), end('p3', 1400, 20, parent));

  it('agents wait as they did when recorded', async () => {
    expect(waits(await read('auto', agents))).toEqual(['c1>p3:100', 'p1>c1:50*', 'p1>p2:100', 'p2>p3:150']);
    expect(waits(await read('auto', agents, { fidelity: 'dynosim' }))).toEqual(['c1>p3:100', 'p1>c1:0', 'p1>p2:100', 'p2>p3:100']);
  });

  it('a tool call that names its requests replaces what times suggest', async () => {
    const tool = (claude: Row): Row => ({ schema: 'dynamo.request.trace.v1', event_type: 'tool_end', event_time_unix_ms: 1300, agent_context: parent, tool: { tool_call_id: 't', tool_class: 'agent', claude } });
    const link = { source_request_id: 'p1', consumer_request_id: 'p2', child_session_id: 'c', execution_mode: 'blocking' };
    expect(waits(await read('auto', agents + lines(tool(link))))).toEqual(['c1>p2:0', 'p1>c1:50*', 'p1>p2:100', 'p2>p3:150']);
    expect(await problemOf(() => read('auto', agents + lines(tool({ ...link, source_request_id: 'c1' }))))).toMatchObject({ path: 'tool.claude.source_request_id', line: 5 });
    expect(await problemOf(() => read('auto', agents + lines(tool(link), tool(link))))).toMatchObject({ what: "two tool calls name session 'c'" });
  });

  it.each<[name: string, rows: Row[], path: string, what: string]>([
    ['another event', [{ ...end('a', 0, 1), event_type: 'start' }], 'event_type', '"start" is not one of request_end, request_payload, tool_start, tool_end, tool_error'],
    ['an older schema', [{ ...end('a', 0, 1), schema: 'dynamo.agent.trace.v1' }], 'schema', '"dynamo.agent.trace.v1" is not one of dynamo.request.trace.v1'],
    ['no replay part', [{ ...end('a', 0, 1), request: { request_id: 'a' } }], 'request.replay', 'missing'],
    ['too few hashes', [end('a', 0, 1, undefined, { input_length: 9 })], 'request.replay.input_sequence_hashes', '2 hashes, but 9 tokens at trace_block_size 4 need 3'],
    ['completion hashes that differ', [end('a', 0, 1, undefined, { completion_sequence_hashes: [9, 12, 13] })], 'request.replay.completion_sequence_hashes', 'block 0 differs from that of input_sequence_hashes'],
    ['a repeated id', [end('a', 0, 1), end('a', 5, 1)], 'request.request_id', "'a' is the request of an earlier line already"],
    ['mixed block sizes', [end('a', 0, 1), end('b', 0, 1, undefined, { trace_block_size: 8, input_sequence_hashes: [1] })], 'request.replay.trace_block_size', '8 here, 4 on an earlier request'],
    ['agents beside plain requests', [end('a', 0, 1), end('b', 0, 1, parent)], 'agent_context', 'missing on this request, while others have one'],
    ['two parents', [end('a', 0, 1, child), end('b', 5, 1, { session_id: 'c', parent_session_id: 'q' })], 'agent_context.parent_session_id', "session 'c' has parent 'q' here and 'p' before"],
  ])('refuses %s', async (_name, rows, path, what) => {
    expect(await problemOf(() => read('dynamo', lines(...rows)))).toMatchObject({ code: 'E-TRACE', path, what });
  });
});

describe('weka', () => {
  const request = (t: number, hash_ids: number[], rest: Row = {}): Row => ({ t, type: 's', model: 'm', in: hash_ids.length * 4, out: 1, hash_ids, ...rest });
  const play = (requests: Row[], rest: Row = {}): Row => ({ id: 'w', block_size: 4, hash_id_scope: 'local', requests, ...rest });
  const agent = (t: number, requests: Row[], rest: Row = {}): Row => ({ t, type: 'subagent', agent_id: 'a', subagent_type: 'x', status: 'completed', requests, ...rest });

  it('sequence, fork, join: gaps from the recorded times', async () => {
    const workload = await read('auto', lines(play([request(0, [1, 2], { api_time: 0.5 }), request(0.1, [1, 9]), request(1, [1, 2, 3]), request(2, [1, 2, 3, 4])])));
    // The second request ran beside the first (a fork at its dispatch); the third waited for both.
    expect(waits(workload)).toEqual(['w:0>w:1:100*', 'w:0>w:2:500', 'w:1>w:2:0', 'w:1>w:3:0', 'w:2>w:3:1000']);
  });

  it('a fork from the last request of a chain re-joins it', async () => {
    const workload = await read('auto', lines(play([request(0, [1, 2]), request(1, [1, 9]), request(2, [1, 9, 10])])));
    expect(waits(workload)).toEqual(['w:0>w:1:1000', 'w:1>w:2:1000']);
    expect(workload.sessionCount).toBe(1);
  });

  it('sub-agents: blocking ones are waited for, others not; times relative when one precedes its marker', async () => {
    const rows = [request(0, [1], { api_time: 0.1 }), agent(1, [request(0.25, [7])]), agent(1, [request(0.5, [8])], { status: 'async_launched', agent_id: 'b' }), request(3, [1, 2])];
    expect(waits(await read('auto', lines(play(rows))))).toEqual(['w:0>w:1:0:1150', 'w:0>w:2:0:1400', 'w:0>w:3:2900', 'w:1:0>w:3:1750']);
    const absolute = await read('auto', lines(play(rows)), { nestedTimestamps: 'absolute' });
    expect(waits(absolute)).toContain('w:0>w:1:0:150');
  });

  it('ids are local to a play; missing ones and partial blocks are private, surplus is cut', async () => {
    const workload = await read('auto', lines(play([request(0, [1, 2], { in: 6 }), request(1, [1, 2], { in: 12 })]), play([request(0, [1, 2, 3], { in: 4 })], { id: 'v' })));
    const ids = new Map(workload.graph!.requestNames.map((name, r) => [name, idsOf(workload, r)]));
    expect(commonPrefix(ids.get('w:0')!, ids.get('w:1')!)).toBe(1);
    expect([...ids.values()].map(({ length }) => length)).toEqual([1, 2, 3]);
    expect(new Set([...ids.values()].flat()).size).toBe(5);
    expect(workload.graph!.playNames).toEqual(['w', 'v']);
  });

  it('reads a folder of documents in order of their names, and no links', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dynotwin-'));
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'sub', 'b.json'), JSON.stringify(play([request(0, [1])], { id: 'b' }), null, 2));
    writeFileSync(join(folder, 'a.json'), JSON.stringify(play([request(0, [1])], { id: 'a' }), null, 2));
    expect(await detectFormat(join(folder, 'a.json'))).toBe('weka');
    expect((await readTrace([folder], 'auto', OPTIONS)).graph!.playNames).toEqual(['a', 'b']);
    writeFileSync(join(folder, 'c.json'), JSON.stringify(play([request(-1, [1])], { id: 'c' }), null, 2));
    expect(await problemOf(() => readTrace([folder], 'auto', OPTIONS))).toMatchObject({ file: join(folder, 'c.json'), line: 7, path: 'requests.0.t', what: '-1 is negative' });
    symlinkSync(join(folder, 'a.json'), join(folder, 'd.json'));
    expect(await problemOf(() => readTrace([folder], 'auto', OPTIONS))).toMatchObject({ code: 'E-FILE', what: 'is a symbolic link' });
  });

  it.each<[name: string, rows: Row[], path: string, what: string]>([
    ['a global scope', [play([request(0, [1])], { hash_id_scope: 'global' })], 'hash_id_scope', '"global" is not one of local'],
    ['mixed block sizes', [play([request(0, [1])]), play([request(0, [1])], { id: 'v', block_size: 8 })], 'block_size', '8 differs from that of an earlier play, 4'],
    ['a repeated play', [play([request(0, [1])]), play([request(0, [1])])], 'id', '"w" names an earlier play already'],
    ['another entry', [play([{ t: 0, type: 'x' }])], 'requests.0.type', '"x" is not one of n, s, subagent'],
    ['another status', [play([request(0, [1]), agent(0, [request(1, [1])], { status: 'failed' })])], 'requests.1.status', '"failed" is not one of completed, async_launched'],
    ['an orphan', [play([agent(0, [request(1, [1])]), request(2, [1])])], 'requests.0.t', 'no request stands before this sub-agent'],
    ['an empty sub-agent', [play([request(0, [1]), agent(0, [])])], 'requests.1.requests', 'is empty, yet the sub-agent completed'],
    ['an empty prompt', [play([request(0, [1], { in: 0 })])], 'requests.0.in', '0 is below 1'],
  ])('refuses %s', async (_name, rows, path, what) => {
    expect(await problemOf(() => read('weka', lines(...rows)))).toMatchObject({ code: 'E-TRACE', path, what });
  });
});

describe('bailian and burstgpt', () => {
  const chat = (chat_id: number, parent_chat_id: number, timestamp: number, rest: Row = {}): Row => ({ chat_id, parent_chat_id, timestamp, input_length: 20, output_length: 3, type: 'text', turn: 1, hash_ids: [1, 2], ...rest });

  it('chats continue their parent once; seconds become ms', async () => {
    const workload = await read('auto', lines(chat(1, -1, 10), chat(2, 1, 12.5), chat(3, 1, 13), chat(4, 99, 14)));
    expect(workload.traceBlockTokens).toBe(16);
    expect([...workload.session]).toEqual([0, 0, 1, 2]);
    expect([...workload.arrivalMs]).toEqual([0, NaN, 3000, 4000]);
    expect([...workload.delayMs]).toEqual([0, 2500, 0, 0]);
    expect(await problemOf(() => read('bailian', lines(chat(1, -1, 10), chat(2, 1, 9))))).toMatchObject({ line: 2, path: 'timestamp', what: '9 is earlier than that of its parent' });
    expect(await problemOf(() => read('bailian', lines(chat(1, -1, 10, { input_length: 33 }))))).toMatchObject({ path: 'hash_ids' });
  });

  it('CSV rows are independent', async () => {
    const text = 'Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n\n45,GPT-4,1087,230,1317,Conversation log\n';
    const workload = await read('auto', text, {}, 'burst.csv');
    expect(workload).toMatchObject({ name: 'burst', requestCount: 2, sessionNames: ['request_2', 'request_4'] });
    expect([...workload.arrivalMs]).toEqual([0, 40_000]);
    expect([...workload.promptTokens]).toEqual([472, 1087]);
    expect(commonPrefix(idsOf(workload, 0), idsOf(workload, 1))).toBe(0);
    expect(await problemOf(() => read('burstgpt', text.replace('1087', 'x')))).toMatchObject({ line: 4, path: 'Request tokens', what: "'x' is not valid" });
    expect(await problemOf(() => read('burstgpt', 'a,b\n'))).toMatchObject({ line: 1, path: 'Timestamp', what: 'no such column' });
  });
});

describe('which format', () => {
  it('one file, unless it is a request trace', async () => {
    const path = temporaryFile(lines({ output_length: 1, hash_ids: [1] }));
    expect(await problemOf(() => readTrace([path, path], 'auto', OPTIONS))).toMatchObject({ code: 'E-COMBINATION', what: '2 files given, and a trace of format mooncake is one' });
  });

  it('a late sign of version 1 counts; what looks like nothing is refused', async () => {
    const plain = { request_id: 'a', output_length: 1, hash_ids: [1] };
    expect(await detectFormat(temporaryFile(lines(plain, plain, { ...plain, wait_for: [] })))).toBe('agentic_mooncake');
    expect(await detectFormat(temporaryFile(lines(plain)))).toBe('mooncake');
    expect(await problemOf(() => detectFormat(temporaryFile(lines({ x: 1 }))))).toMatchObject({ code: 'E-TRACE', what: 'looks like no known trace format' });
    expect(await problemOf(() => detectFormat(temporaryFile('\n')))).toMatchObject({ code: 'E-TRACE', what: 'holds no request' });
    expect(await problemOf(() => read('auto', '{"timestamp": 0,}'))).toMatchObject({ code: 'E-SYNTAX', line: 1, col: 17 });
  });
});

describe('mooncakeText', () => {
  it('reads back as the same workload', async () => {
    const text = lines({ session_id: 's', timestamp: 5, input_length: 7, output_length: 2, hash_ids: [4, 9], output_token_ids: [0, 7] }, { timestamp: 6, input_length: 8, output_length: 0, hash_ids: [4, 2] }, { session_id: 's', delay: 3, input_length: 4, output_length: 1, hash_ids: [2] });
    const first = await read('mooncake', text, { blockTokens: 4 });
    const second = await read('mooncake', mooncakeText(first), { blockTokens: 4 });
    const { warnings: _, source: __, sessionNames: ___, ...again } = second;
    for (const [name, column] of Object.entries(again)) if (name !== 'authored') expect(column, name).toEqual(first[name as keyof Workload]);
    expect(again.authored!.symbols).toHaveLength(2);
    expect(expandBlocks(first, 2).generated!.blocks).toHaveLength(1);
    expect(expandBlocks(second, 2)).toEqual(expandBlocks(first, 2));
  });

  it('delta sessions become whole prompts that share what they shared', async () => {
    const delta = await read('mooncake-delta', lines({ session_id: 's', timestamp: 0, input_length: 8, output_length: 4, hash_ids: [1, 2] }, { session_id: 's', delay: 0, input_length: 3, output_length: 1, hash_ids: [3] }), { blockTokens: 4 });
    const full = await read('mooncake', mooncakeText(delta), { blockTokens: 4 });
    expect([...full.promptTokens]).toEqual([8, 15]);
    expect([idsOf(full, 0), idsOf(full, 1)]).toEqual([[0, 1], [0, 1, 2, 3]]);
  });
});
