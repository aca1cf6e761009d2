import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { InputError, RunError } from '../../../src/core/problem.js';
import { registerCalibrate } from '../../../src/cli/calibrate.js';
import { fitMeasurements, registerCalibrateReport, validateProfile } from '../../../src/cli/calibrate-fit.js';
import { normalisedCsv } from '../../../src/calibrate/gpu/normalised.js';
import { readMeasuredProfile } from '../../../src/timing/measured/profiles.js';
import { measure, wholeWishes, type Wish } from './fit-law.js';

vi.setConfig({ testTimeout: 120_000 });

const folder = mkdtempSync(join(tmpdir(), 'fit-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What an action prints, and what it throws. */
async function printed(action: () => unknown): Promise<{ readonly text: string; readonly error: unknown }> {
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  let error: unknown = null;
  try {
    await action();
  } catch (thrown) {
    error = thrown;
  }
  const text = spy.mock.calls.map(([chunk]) => String(chunk)).join('');
  spy.mockRestore();
  return { text, error };
}

const good = join(folder, 'good.csv');
writeFileSync(good, normalisedCsv(measure(wholeWishes(), { sigma: 0 })));
const lacking = join(folder, 'lacking.csv');
const isMixed = ({ body }: Wish): boolean => body.kind === 'pass' && body.seqs.some(([fresh]) => fresh > 1) && body.seqs.some(([fresh]) => fresh === 1);
writeFileSync(lacking, normalisedCsv(measure(wholeWishes().filter((wish) => !isMixed(wish)), { sigma: 0 })));
const elsewhere = join(folder, 'elsewhere.csv');
writeFileSync(elsewhere, normalisedCsv(measure(wholeWishes(), { sigma: 0.01, seed: 3 })));
const few = join(folder, 'few.csv');
writeFileSync(few, normalisedCsv(measure(wholeWishes().filter(({ body, split }) => body.kind === 'pass' && split === 'holdout' && body.seqs.length === 1), { sigma: 0.01, seed: 3 })));

/** A profile's own measurements without those held out. */
function onlyFitted(profile: string): string {
  const file = join(folder, 'fitted.csv');
  writeFileSync(file, readFileSync(join(profile, 'measurements.csv'), 'utf8').split('\n').filter((line) => !line.includes(',holdout,')).join('\n'));
  return file;
}

describe('calibrate fit, validate and report', () => {
  it('write and print an accepted profile', async () => {
    const out = join(folder, 'good');
    const { text, error } = await printed(() => fitMeasurements([good], { out }));
    expect(error).toBeNull();
    expect(text).toMatch(/^profile {3}test-8b-h200_sxm-bf16-tp1 \(dynotwin-worker 1, 2026-11-20, data [0-9a-f]{4}…\) {2}accepted$/m);
    expect(text).toMatch(/^passes +g_pass_us +94 +not identified$/m);
    expect(text).toMatch(/^decode( +\d+( +-?[+\d.]+){3}){3} +held-out 3 \/ 8 \/ ±1.5$/m);
    expect(text).toMatch(/^accepted$/m);
    expect(existsSync(join(out, 'profile.yaml'))).toBe(true);

    const whole = await printed(() => validateProfile(out, [good]));
    expect(whole.error).toBeNull();
    expect(whole.text).toContain('its own data: 84 points held out, 271 fitted and so not judged');
    expect(whole.text).toMatch(/^decode( +\d+( +-?[+\d.]+){3}){2} +held-out 3 \/ 8 \/ ±1.5$/m);
    // The folder's own copy, whatever it calls held out: what was fitted is never judged.
    const relabelled = join(folder, 'relabelled.csv');
    writeFileSync(relabelled, readFileSync(join(out, 'measurements.csv'), 'utf8').replaceAll(',grid,ok,', ',holdout,ok,').replaceAll('""split"":""grid""', '""split"":""holdout""'));
    const again = await printed(() => validateProfile(out, [relabelled]));
    expect(again.text.match(/held out, (\d+) fitted/)![1]).toBe(whole.text.match(/held out, (\d+) fitted/)![1]);
    expect(again.text).toContain('other data: 0 points');
    const little = await printed(() => validateProfile(out, [few]));
    expect(little.error).toBeNull();
    expect(little.text).toMatch(/^prefill +8 /m);
    expect(little.text).toMatch(/^decode +0 /m);
    const fitted = await printed(() => validateProfile(out, [onlyFitted(out)]));
    expect(String(fitted.error)).toContain('gemm: 0 held out, 8 needed');
    const other = await printed(() => validateProfile(out, [elsewhere]));
    expect(other.text).toMatch(/0 points held out, 0 fitted and so not judged; other data: \d{3} points/);
    expect(other.error).toBeNull();

    const page = join(folder, 'page.html');
    const calibrate = new Command('calibrate');
    registerCalibrateReport(calibrate);
    const report = await printed(() => calibrate.parseAsync(['report', out, '--html', page], { from: 'user' }));
    expect(report.error).toBeNull();
    expect(report.text).toContain('held-out: decode 0.0 % (p90 0.0, bias 0.0)');
    expect(readFileSync(page, 'utf8')).toContain('<!doctype html>');
  });

  it('write a profile that is not accepted, and fail', async () => {
    const out = join(folder, 'lacking');
    const { text, error } = await printed(() => fitMeasurements([lacking], { out }));
    expect(text).toContain('not accepted:\n  mixed: 0 held out, 8 needed');
    expect(error).toBeInstanceOf(RunError);
    expect((error as RunError).problem.code).toBe('E-PROFILE-UNACCEPTED');
    expect(readMeasuredProfile(out)).toMatchObject({ accepted: false, reasons: ['mixed: 0 held out, 8 needed'] });
  });

  /** What the whole command prints, and what it throws. */
  async function command(...args: string[]): ReturnType<typeof printed> {
    const program = new Command().exitOverride();
    registerCalibrate(program);
    return printed(() => program.parseAsync(['calibrate', ...args], { from: 'user' }));
  }

  it('give what validate says as data, too', async () => {
    const out = join(folder, 'good');
    const { text, error } = await command('validate', out, good, '--format', 'json');
    expect(error).toBeNull();
    expect(JSON.parse(text)).toMatchObject({ schema: 'dynotwin.profile-validation/1', profile: 'test-8b-h200_sxm-bf16-tp1', points: { others: 0 }, accepted: true, reasons: [], errors: { 'held-out': { decode: { n: expect.any(Number) as unknown } } } });
    expect(parse((await command('validate', out, good, '--format', 'yaml')).text)).toEqual(JSON.parse(text));
    expect((await command('validate', out, good, '--format', 'csv')).text).toMatch(/^points,family,n,median,p90,signed\r?\nheld-out,gemm,/);
  });

  it('say what was given in place of data or of a profile, and which option', async () => {
    const [nothing, empty, run] = ['nothing', 'empty.jsonl', 'run'].map((name) => join(folder, name)) as [string, string, string];
    mkdirSync(nothing);
    writeFileSync(empty, '');
    mkdirSync(run);
    writeFileSync(join(run, 'measurements.jsonl'), '');
    const refused = async (expected: string, ...args: string[]): Promise<void> => {
      const { text, error } = await command(...args);
      expect([text, String(error)]).toEqual(['', expect.stringContaining(expected)]);
      expect(error).toBeInstanceOf(InputError);
    };
    const kinds = 'serving rows are CSV with columns such as id, model_path, isl, silicon_ttft_ms; measurements the folder of';
    for (const verb of ['fit', 'validate']) {
      await refused(`${nothing}: error E-KIND: is a folder without measurements; ${kinds}`, verb, nothing);
      await refused(`${empty}:1: error E-KIND: begins neither as serving rows nor as measurements; ${kinds}`, verb, empty);
    }
    await refused(`${run}: error E-KIND: holds measurements, and is no profile; fit one to them: 'dynotwin calibrate fit ${run}'`, 'report', run);
    mkdirSync(join(run, 'profile-tp1'));
    writeFileSync(join(run, 'profile-tp1', 'profile.yaml'), '');
    await refused(`${run}: error E-KIND: holds measurements, and is no profile; give the profile fitted to them: ${join(run, 'profile-tp1')}`, 'report', run);
    await refused(`give the profile fitted to them: ${join(run, 'profile-tp1')}`, 'validate', run, good);
    await refused(`error E-OUT: --html: '${empty}' exists; choose another --html or add --overwrite`, 'report', join(folder, 'good'), '--html', empty);
    await refused(`error E-OUT: --html: '${empty}' exists`, 'validate', 'rows.csv', '--html', empty);
  });

  it('refuse to replace a profile before they read anything', async () => {
    const { error } = await printed(() => fitMeasurements(['no such file'], { out: join(folder, 'good') }));
    expect(String(error)).toContain('E-OUT');
  });
});
