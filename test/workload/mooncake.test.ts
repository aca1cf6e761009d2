import { existsSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { checkDriver } from '../../src/workload/check.js';
import { readMooncake, type MooncakeOptions } from '../../src/workload/formats/mooncake.js';
import { mooncakeText } from '../../src/workload/formats/write-mooncake.js';
import type { Workload } from '../../src/workload/workload.js';
import { formatProblem } from '../../src/core/problem.js';
import { problemOf, temporaryFile } from './support.js';

const read = (text: string, options: Partial<MooncakeOptions> = {}): Promise<Workload> => readMooncake(temporaryFile(text), { blockTokens: 512, strict: true, ...options });
const row = (fields: Record<string, unknown>): string => JSON.stringify({ timestamp: 0, input_length: 600, output_length: 5, hash_ids: [1, 2], ...fields });
const rows = (...list: Record<string, unknown>[]): string => list.map(row).join('\n');

describe('readMooncake', () => {
  it('reads rows, names, interned ids, normalised times', async () => {
    const workload = await read(`${row({ timestamp: -100, hash_ids: [70, 90] })}\n\n  \r\n${row({ timestamp: 50, hash_ids: [90, 18446744073709551615n.toString()] }).replace(/"(\d{20})"/, '$1')}`);
    expect(workload).toMatchObject({ name: 'trace', requestCount: 2, sessionCount: 2, sessionNames: ['request_1', 'request_4'], traceBlockTokens: 512, warnings: [] });
    expect([...workload.arrivalMs]).toEqual([0, 150]);
    expect([...workload.promptTokens]).toEqual([600, 600]);
    expect([...workload.outputTokens]).toEqual([5, 5]);
    expect([...workload.hashOffsets]).toEqual([0, 2, 4]);
    expect([...workload.hashIds]).toEqual([0, 1, 1, 2]);
    expect([...workload.nextTurn]).toEqual([-1, -1]);
    expect([...workload.source!.lines]).toEqual([1, 4]);
  });

  it('keeps ids beyond 2^53 apart', async () => {
    const workload = await read('{"output_length": 1, "hash_ids": [9007199254740993, 9007199254740992 ,3,9007199254740993]}');
    expect([...workload.hashIds]).toEqual([0, 1, 2, 0]);
  });

  it('reads aliases; a missing length is what the ids cover; null is absent', async () => {
    const workload = await read('{"created_time": 5, "output_tokens": 0, "hash_ids": [1, 2]}\n{"created_time": 6.5, "input_tokens": 7, "output_length": 1, "hash_ids": [1], "session_id": null, "delay": null}');
    expect([...workload.promptTokens]).toEqual([1024, 7]);
    expect([...workload.outputTokens]).toEqual([0, 1]);
    expect([...workload.arrivalMs]).toEqual([0, 1.5]);
  });

  it('a session: worked example 9', async () => {
    const text = rows({ session_id: 's', timestamp: 1000 }, { session_id: 't', timestamp: 900 }, { session_id: 's', timestamp: undefined, delay_ms: 50 }, { session_id: 's', timestamp: 1200 });
    const workload = await read(text);
    expect([...workload.delayMs]).toEqual([0, 0, 50, 200]);
    expect([...workload.arrivalMs]).toEqual([100, 0, NaN, NaN]);
    expect([...workload.session]).toEqual([0, 1, 0, 0]);
    expect([...workload.turn]).toEqual([0, 0, 1, 2]);
    expect([...workload.nextTurn]).toEqual([2, -1, 3, -1]);
    const back = await problemOf(() => read(rows({ session_id: 's', timestamp: 1000 }, { session_id: 's', timestamp: undefined, delay: 50 }, { session_id: 's', timestamp: 900 })));
    expect(back).toMatchObject({ code: 'E-TRACE', line: 3, col: 14, path: 'timestamp', what: '900 goes back from 1000 within its session' });
  });

  it('delay wins over timestamp; neither means 0', async () => {
    const workload = await read(rows({ session_id: 's', timestamp: 10 }, { session_id: 's', timestamp: 30, delay: 3 }, { session_id: 's', timestamp: undefined }, { session_id: 's', timestamp: 31 }));
    expect([...workload.delayMs]).toEqual([0, 3, 0, 1]);
  });

  it('skips and takes rows, and stops reading there', async () => {
    const workload = await read(`nonsense\n\n${rows({ timestamp: 7 }, { timestamp: 9 })}\nnonsense`, { skip: 1, requests: 2 });
    expect([...workload.arrivalMs]).toEqual([0, 2]);
  });

  it('reads gzip of several members, and lines across chunks', async () => {
    const text = `${rows(...Array.from({ length: 5000 }, (_, i) => ({ timestamp: i })))}\n`;
    const half = text.length >> 1;
    const packed = Buffer.concat([gzipSync(text.slice(0, half)), gzipSync(text.slice(half))]);
    const options = { blockTokens: 512, strict: true };
    const unpacked = await readMooncake(temporaryFile(text), options);
    const { source: _, ...columns } = await readMooncake(temporaryFile(packed, 'trace.jsonl.gz'), options);
    expect(unpacked).toMatchObject(columns);
    expect(columns.arrivalMs[4999]).toBe(4999);
  });

  it('clamps when told to, with one warning; worked example 3', async () => {
    const text = rows({}, { input_length: 3000, hash_ids: [1, 2, 3, 4] }, { input_length: 2000 });
    const workload = await read(text, { strict: false });
    expect([...workload.promptTokens]).toEqual([600, 2048, 1024]);
    expect(workload.warnings).toHaveLength(1);
    expect(workload.warnings[0]).toMatchObject({ code: 'W-CLAMPED', line: 2, what: 'cut to what hash_ids cover on 2 rows, first here: 4 ids cover 2048 tokens at block_size 512, input_length is 3000' });
  });

  it('reads what rows ask of routers, and writes it back', async () => {
    const nvext = { agent_hints: { osl: 40 }, backend_instance_id: 3, dp_rank: 1, cache_control: { type: 'ephemeral', ttl: '1h' } };
    const asked = { policy_class: 'a', routing_constraints: { required_taints: ['x'], preferred_taints: { y: 0.5 }, allowed_worker_ids: [0, 3] }, nvext, router_config_override: { overlap_score_weight: 0 } };
    const workload = await read(rows({}, asked));
    const hints = { policyClass: 'a', requiredTaints: ['x'], preferredTaints: { y: 0.5 }, allowedWorkers: [0, 3], worker: 3, rank: 1, expectedOutputTokens: 40, retainMs: 3_600_000, override: { overlapScoreCredit: 0, prefillLoadScale: 0 } };
    expect(workload.hints).toEqual(new Map([[1, hints]]));
    expect((await read(mooncakeText(workload))).hints).toEqual(workload.hints);
  });

  it('reads the hints to a queue', async () => {
    const workload = await read(rows({}, { priority: -3, strict_priority: 4294967295 }, { priority: 7 }));
    expect([...workload.priority!]).toEqual([0, -3, 7]);
    expect([...workload.strictPriority!]).toEqual([0, 4294967295, 0]);
    expect(workload.warnings).toEqual([]);
    const again = await read(mooncakeText(workload));
    expect([again.priority, again.strictPriority]).toEqual([workload.priority, workload.strictPriority]);
    const plain = await read(rows({}, { priority: 0 }));
    expect([plain.priority, plain.strictPriority]).toEqual([undefined, undefined]);
  });
});

describe('readMooncake refuses', () => {
  it('b15, in full', async () => {
    const good = '{"timestamp": 3000, "input_length": 600, "output_length": 64, "hash_ids": [0, 5, 6]}\n'.repeat(6);
    const problem = await problemOf(() => read(`${good}{"timestamp": 3000, "input_length": 2048, "output_length": 64, "hash_ids": [0, 5, 6]}\n`));
    expect(formatProblem({ ...problem, file: 'b15.jsonl' })).toBe(
      'b15.jsonl:7:76: error E-TRACE: hash_ids: 3 ids cover 1536 tokens at block_size 512, input_length is 2048; set workload.block_size if the trace uses another',
    );
  });

  const cases: [name: string, text: string, code: string, line: number, col: number, what: string][] = [
    ['malformed JSON', `${row({})}\n{"timestamp": 0,}`, 'E-SYNTAX', 2, 17, "expected a name in double quotes, found '}'"],
    ['a row cut short', '{"timestamp": 0, "hash_ids": [1', 'E-SYNTAX', 1, 32, "expected ',' or ']', found the end of the line"],
    ['two rows on a line', '{} {}', 'E-SYNTAX', 1, 4, "expected the end of the line, found '{'"],
    ['NaN', '{"timestamp": NaN}', 'E-SYNTAX', 1, 15, "expected a value, found 'NaN'"],
    ['columns in code points', '{"comment": "😀", "x": nil}', 'E-SYNTAX', 1, 23, "expected a value, found 'nil'"],
    ['an array', `${row({})}\n [1]`, 'E-TRACE', 2, 2, 'a row must be a JSON object'],
    ['1e400', '{"timestamp": 1e400, "output_length": 1, "hash_ids": [1]}', 'E-TRACE', 1, 15, '1e400 is not finite'],
    ['a timestamp in text', row({ timestamp: '5' }), 'E-TRACE', 1, 14, '"5" is not a number'],
    ['a negative length', '{"input_length": -5, "output_length": 1, "hash_ids": [1]}', 'E-TRACE', 1, 18, '-5 is negative'],
    ['a fractional length', '{"input_length": 100.5, "output_length": 1, "hash_ids": [1]}', 'E-TRACE', 1, 18, '100.5 is not a whole number'],
    ['length 0', '{"input_tokens": 0, "output_length": 1, "hash_ids": [1]}', 'E-TRACE', 1, 18, '0 is below 1'],
    ['a negative output', '{"output_length": -1, "hash_ids": [1]}', 'E-TRACE', 1, 19, '-1 is negative'],
    ['an output beyond 32 bits', '{"output_length": 3000000000, "hash_ids": [1]}', 'E-TRACE', 1, 19, '3000000000 exceeds 2147483647 tokens'],
    ['no output_length', `\n  {"hash_ids": [1]}`, 'E-TRACE', 2, 3, 'missing'],
    ['a priority in words', row({ priority: 'high' }), 'E-TRACE', 1, 81, '"high" is not a number'],
    ['a negative tier', row({ strict_priority: -1 }), 'E-TRACE', 1, 88, '-1 is negative'],
    ['no hash_ids', '{"output_length": 1, "hash_ids": null}', 'E-TRACE', 1, 1, 'missing'],
    ['hash_ids of another type', '{"output_length": 1, "hash_ids": 7}', 'E-TRACE', 1, 34, '7 is not a list'],
    ['empty hash_ids', '{"output_length": 1, "hash_ids": []}', 'E-TRACE', 1, 34, '[] is empty'],
    ['a negative id', '{"output_length": 1, "hash_ids": [1, -2]}', 'E-TRACE', 1, 34, '-2 is not an id'],
    ['an id in text', '{"output_length": 1, "hash_ids": ["a"]}', 'E-TRACE', 1, 34, '"a" is not an id'],
    ['an id of 65 bits', '{"output_length": 1, "hash_ids": [18446744073709551616]}', 'E-TRACE', 1, 34, '18446744073709551616 is not an id'],
    ['a name and its alias', '{"input_length": 1, "input_tokens": null}', 'E-TRACE', 1, 21, 'another name of input_length, which is given too'],
    ['a name given twice', '{"output_length": 1, "output_length": 2}', 'E-TRACE', 1, 22, 'given twice'],
    ['a delay on a first turn', row({ session_id: 'a', delay: 5 }), 'E-TRACE', 1, 95, '5 stands on the first turn of its session'],
    ['a negative delay', rows({ session_id: 'a' }, { session_id: 'a', delay: -5 }), 'E-TRACE', 2, 95, '-5 is negative'],
    ['a later timestamp without an earlier', rows({ session_id: 'a', timestamp: undefined }, { session_id: 'a' }), 'E-TRACE', 2, 14, '0 follows no earlier timestamp of its session'],
    ['a session id of another type', row({ session_id: 4 }), 'E-TRACE', 1, 83, '4 is not text'],
    ['an authored output of another length', row({ output_token_ids: [1, 2] }), 'E-TRACE', 1, 89, '[1,2] holds 2 tokens, output_length is 5'],
    ['authored tokens that are none', row({ output_token_ids: [1, 2, 3, 4, 4294967296] }), 'E-TRACE', 1, 89, '[1,2,3,4,4294967296] holds something that is not a token id'],
    ['agentic rows', row({ wait_for: [] }), 'E-TRACE', 1, 70, 'belongs to format agentic_mooncake; this file is read as Mooncake rows'],
  ];
  it.each(cases)('%s', async (_name, text, code, line, col, what) => {
    const problem = await problemOf(() => read(text));
    expect(problem).toMatchObject({ code, line, col, what });
    expect(problem.hint).toBeTruthy();
    expect(problem.file).toMatch(/trace\.jsonl$/);
  });

  it('a key repeated only inside another value is no repetition', async () => {
    expect((await read(row({ extra: { timestamp: 1, hash_ids: 2 } }))).requestCount).toBe(1);
  });

  it('files that are missing, empty, blank, used up, folders or no gzip', async () => {
    expect(await problemOf(() => readMooncake('/nowhere/t.jsonl', { blockTokens: 512, strict: true }))).toMatchObject({ code: 'E-FILE', file: '/nowhere/t.jsonl', what: 'no such file' });
    expect(await problemOf(() => readMooncake('/', { blockTokens: 512, strict: true }))).toMatchObject({ code: 'E-FILE', what: 'cannot be read (EISDIR)' });
    expect(await problemOf(() => readMooncake(temporaryFile('{}', 't.gz'), { blockTokens: 512, strict: true }))).toMatchObject({ code: 'E-FILE', what: 'not a whole gzip file (incorrect header check)' });
    expect(await problemOf(() => readMooncake(temporaryFile(gzipSync(row({})).subarray(0, 30), 't.gz'), { blockTokens: 512, strict: true }))).toMatchObject({ code: 'E-FILE' });
    expect(await problemOf(() => read(''))).toMatchObject({ code: 'E-TRACE', what: 'holds no request' });
    expect(await problemOf(() => read('\n  \n'))).toMatchObject({ code: 'E-TRACE', what: 'holds no request' });
    expect(await problemOf(() => read(row({}), { skip: 4 }))).toMatchObject({ code: 'E-TRACE', what: 'no request after the first 4' });
  });

  it('rows without a time, in an open loop only', async () => {
    const workload = await read(`\n${rows({}, { timestamp: undefined })}`);
    expect(await problemOf(() => checkDriver(workload, { kind: 'open', speedup: 1 }))).toMatchObject({ code: 'E-TRACE', line: 3, path: 'timestamp', what: "missing on the first row of session 'request_3'" });
    const sessions = await read(rows({ session_id: 'a' }, { session_id: 'a', timestamp: undefined }));
    expect(() => checkDriver(sessions, { kind: 'open', speedup: 1 })).not.toThrow();
  });
});

const folder = '../shared/golden/traces';
if (!existsSync(folder)) console.log(`${folder} is not here: its traces are not read`);
describe.skipIf(!existsSync(folder))('traces beside the checkout', () => {
  const options = { blockTokens: 64, strict: false };
  it.each([['mini-a', 30], ['mini-b', 40], ['burst', 40], ['sessions', 44], ['zeros', 12], ['fits', 7], ['sine', 2491], ['steps', 1212]])('%s', async (name, count) => {
    expect((await readMooncake(`${folder}/${name}.jsonl`, options)).requestCount).toBe(count);
  });
  it.each(['agentic', 'agentic-v2', 'agenttrace', 'reqtrace', 'trie', 'weka'])('%s is refused by name', async (name) => {
    expect(await problemOf(() => readMooncake(`${folder}/${name}.jsonl`, options))).toMatchObject({ code: 'E-TRACE', what: expect.stringMatching(/^belongs to /) });
  });
});
