import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { lineBatches } from '../../src/workload/formats/lines.js';
import { PlainRows } from '../../src/workload/formats/mooncake-bytes.js';
import { readMooncake, type MooncakeOptions } from '../../src/workload/formats/mooncake.js';
import { temporaryFile } from './support.js';

const OPTIONS: MooncakeOptions = { blockTokens: 512, strict: false };
const scan = (text: string, most = Infinity): { rows: PlainRows; end: number } => {
  const rows = new PlainRows(512);
  return { rows, end: rows.scan(Buffer.from(text), 0, most) };
};
const row = (member: string, ids = '[1]'): string => `{${member}"output_length": 1, "hash_ids": ${ids}}`;

describe('PlainRows', () => {
  it.each([
    ['{"timestamp": 12, "input_length": 600, "output_length": 5, "hash_ids": [3, 4]}', 12, 600, 5, [3, 4]],
    ['{"hash_ids":[0,0],"output_length":0}', NaN, 1024, 0, [0, 0]],
    [' \t{ "created_time" : 0.25 ,"input_tokens":1.0,"output_tokens":7,"hash_ids" : [ 900719925474099 , 7 ] } \r', 0.25, 1, 7, [900719925474099, 7]],
    ['{"timestamp": 1234567890.12345, "input_length": 512, "output_length": 2147483647, "hash_ids": [1]}', 1234567890.12345, 512, 2147483647, [1]],
    [row(''), NaN, 512, 1, [1]],
  ])('reads %s', (text, arrivalMs, promptTokens, outputTokens, ids) => {
    const { rows, end } = scan(`${text}\nnext\n`);
    expect([end, rows.count, rows.idEnds[0]]).toEqual([text.length + 1, 1, ids.length]);
    expect([rows.arrivalMs[0], rows.promptTokens[0], rows.outputTokens[0]]).toEqual([arrivalMs, promptTokens, outputTokens]);
    expect([...rows.ids.subarray(0, ids.length)]).toEqual(ids);
  });

  it('takes rows until one is not plain, or as many as wanted', () => {
    const good = `${row('"timestamp": 3, ', '[1, 2]')}\n`;
    const text = `${good.repeat(3)}{"hash_ids": [7, 8], "output_length": -1}\n${good}`;
    expect(scan(text)).toMatchObject({ end: 3 * good.length, rows: { count: 3 } });
    expect([...scan(text).rows.idEnds.subarray(0, 3)]).toEqual([2, 4, 6]);
    expect(scan(text, 2)).toMatchObject({ end: 2 * good.length, rows: { count: 2 } });
    const many = good.repeat(1000);
    expect(scan(many).end).toBe(scan(many).rows.count * good.length);
  });

  const ids = ['[]', '[1,]', '[1 2]', '[1', '[1,', '[-1]', '[1.5]', '[01]', '[9007199254740993]', '["1"]', '1', 'null'].map((list) => row('', list));
  const times = ['', '-1', '1e3', '1.', '.5', '01', '1.2.3', '"1"', 'null', 'true', '1234567890123456', '1.234567890123456', '\u00a01'].map((time) => row(`"timestamp": ${time}, `));
  const lengths = ['0', '513', '1.5', '-1', '1e2'].map((length) => row(`"input_length": ${length}, `));
  const outputs = ['-1', '1.5', '2147483648'].map((length) => `{"output_length": ${length}, "hash_ids": [1]}`);
  const names = ['"timestamp": 1, "timestamp": 1, ', '"timestamp": 1, "created_time": 1, ', '"timestamps": 1, ', '"timestam": 1, ', '"time\\u0073tamp": 1, ', '"session_id": "a", ', 'timestamp: 1, ', '"timestamp" 1, ', ', '].map((member) => row(member));
  const shapes = ['', '  ', 'x', '[]', '{}', '{', '{"timestamp"', '{"timestamp":', '{"timestamp": 1', '{"timestamp": 1,', '{"output_length": 1}', '{"hash_ids": [1]}', `${row('')} x`, `${row('')}{`, `\ufeff${row('')}`, `${row('').slice(0, -1)},}`, row('').slice(0, -1)];
  it.each([...ids, ...times, ...lengths, ...outputs, ...names, ...shapes])('leaves %s to the reader of the text', (text) => {
    expect(scan(`${text}\n`)).toMatchObject({ end: 0, rows: { count: 0 } });
  });
});

/** The workload, or the problems, of a file. */
async function outcome(path: string, text: string, options: MooncakeOptions): Promise<unknown> {
  writeFileSync(path, text);
  try {
    return await readMooncake(path, options);
  } catch (error) {
    if (error instanceof InputError) return error.problems;
    throw error;
  }
}

describe('bytes and text give the same', { timeout: 60_000 }, () => {
  const space = fc.constantFrom('', '', ' ', '\t', '  ');
  const usual = fc.integer({ min: 0, max: 30 }).map(String);
  const odd = fc.constantFrom('0', '7.5', '3.0', '0.1', '123456789.125', '1e1', '-4', '-0', '007', '1.', 'null', '"9"', 'true', '4294967296', '9007199254740993', '18446744073709551615', '18446744073709551616', '1e400', '{}', '[1]');
  const number = fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: odd });
  const list = fc.tuple(fc.array(number, { maxLength: 4 }), space).map(([ids, gap]) => `[${gap}${ids.join(`${gap},`)}]`);
  const name = (...names: string[]) => fc.oneof({ weight: 12, arbitrary: fc.constant(names[0]!) }, { weight: 1, arbitrary: fc.constantFrom(...names) });
  const member = (names: fc.Arbitrary<string>, value: fc.Arbitrary<string>) => fc.tuple(names, space, space, value, space).map(([key, a, b, text, c]) => `"${key}"${a}:${b}${text}${c}`);
  const members = fc.tuple(
    member(name('timestamp', 'created_time', 'time\\u0073tamp', 'delay'), number),
    member(name('input_length', 'input_tokens', 'output_length', 'priority'), fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 500 }).map(String) }, { weight: 1, arbitrary: odd })),
    member(name('output_length', 'output_tokens', 'ünknown', 'wait_for'), number),
    member(name('hash_ids', 'hash\\u005fids', 'timestamp'), fc.oneof({ weight: 12, arbitrary: list }, { weight: 1, arbitrary: number })),
  );
  const extra = fc.constantFrom('', '', '', '', '"session_id":"s",', '"session_id":"é",', '"hash\\u005fids":[5],', '"input_length":1,', '"comment":null,');
  const anyRow = fc.tuple(members, extra, space, fc.boolean()).map(([parts, first, gap, turned]) => `${gap}{${first}${(turned ? [...parts].reverse() : parts).join(',')}}`);
  const good = fc
    .tuple(space, fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })), fc.integer({ min: 1, max: 900 }), fc.nat(9), fc.array(fc.oneof(fc.nat(20), fc.nat(1e15)), { minLength: 1, maxLength: 3 }))
    .map(([gap, timestamp, input, output, ids]) => `${gap}{${timestamp === null ? '' : `"timestamp":${gap}${timestamp},`}"input_length": ${input}${gap},"output_length": ${output},${gap}"hash_ids": [${ids.join(', ')}]}${gap}`);
  const line = fc.oneof({ weight: 40, arbitrary: good }, { weight: 6, arbitrary: anyRow }, { weight: 2, arbitrary: fc.constantFrom('', ' ', '\t', '\u00a0') }, { weight: 1, arbitrary: fc.constantFrom('{', '[1]', '\ufeff', 'null', '{"timestamp": 1}}') });
  const files = fc.record({
    lines: fc.array(line, { maxLength: 8 }),
    lineEnd: fc.constantFrom('\n', '\n', '\r\n'),
    last: fc.boolean(),
    mark: fc.constantFrom('', '', '', '\ufeff'),
    skip: fc.constantFrom(0, 0, 1, 2),
    requests: fc.constantFrom(null, null, 2),
    strict: fc.boolean(),
  });

  it('on any rows: a member that nothing reads sends a row to the reader of the text', async () => {
    const path = temporaryFile('');
    let workloads = 0;
    await fc.assert(
      fc.asyncProperty(files, async ({ lines, lineEnd, last, mark, ...options }) => {
        const file = (all: readonly string[]): string => mark + all.join(lineEnd) + (last ? lineEnd : '');
        const plain = await outcome(path, file(lines), { ...OPTIONS, ...options });
        const other = await outcome(path, file(lines.map((text) => text.replace(/\}(?=\s*$)/, ',"nothing":0}'))), { ...OPTIONS, ...options });
        if (!Array.isArray(plain)) workloads++;
        // What stands at the end of a broken row differs by the member.
        if (Array.isArray(plain) && plain[0].code === 'E-SYNTAX') expect(other).toMatchObject([{ code: 'E-SYNTAX', line: plain[0].line }]);
        else expect(other).toEqual(plain);
      }),
      { numRuns: 1500 },
    );
    expect(workloads).toBeGreaterThan(500);
  });

  it('wherever a chunk ends', async () => {
    const rows = '{"timestamp": 5, "input_length": 600, "output_length": 5, "hash_ids": [1, 22]}\n{"timestamp": 7, "session_id": "é", "output_length": 6, "hash_ids": [22]}\n';
    const path = temporaryFile('');
    for (let before = 2 ** 18 - rows.length - 4; before <= 2 ** 18; before++) {
      writeFileSync(path, `${' '.repeat(before)}\n${rows}`);
      const workload = await readMooncake(path, OPTIONS);
      expect([...workload.arrivalMs, ...workload.hashIds, ...workload.outputTokens]).toEqual([0, 2, 0, 1, 1, 5, 6]);
      expect(workload.sessionNames).toEqual(['request_2', 'é']);
    }
  });

  it('on a row longer than chunks, packed or not, and on ids by their size', async () => {
    const ids = Array.from({ length: 200_000 }, (_, i) => [i, 2 ** 22 + i, 2 ** 40 + 7 * i][i % 3]!);
    const text = `{"output_length": 1, "hash_ids": [${[...ids, ...ids].join(', ')}]}`;
    const [plain, packed] = [await readMooncake(temporaryFile(text), OPTIONS), await readMooncake(temporaryFile(gzipSync(text), 'trace.jsonl.gz'), OPTIONS)];
    expect(plain.promptTokens[0]).toBe(400_000 * 512);
    expect(plain.hashIds.every((id, i) => id === i % 200_000)).toBe(true);
    expect(packed.hashIds).toEqual(plain.hashIds);
  });

  it('lineBatches gives the lines of any text', async () => {
    const path = temporaryFile('');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom('', 'a', 'é', '😀\r', 'x'.repeat(2 ** 18 - 1), 'y'.repeat(2 ** 19)), { maxLength: 5 }), fc.boolean(), async (lines, last) => {
        const text = lines.join('\n') + (last ? '\n' : '');
        writeFileSync(path, text);
        const read: string[] = [];
        for await (const batch of lineBatches(path)) read.push(...batch);
        expect(read).toEqual(text === '' ? [] : text.replace(/\n$/, '').split('\n'));
      }),
      { numRuns: 100 },
    );
  });
});
