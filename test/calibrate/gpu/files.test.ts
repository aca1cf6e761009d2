import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readMeasurementFiles, rotatedFile } from '../../../src/calibrate/gpu/measurement-files.js';
import { readMeasured } from '../../../src/calibrate/gpu/read-measured.js';
import { selectPoints } from '../../../src/calibrate/gpu/select.js';
import { parsePlan, planHash, planText, readPlan, type PlanHeader } from '../../../src/calibrate/gpu/plan-file.js';
import { CUDA, decode, FAKE, gemm, hasPython, HEADER, LOAD, LOAD_TP2, named, prefill, repeated, run, steps, workFolder } from './measuring.js';

/** Header and other lines of a plan. */
const PLAN = planText(HEADER, steps(LOAD, gemm(16), decode(8, 512))).trimEnd().split('\n') as [string, string, string, string];
/** A plan of these lines, its hash theirs. */
const rehashed = (header: string, ...lines: string[]): string => {
  const parsed = JSON.parse(header) as PlanHeader;
  return [JSON.stringify({ ...parsed, plan_hash: planHash(parsed, lines) }), ...lines, ''].join('\n');
};
/** The plan with another header, its hash kept. */
const headed = (header: object): string => [JSON.stringify({ ...(JSON.parse(PLAN[0]) as object), ...header }), ...PLAN.slice(1), ''].join('\n');
const CHANGED = '1: error E-PLAN: plan_hash: is not that of this plan';

const other = (header: object): string => rehashed(JSON.stringify({ ...(JSON.parse(PLAN[0]) as object), ...header }), ...PLAN.slice(1));
const repeat = repeated(gemm(16), 1);
const BAD: [string, string, string][] = [
  ['an empty file', '', "1: error E-SYNTAX: the line is not valid JSON"],
  ['a header that is no JSON', PLAN.join('\n').slice(1), '1: error E-SYNTAX: the line is not valid JSON'],
  ['a header of another kind', other({ type: 'sweep' }), '1: error E-PLAN: type: is malformed'],
  ['a later version', other({ v: 2 }), '1: error E-PLAN: v: is malformed'],
  ['no budget', other({ budget_s: 0 }), '1: error E-PLAN: budget_s: is malformed'],
  ['a policy without a field', other({ policy: { warmup: 1 } }), '1: error E-PLAN: policy.min: is malformed'],
  ['no name of a GPU', other({ gpu_name: '' }), '1: error E-PLAN: gpu_name: is malformed'],
  ['a line changed afterwards', PLAN.join('\n').replace('"m":16', '"m":17'), CHANGED],
  ['other hardware than it was written for', headed({ hardware: 'h100_sxm' }), CHANGED],
  ['another GPU than it was written for', headed({ gpu_name: 'H100' }), CHANGED],
  ['another policy than it was written with', headed({ policy: { ...HEADER.policy, ci: 0.5 } }), CHANGED],
  ['no point', rehashed(PLAN[0], PLAN[1]), '1: error E-PLAN: measures no point'],
  ['a torn line', rehashed(PLAN[0], PLAN[1], PLAN[2].slice(0, -5)), '3: error E-SYNTAX: the line is not valid JSON'],
  ['an empty line', rehashed(PLAN[0], PLAN[1], '', PLAN[2]), '3: error E-SYNTAX: the line is not valid JSON'],
  ['a malformed point', rehashed(PLAN[0], PLAN[1], PLAN[2].replace('"m":16', '"m":0')), '3: error E-PLAN: point.m: is malformed'],
  ['another message', rehashed(PLAN[0], '{"v":1,"id":1,"type":"bye"}', ...PLAN.slice(1)), "2: error E-PLAN: type: 'bye' stands in no plan"],
  ['a pass before a model', rehashed(PLAN[0], PLAN[3]), '2: error E-PLAN: point: is a pass before any load_model'],
  ['a point twice', rehashed(...PLAN, PLAN[2]), "5: error E-PLAN: point.pid: '"],
  ['a repeat of nothing', planText(HEADER, steps(LOAD, repeat)), '3: error E-PLAN: point.of: is no point before it'],
  ['a repeat without its number', planText(HEADER, steps(LOAD, gemm(16), named({ kind: 'norm', mode: 'graph', tokens: 1, hidden: 64, of: gemm(16).pid }))), '4: error E-PLAN: point.of: is no point before it'],
  ['a repeat of a point of another split of the model', planText(HEADER, [...steps(LOAD, gemm(16)), ...steps(LOAD_TP2, repeat)]), '5: error E-PLAN: point.of: is no point before it'],
];

describe('a plan file', () => {
  it('reads back as written', () => {
    const parts = [...steps(LOAD, gemm(16), decode(8, 512), repeat), ...steps(LOAD_TP2, gemm(16), prefill(64, 128))];
    const { header, steps: read } = parsePlan(planText(HEADER, parts), 'p.jsonl');
    expect(header).toMatchObject({ type: 'plan', v: 1, ...HEADER, plan_hash: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown });
    expect(read).toEqual(parts.map((part, index) => ({ id: index + 1, ...part })));
  });

  it.each(BAD)('with %s is refused with its line', (_what, text, expected) => {
    expect(() => parsePlan(text, 'p.jsonl')).toThrow(`p.jsonl:${expected}`);
  });

  it('may have another budget, its names in any order and its numbers in any form', async () => {
    const { plan, out } = workFolder(undefined, { name: 'Größe\u2028\u007f"', policy: { ...HEADER.policy, ci: 1e-7 } });
    const [first, ...rest] = readFileSync(plan, 'utf8').split('\n') as [string, ...string[]];
    const header = JSON.stringify(Object.fromEntries(Object.entries({ ...(JSON.parse(first) as object), budget_s: 99 }).reverse())).replace('"cap_s":5', '"cap_s":5.0').replace('1e-7', '0.0000001');
    writeFileSync(plan, [header, ...rest].join('\n'));
    expect(readPlan(plan).header.budget_s).toBe(99);
    expect((await run(process.execPath, [FAKE, '--plan', plan, '--out', out])).code).toBe(0);
    if (!hasPython) return;
    const script = "import sys; sys.path.insert(0, sys.argv[1])\nfrom files import read_plan\nprint(read_plan(sys.argv[2])[0]['budget_s'])";
    expect(await run('python3', ['-c', script, CUDA, plan])).toEqual({ code: 0, out: '99\n', err: '' });
  });

  it.each(readdirSync(join(CUDA, 'plans')).filter((name) => name.endsWith('.jsonl')))('that ships is whole: %s', (name) => {
    expect(readPlan(join(CUDA, 'plans', name)).header.gpu_name).toBe('H200');
  });

  it('that does not exist is refused', () => {
    expect(() => readPlan('/no/such/plan.jsonl')).toThrow('/no/such/plan.jsonl: error E-FILE: no such file');
  });

  it.each(BAD)('with %s is refused by the stand-in with the same line', async (_what, text, expected) => {
    const { plan, out } = workFolder();
    writeFileSync(plan, text);
    const { code, out: printed, err } = await run(process.execPath, [FAKE, '--plan', plan, '--out', out]);
    expect(err).toContain(`bad_request: ${plan}:${expected.split(':')[0]!}: `);
    expect([code, printed]).toEqual([2, '']);
  });

  it.runIf(hasPython)('is refused by the worker with the same lines (needs python3)', async () => {
    const { folder, plan } = workFolder();
    const files = BAD.map(([, text], index) => {
      writeFileSync(join(folder, `${index}.jsonl`), text);
      return join(folder, `${index}.jsonl`);
    });
    const script = "import sys; sys.path.insert(0, sys.argv[1])\nfrom files import Failure, read_plan\nfor path in sys.argv[2:]:\n  try: print(len(read_plan(path)[1]))\n  except Failure as failure: print(failure.code, failure.message)";
    const { out, err } = await run('python3', ['-c', script, CUDA, ...files, plan]);
    expect(err).toBe('');
    const verdicts = out.trimEnd().split('\n');
    expect(verdicts.map((verdict, index) => (index === BAD.length ? verdict : verdict.slice(0, `bad_request ${files[index]!}:1`.length)))).toEqual([...BAD.map(([, , expected], index) => `bad_request ${files[index]!}:${expected[0]!}`), '4']);
  });
});

describe('files of measurements', () => {
  const measured = async (): Promise<{ out: string; folder: string; lines: string[] }> => {
    const { folder, plan, out } = workFolder(steps(LOAD, gemm(1), decode(8, 512)));
    expect((await run(process.execPath, [FAKE, '--plan', plan, '--out', out])).code).toBe(0);
    return { out, folder, lines: readFileSync(out, 'utf8').trimEnd().split('\n') };
  };
  const rewrite = (out: string, lines: readonly string[]): void => writeFileSync(out, `${lines.join('\n')}\n`);
  const edited = (line: string, fields: object): string => JSON.stringify({ ...(JSON.parse(line) as object), ...fields });

  it('may be torn at the end, and nowhere else', async () => {
    const { out, folder, lines } = await measured();
    appendFileSync(out, lines[2]!.slice(0, 70));
    expect(readMeasurementFiles(folder).records).toHaveLength(2);
    expect(readMeasurementFiles(folder).end).toEqual({ reason: 'complete', left: 0 });
    rewrite(out, [lines[0]!, lines[1]!, lines[2]!.slice(0, 70), lines[3]!]);
    expect(() => readMeasurementFiles(out)).toThrow(`${out}:3: error E-SYNTAX: the line is not valid JSON`);
    // In a rotation that another follows, the last line is in the middle.
    writeFileSync(rotatedFile(out, 1), `${lines[0]}\n`);
    writeFileSync(out, `${lines.slice(0, 2).join('\n')}\n${lines[2]!.slice(0, 70)}`);
    expect(() => readMeasurementFiles(out)).toThrow(`${out}:3: error E-SYNTAX`);
  });

  it('count the last record of a point of a shard, and know which were flagged', async () => {
    const { out, lines } = await measured();
    const again = edited(lines[2]!, { median_ms: 9 });
    rewrite(out, [...lines.slice(0, 3), edited(lines[2]!, { flags: ['drift'] }), again, edited(lines[2]!, { tp: 2 }), lines[3]!]);
    const { records, drifted } = readMeasurementFiles(out);
    expect(records.map(({ record, line }) => [record.pid, record.tp, record.median_ms === 9, line])).toEqual([[gemm(1).pid, 1, true, 5], [gemm(1).pid, 2, false, 6], [decode(8, 512).pid, 1, false, 7]]);
    expect([...drifted]).toEqual([`1 ${gemm(1).pid}`]);
  });

  it('keep a pass that took longer on the GPU than on the clock: a fit rejects it', async () => {
    const { out, lines } = await measured();
    const { median_ms } = JSON.parse(lines[3]!) as { median_ms: number };
    rewrite(out, [...lines.slice(0, 3), edited(lines[3]!, { wall_ms: median_ms * 0.98 })]);
    expect(readMeasurementFiles(out).records.map(({ record }) => record.kind)).toEqual(['gemm', 'pass']);
    const { points, rejected } = selectPoints(readMeasured(out));
    expect(points.map(({ point }) => point.kind)).toEqual(['gemm']);
    expect(rejected).toMatchObject([{ measured: { file: out, line: 4, record: { pid: decode(8, 512).pid } }, why: expect.stringMatching(/^wall time .* ms is below GPU time/) as unknown }]);
  });

  it('are hashed with their rotations', async () => {
    const { out, lines } = await measured();
    const before = readMeasurementFiles(out);
    writeFileSync(rotatedFile(out, 1), `${lines[0]}\n`);
    const after = readMeasurementFiles(out);
    expect([before.files, after.files]).toEqual([[out], [out, rotatedFile(out, 1)]]);
    expect(after.sha256).not.toBe(before.sha256);
  });

  it('are refused with file and line when they are no measurements or of two runs', async () => {
    const { out, lines } = await measured();
    const refused = (text: string, expected: string): void => {
      writeFileSync(out, text);
      expect(() => readMeasurementFiles(out)).toThrow(`${out}${expected}`);
    };
    refused('', ':1: error E-SYNTAX: the capabilities line is missing');
    refused(`${lines[1]}\n`, ":1: error E-SYNTAX: type: 'model_ready' does not belong on this line");
    refused(`${lines[0]}\n${lines[0]}\n`, ":2: error E-SYNTAX: type: 'capabilities' does not belong on this line");
    refused(`${lines[0]}\n${edited(lines[2]!, { status: 'fine' })}\n${lines[3]}\n`, ':2: error E-SYNTAX: status: is no line of measurements');
    refused(`${lines[0]}\n${edited(lines[2]!, { point: undefined })}\n${lines[3]}\n`, ':2: error E-SYNTAX: point: is no line of measurements');
    writeFileSync(rotatedFile(out, 1), `${edited(lines[0]!, { plan_hash: 'f'.repeat(64) })}\n`);
    writeFileSync(out, `${lines[0]}\n`);
    expect(() => readMeasurementFiles(out)).toThrow(`${rotatedFile(out, 1)}:1: error E-MIXED: plan_hash: is ffff`);
    expect(() => readMeasurementFiles('/no/such')).toThrow('/no/such: error E-FILE: holds no measurements');
  });
});
