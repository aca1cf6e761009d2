import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { RunError } from '../../../src/core/problem.js';
import { fitMeasurements, registerCalibrateReport, validateProfile } from '../../../src/cli/calibrate-fit.js';
import { writeNormalised } from '../../../src/calibrate/gpu/normalised.js';
import { readMeasuredProfile } from '../../../src/timing/measured/profiles.js';
import { measure, wholeWishes } from './fit-law.js';

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
writeNormalised(good, measure(wholeWishes(), { sigma: 0 }));
const lacking = join(folder, 'lacking.csv');
writeNormalised(lacking, measure(wholeWishes().filter(({ body }) => body.kind !== 'copy'), { sigma: 0 }));

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

    const own = await printed(() => validateProfile(out, [good]));
    expect(own.error).toBeNull();
    expect(own.text).toContain('its own data: what was held out');
    const other = await printed(() => validateProfile(out, [lacking]));
    expect(other.text).toMatch(/other data: \d+ points/);
    expect(other.text).toContain('copies: 0 measured, 8 needed');
    expect(other.error).toBeInstanceOf(RunError);

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
    expect(text).toContain('not accepted:\n  copies: 0 held out, 8 needed');
    expect(error).toBeInstanceOf(RunError);
    expect((error as RunError).problem.code).toBe('E-PROFILE-UNACCEPTED');
    expect(readMeasuredProfile(out)).toMatchObject({ accepted: false, reasons: ['copies: 0 held out, 8 needed'] });
  });

  it('refuse to replace a profile before they read anything', async () => {
    const { error } = await printed(() => fitMeasurements(['no such file'], { out: join(folder, 'good') }));
    expect(String(error)).toContain('E-OUT');
  });
});
