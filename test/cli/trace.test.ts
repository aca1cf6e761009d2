import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { registerTrace } from '../../src/cli/trace.js';
import { problemOf } from '../workload/support.js';

let folder: string;
let stdout: string;
let stderr: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dynotwin-'));
  stdout = '';
  stderr = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((stdout += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((stderr += String(text)), true));
});
afterEach(() => vi.restoreAllMocks());

async function trace(...args: string[]): Promise<void> {
  const program = new Command();
  registerTrace(program);
  await program.parseAsync(['node', 'dynotwin', 'trace', ...args]);
}
const synthesize = (name: string, ...args: string[]): Promise<void> => trace('synthesize', '--like', 'tool_agent', '--duration', '30 s', '--out', join(folder, name), ...args);

describe('trace synthesize', () => {
  it('writes a trace, plain or packed, the same bytes for the same seed', async () => {
    await synthesize('sub/a.jsonl', '--requests', '40');
    await synthesize('b.jsonl.gz', '--requests', '40', '--seed', '42');
    await synthesize('c.jsonl', '--requests', '40', '--seed', '43');
    const text = readFileSync(join(folder, 'sub/a.jsonl'), 'utf8');
    expect(text.split('\n')).toHaveLength(41);
    expect(gunzipSync(readFileSync(join(folder, 'b.jsonl.gz'))).toString()).toBe(text);
    expect(readFileSync(join(folder, 'c.jsonl'), 'utf8')).not.toBe(text);
    expect(stdout).toContain('sub/a.jsonl: 40 requests\n');
  });

  it('replaces a file only when told to, and leaves nothing else behind', async () => {
    await synthesize('a.jsonl');
    const before = readFileSync(join(folder, 'a.jsonl'), 'utf8');
    expect(await problemOf(() => synthesize('a.jsonl', '--scale', '2'))).toMatchObject({ code: 'E-OUT' });
    expect(readFileSync(join(folder, 'a.jsonl'), 'utf8')).toBe(before);
    await synthesize('a.jsonl', '--scale', '2', '--overwrite');
    expect(readFileSync(join(folder, 'a.jsonl'), 'utf8')).not.toBe(before);
    writeFileSync(join(folder, 'file'), '');
    expect(await problemOf(() => synthesize('file/x.jsonl'))).toMatchObject({ code: 'E-FILE', path: '--out' });
    expect(readdirSync(folder).sort()).toEqual(['a.jsonl', 'file']);
  });

  it.each([
    [['--duration', '600'], 'E-UNIT', "write '600 ms' or '600 s'"],
    [['--duration', '5 GB'], 'E-UNIT', "write a time such as '500 ms'"],
    [['--scale', '0'], 'E-RANGE', 'write a number above 0'],
    [['--scale', 'NaN'], 'E-TYPE', 'write a number above 0'],
    [['--seed', '-1'], 'E-RANGE', 'write an integer of at least 0'],
    [['--requests', '0'], 'E-RANGE', 'write --requests 2'],
    [['--requests', '99999'], 'E-RANGE', 'raise --duration or --scale'],
    [['--like', 'chat'], 'E-ENUM', 'choose one of these'],
    [['--out', 'a.csv'], 'E-TYPE', "write '--out trace.jsonl'"],
  ])('%j is refused', async (args, code, hint) => {
    expect(await problemOf(() => synthesize('a.jsonl', ...args))).toMatchObject({ code, hint });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('trace info', () => {
  it('prints a table or JSON', async () => {
    await synthesize('a.jsonl');
    stdout = '';
    await trace('info', join(folder, 'a.jsonl'));
    expect(stdout).toMatch(/^a\n\ntokens +mean +std/);
    expect(stdout).toMatch(/\nISL +[\d,]+ /);
    expect(stdout).toMatch(/\ninfinite cache +[\d.]+% of blocks/);
    stdout = '';
    await trace('info', join(folder, 'a.jsonl'), '--format', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ name: 'a', block_size: 512, arrivals: { span_ms: expect.any(Number) as number } });
  });

  it('warns of clamped rows on stderr, unless quiet; --block-size counts', async () => {
    const file = join(folder, 'b.jsonl');
    writeFileSync(file, '{"input_length": 600, "output_length": 1, "hash_ids": [1]}\n');
    await trace('info', file);
    expect(stderr).toMatch(/b\.jsonl:1: warning W-CLAMPED: input_length: cut to what hash_ids cover on 1 row, /);
    expect(stdout).toContain('no timestamps: closed loop only');
    stderr = '';
    await trace('info', file, '--quiet');
    await trace('info', file, '--block-size', '1024');
    expect(stderr).toBe('');
  });

  it('knows the format by the rows', async () => {
    const file = join(folder, 'dag.jsonl');
    writeFileSync(file, '{"request_id": "a", "output_length": 1, "hash_ids": [1]}\n{"request_id": "b", "output_length": 1, "hash_ids": [1, 2], "wait_for": ["a"]}\n');
    await trace('info', file);
    expect(stdout).toMatch(/\nplays +1; 1 waits of a request for another\n/);
    expect(await problemOf(() => trace('info', file, '--trace-format', 'mooncake'))).toMatchObject({ code: 'E-TRACE', line: 2, path: 'wait_for' });
    expect(await problemOf(() => trace('info', file, '--trace-format', 'csv'))).toMatchObject({ code: 'E-ENUM', path: '--trace-format' });
    expect(await problemOf(() => trace('info', file, file))).toMatchObject({ code: 'E-COMBINATION', file });
  });

  it('refuses what it cannot read', async () => {
    expect(await problemOf(() => trace('info', join(folder, 'none.jsonl')))).toMatchObject({ code: 'E-FILE', what: 'no such file' });
    expect(await problemOf(() => trace('info', 'x', '--format', 'csv'))).toMatchObject({ code: 'E-ENUM', path: '--format' });
    expect(await problemOf(() => trace('info', 'x', '--block-size', '0'))).toMatchObject({ code: 'E-RANGE', path: '--block-size' });
    expect(stdout).toBe('');
  });
});

describe('trace convert', () => {
  const rows = '{"num_turns":1,"input_prompt_length":5,"assistant_response_length":[2],"tool_call_output_length":[1],"tool_call_latency":[0.5],"final_assistant_response_length":3}\n';

  it('writes Mooncake rows', async () => {
    const file = join(folder, 't.jsonl');
    writeFileSync(file, rows);
    await trace('convert', file, '--to', 'mooncake', '--block-size', '4', '--out', join(folder, 'out.jsonl'));
    expect(stdout).toBe(`${join(folder, 'out.jsonl')}: 2 requests, blocks of 4 tokens\n`);
    expect(readFileSync(join(folder, 'out.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([
      { session_id: 'applied_compute_agentic_session_1', input_length: 5, output_length: 2, hash_ids: [0, 1] },
      { session_id: 'applied_compute_agentic_session_1', delay: 500, input_length: 8, output_length: 3, hash_ids: [0, 1] },
    ]);
    expect(await problemOf(() => trace('convert', file, '--to', 'mooncake', '--out', join(folder, 'out.jsonl')))).toMatchObject({ code: 'E-OUT' });
    expect(await problemOf(() => trace('convert', file, '--to', 'satf', '--out', join(folder, 'x.jsonl')))).toMatchObject({ code: 'E-ENUM', path: '--to' });
  });
});
