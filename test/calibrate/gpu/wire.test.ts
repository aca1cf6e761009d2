import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { passMetrics } from '../../../src/calibrate/gpu/pass-metrics.js';
import { geometryHash, type Geometry } from '../../../src/calibrate/gpu/points.js';
import { LINE_BYTES, parseLine, replySchema, requestSchema } from '../../../src/calibrate/gpu/wire.js';
import { CUDA, FAKE, hasPython, LOAD, run } from './measuring.js';

interface Fixture {
  readonly why: string;
  readonly ok: boolean;
  readonly line: string;
}

/** Lines with the verdict that every party must give. */
function fixtures(name: string): Fixture[] {
  const path = fileURLToPath(new URL(`../../fixtures/calibrate/${name}`, import.meta.url));
  return readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Fixture);
}

const gemm = '{"v":1,"id":7,"type":"measure","point":{"pid":"0123456789ab","split":"grid","est_s":0.5,"kind":"gemm","mode":"graph","m":1,"n":1,"k":1,"dtype":"bf16"}}';
const seqs = (count: number): string => gemm.replace(/"kind".*/, `"kind":"pass","mode":"eager","rows":0,"seqs":${JSON.stringify(Array.from({ length: count }, () => [1, 1]))}}}`);
const requests: Fixture[] = [
  ...fixtures('requests.jsonl'),
  { why: '4096 sequences', ok: true, line: seqs(4096) },
  { why: '4097 sequences', ok: false, line: seqs(4097) },
  { why: 'the longest line', ok: true, line: gemm.padEnd(LINE_BYTES) },
  { why: 'a line that is too long', ok: false, line: gemm.padEnd(LINE_BYTES + 1) },
];
const replies = fixtures('replies.jsonl');
const wrong = (all: readonly Fixture[], takes: (line: string, index: number) => boolean): string[] => all.filter(({ line, ok }, index) => takes(line, index) !== ok).map(({ why }) => why);

/** Whether each line was taken by a program that answers `ok` or `bad_request` to each. */
const PYTHON = `
import sys
sys.path.insert(0, sys.argv[1])
from wire import Failure, parse_request
for line in sys.stdin.buffer.read().decode().split('\\n'):
    try:
        parse_request(line)
        print('ok')
    except Failure as failure:
        print(failure.code)
`;

describe('the wire', () => {
  it('has lines of both verdicts', () => {
    expect(requests.filter(({ ok }) => ok).length).toBeGreaterThan(25);
    expect(requests.filter(({ ok }) => !ok).length).toBeGreaterThan(80);
    for (const { line } of [...requests, ...replies]) expect(line).not.toContain('\n');
  });

  it('requests: the client takes and refuses as told', () => {
    expect(wrong(requests, (line) => parseLine(requestSchema, line).ok)).toEqual([]);
  });

  it('replies: the client takes and refuses as told', () => {
    expect(wrong(replies, (line) => parseLine(replySchema, line).ok)).toEqual([]);
  });

  it('names the field that is wrong', () => {
    expect(parseLine(requestSchema, gemm.replace('"m":1', '"m":0'))).toMatchObject({ ok: false, path: 'point.m' });
    expect(parseLine(requestSchema, '{')).toMatchObject({ ok: false, path: '', what: expect.stringMatching(/^is not valid JSON/) as unknown });
  });

  it('requests: the stand-in answers bad_request to the same lines, with their ids', async () => {
    const started = ['{"v":1,"id":1,"type":"hello","client":"test","versions":[1]}', JSON.stringify({ v: 1, id: 2, type: 'load_model', ...LOAD })];
    // A good bye ends the process.
    const asked = requests.filter(({ ok, line }) => !ok || !line.includes('"bye"'));
    const { out, code } = await run(process.execPath, [FAKE], [...started, ...asked.map(({ line }) => line)].join('\n'));
    const answers = out.trimEnd().split('\n').map((line) => JSON.parse(line) as { id: number | null; type: string; code?: string });
    expect(code).toBe(0);
    expect(answers).toHaveLength(asked.length + started.length);
    expect(wrong(asked, (_line, index) => answers[index + started.length]!.code !== 'bad_request')).toEqual([]);
    asked.forEach(({ line, ok }, index) => {
      if (ok) expect(answers[index + started.length]!.id).toBe((JSON.parse(line) as { id: number }).id);
    });
  });

  it.runIf(hasPython)('requests: wire.py takes and refuses as told (needs python3)', async () => {
    const { out, err } = await run('python3', ['-c', PYTHON, CUDA], requests.map(({ line }) => line).join('\n'));
    expect(err).toBe('');
    const verdicts = out.trimEnd().split('\n');
    expect(verdicts).toHaveLength(requests.length);
    expect(wrong(requests, (_line, index) => verdicts[index] === 'ok')).toEqual([]);
  });

  it('passes have the metrics of a scheduler (spec calibration 11.2)', () => {
    expect(passMetrics([[512, 0], [1, 4096], [1, 700]], 5.1)).toEqual({
      num_prefill_requests: 1, sum_prefill_tokens: 512, sum_prefill_kv_tokens: 0, var_prefill_length: 0, num_decode_requests: 2, sum_decode_kv_tokens: 4796, var_decode_kv_tokens: 2883204, wall_time: 5.1 / 1000,
    });
    expect(passMetrics([[100, 50], [200, 0]], null)).toMatchObject({ sum_prefill_tokens: 300, sum_prefill_kv_tokens: 50, var_prefill_length: 625, num_decode_requests: 0, var_decode_kv_tokens: 0 });
  });

  it.runIf(hasPython)('a geometry has one hash in TypeScript and Python, whatever its numbers (needs python3)', async () => {
    const thetas = [1e6, 10000.5, 1e-7, 1.25e-7, 1e21, 1.5e300, 0.000001234, 123456.789, 5e-324];
    const models: Geometry[] = thetas.map((rope_theta) => ({ ...LOAD.model, rope_theta, moe: { experts: 8, top_k: 2, ffn: 64, shared_ffn: 0, dense_first: 1 } }));
    const script = 'import json, sys; sys.path.insert(0, sys.argv[1])\nfrom records import geometry_hash\nfor line in sys.stdin: print(geometry_hash(json.loads(line)))';
    const { out } = await run('python3', ['-c', script, CUDA], models.map((model) => JSON.stringify(model)).join('\n'));
    expect(out.trimEnd().split('\n')).toEqual(models.map(geometryHash));
  });
});

describe.runIf(hasPython)('stats.py (needs python3)', () => {
  const evaluate = async (expression: string): Promise<unknown> => {
    const { out, err } = await run('python3', ['-c', `import json, sys; sys.path.insert(0, sys.argv[1])\nfrom stats import *\nprint(json.dumps(${expression}))`, CUDA]);
    expect(err).toBe('');
    return JSON.parse(out);
  };
  const POLICY = '{"min": 10, "max": 50, "ci": 0.02, "cap_s": 5}';

  it('half-width of a median of 4.52 with deviation .031 after 14 repeats: 0.67 %', async () => {
    expect(await evaluate('half_width_of(4.52, 0.031, 14)')).toBeCloseTo(0.0067, 4);
    expect(await evaluate('half_width([4, 5, 6, 7, 8])')).toBeCloseTo((3.642 * 1) / (Math.sqrt(5) * 6), 12);
  });

  it('stops when precise, at most repeats, or out of time; never before three', async () => {
    expect(await evaluate(`[enough([1.0] * 9, ${POLICY}, 0), enough([1.0] * 10, ${POLICY}, 0)]`)).toEqual([false, true]);
    expect(await evaluate(`[enough([1, 2] * 20, ${POLICY}, 0), enough([1, 2] * 25, ${POLICY}, 0)]`)).toEqual([false, true]);
    expect(await evaluate(`[enough([1, 2, 3], ${POLICY}, 4.9), enough([1, 2, 3], ${POLICY}, 5), enough([1, 2], ${POLICY}, 99)]`)).toEqual([false, true, false]);
  });

  it('drops repeats far above the median, a tenth at most; else the point is noisy', async () => {
    const calm = '[1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01, 0.99, 1.00]';
    expect(await evaluate(`summary(${calm} + [3.0])`)).toMatchObject({ status: 'ok', n: 9, median_ms: 1 });
    expect(await evaluate(`summary(${calm} + [3.0, 3.0])`)).toMatchObject({ status: 'noisy', n: 11 });
    expect(await evaluate(`summary(${calm} + [0.1])`)).toMatchObject({ status: 'ok', n: 10 });
  });

  it('takes samples on one tick of the clock for calm', async () => {
    expect(await evaluate('summary([1.0] * 8 + [1.0003] * 2)')).toMatchObject({ status: 'ok', n: 10, mad_ms: 0 });
  });
});
