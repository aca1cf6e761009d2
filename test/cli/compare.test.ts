import { Command } from 'commander';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Papa from 'papaparse';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { registerCompare } from '../../src/cli/compare.js';
import { registerRun } from '../../src/cli/run.js';
import { InputError } from '../../src/core/problem.js';
import type { Difference } from '../../src/sweep/compare.js';
import type { PairedComparison } from '../../src/sweep/paired.js';
import { complaintsOf, hasNoBrowser } from '../support/chromium.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-compare-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

/** What a command prints on stdout and stderr, or the problems it throws. */
async function dynotwin(...words: string[]): Promise<{ readonly out: string; readonly err: string; readonly problem: string }> {
  const program = new Command().exitOverride();
  registerCompare(program);
  registerRun(program);
  const [out, err] = [vi.spyOn(process.stdout, 'write').mockImplementation(() => true), vi.spyOn(process.stderr, 'write').mockImplementation(() => true)];
  const seen = (problem = ''): { out: string; err: string; problem: string } => ({ out: out.mock.calls.map(([text]) => String(text)).join(''), err: err.mock.calls.map(([text]) => String(text)).join(''), problem });
  try {
    await program.parseAsync(words, { from: 'user' });
    return seen();
  } catch (error) {
    if (error instanceof InputError) return seen(error.message);
    throw error;
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}

interface Compared {
  readonly first: string;
  readonly differences: readonly Difference[];
  readonly paired: readonly PairedComparison[];
  readonly unpaired: readonly { readonly run: string; readonly why: string }[];
}
const compared = async (...words: string[]): Promise<Compared> => JSON.parse((await dynotwin('compare', ...words, '--format', 'json', '--quiet')).out) as Compared;

const scenario = (deployment: string, rest = '', isl = 'isl: {uniform: [500, 4000]}'): string => `
workload: {synthetic: {${isl}, osl: {uniform: [2, 60]}, shared_prefix: {ratio: 0.5, groups: 4}}, load: {rate: 12 req/s}, requests: 120}
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, ${deployment}}
timing: polynomial
run: {fidelity: dynosim, capture: [requests]}
${rest}`;
const DISAGG = 'prefill: {replicas: 1}, decode: {replicas: 1}, kv_transfer: {bandwidth: 64 GB/s}';

beforeAll(async () => {
  writeFileSync(at('a.yaml'), scenario('agg: {replicas: 2}'));
  writeFileSync(at('kv.yaml'), scenario('agg: {replicas: 2}', 'router: kv'));
  writeFileSync(at('disagg.yaml'), scenario(DISAGG));
  writeFileSync(at('other.yaml'), scenario('agg: {replicas: 2}', '', 'isl: 900'));
  await dynotwin('run', at('a.yaml'), '--out', at('run'), '--quiet');
  await dynotwin('run', at('kv.yaml'), '--out', at('lines'), '--quiet', '--set', 'report.formats=[jsonl]');
  await dynotwin('run', at('kv.yaml'), '--out', at('bare'), '--quiet', '--set', 'run.capture=[]');
});

describe('compare', () => {
  it('pairs scenarios of one workload, aggregated and disaggregated, and keeps the differences at the head', async () => {
    const { first, differences, paired, unpaired } = await compared(at('a.yaml'), at('kv.yaml'), at('disagg.yaml'), '--draws', '200');
    expect([first, unpaired]).toEqual(['a', []]);
    expect(paired.map(({ run, requests, clusters, draws, repeats }) => [run, requests, clusters, draws, repeats])).toEqual([['kv', 120, 120, 200, 1], ['disagg', 120, 120, 200, 1]]);
    for (const { run, intervals, where } of paired) {
      for (const { metric, difference, low, high } of intervals) {
        const whole = differences.find((one) => one.run === run && one.metric === metric)!;
        expect(difference, metric).toBeCloseTo(whole.difference!, 9);
        if (low !== null) expect(low <= difference + 1e-9 && difference <= high! + 1e-9, metric).toBe(true);
      }
      expect(new Set(where.map(({ dimension }) => dimension))).toEqual(new Set(['prompt', 'reuse', 'load']));
      for (const { pairs, faster, slower, equal } of where) expect(faster + slower + equal).toBe(pairs);
    }
    expect(paired[1]!.intervals.find(({ metric }) => metric === 'ttft_ms.mean')).toMatchObject({ beyond_chance: true });
  });

  it('draws the same each time, fewer draws others', async () => {
    const one = await compared(at('a.yaml'), at('kv.yaml'), '--draws', '100');
    expect(await compared(at('a.yaml'), at('kv.yaml'), '--draws', '100')).toEqual(one);
    expect((await compared(at('a.yaml'), at('kv.yaml'), '--draws', '200')).paired[0]!.intervals).not.toEqual(one.paired[0]!.intervals);
  });

  it('reads folders with a table of requests, CSV or JSON lines, as if they were simulated now', async () => {
    const [now, read] = [await compared(at('a.yaml'), at('kv.yaml'), '--draws', '50'), await compared(at('run'), at('lines'), '--draws', '50')];
    expect(read.paired).toEqual(now.paired.map((one) => ({ ...one, run: 'lines' })));
  });

  it('compares as wholes, and says so, what serves other requests or has none', async () => {
    const { paired, unpaired, differences } = await compared(at('a.yaml'), at('other.yaml'), at('bare'), at('kv.yaml'), '--draws', '20');
    expect(paired.map(({ run }) => run)).toEqual(['kv']);
    expect(unpaired).toEqual([{ run: 'other', why: expect.stringMatching(/^request 0 has prompt tokens 900, not \d+$/) as unknown }, { run: 'bare', why: 'its folder holds no table of requests (run.capture: [requests])' }]);
    expect(new Set(differences.map(({ run }) => run))).toEqual(new Set(['other', 'bare', 'kv']));
    const { err, out } = await dynotwin('compare', at('bare'), at('a.yaml'));
    expect(err).toContain('warning W-UNPAIRED: a is compared as a whole: of bare, its folder holds no table of requests');
    expect(out).toMatch(/^metric +bare +a +difference/);
    expect(out).not.toContain('95 %');
  });

  it('repeats over seeds: every metric gets an interval', async () => {
    const { paired } = await compared(at('a.yaml'), at('kv.yaml'), '--repeat', '3', '--draws', '50');
    expect(paired[0]).toMatchObject({ repeats: 3 });
    expect(paired[0]!.intervals.every(({ low }) => low !== null)).toBe(true);
    expect(paired[0]!.where.filter(({ dimension, metric }) => dimension === 'prompt' && metric === 'e2e_ms').reduce((sum, { pairs }) => sum + pairs, 0)).toBe(360);
  });

  it('prints a table, CSV and YAML', async () => {
    const { out } = await dynotwin('compare', at('a.yaml'), at('kv.yaml'), '--draws', '20');
    expect(out).toMatch(/^metric +a +kv +difference +% +timing error +beyond it\n[\s\S]*\n\nkv against a, paired over 120 requests, 20 draws: 95 % intervals of the difference\nmetric +difference +from +to +beyond chance\nttft_ms\.mean [\s\S]*\nwhere kv is faster: [\s\S]*\nprompt tokens +5\d\d … [\d,]+ +40 +[\d.]+% +-?[\d.,]+ \[/);
    const csv = Papa.parse<Record<string, string>>((await dynotwin('compare', at('a.yaml'), at('kv.yaml'), '--draws', '20', '--format', 'csv')).out, { header: true, skipEmptyLines: true }).data;
    const json = await compared(at('a.yaml'), at('kv.yaml'), '--draws', '20');
    const mean = json.paired[0]!.intervals.find(({ metric }) => metric === 'ttft_ms.mean')!;
    expect(csv.find(({ metric }) => metric === 'ttft_ms.mean')).toMatchObject({ run: 'kv', low: String(mean.low), high: String(mean.high), beyond_chance: String(mean.beyond_chance) });
    expect(csv.find(({ metric }) => metric === 'gpus')).toMatchObject({ difference: '0', low: '' });
    expect(parse((await dynotwin('compare', at('a.yaml'), at('kv.yaml'), '--draws', '20', '--format', 'yaml')).out)).toEqual(json);
  });

  it('refuses what has no effect or is damaged', async () => {
    const problem = async (...words: string[]): Promise<string> => (await dynotwin('compare', ...words)).problem;
    expect(await problem(at('run'), at('a.yaml'), '--repeat', '2')).toContain('E-NO-EFFECT: --repeat');
    expect(await problem(at('run'), at('a.yaml'), '--set', 'run.seed=1')).toContain('E-NO-EFFECT: --set');
    expect(await problem(at('a.yaml'), at('kv.yaml'), '--draws', '0')).toContain('E-RANGE: --draws');
    expect(await problem(at('a.yaml'), at('kv.yaml'), '--overwrite')).toContain('E-NO-EFFECT: --overwrite');
    expect(await problem(at('a.yaml'), at('kv.yaml'), '--html', at('a.yaml'))).toContain('E-OUT: --html');
    const table = at('run/requests.csv');
    const whole = readFileSync(table, 'utf8');
    writeFileSync(table, whole.replace(/completed,/, 'completed,x'));
    expect(await problem(at('run'), at('a.yaml'))).toMatch(/requests\.csv:2:1: error E-FILE: isl 'x\d+' is no number/);
    writeFileSync(table, whole.replace('isl', 'length'));
    expect(await problem(at('run'), at('a.yaml'))).toContain('column isl is missing');
    writeFileSync(table, whole.split('\n').slice(0, 50).join('\n'));
    expect((await compared(at('run'), at('a.yaml'))).unpaired[0]!.why).toBe('of run, its table of requests is not whole');
    writeFileSync(table, whole);
  });
});

describe.skipIf(hasNoBrowser)('the page of a comparison in Chromium', () => {
  it('draws every chart without an error or a request', async () => {
    const path = at('page.html');
    expect((await dynotwin('compare', at('a.yaml'), at('kv.yaml'), at('disagg.yaml'), at('other.yaml'), '--draws', '50', '--html', path, '--quiet')).out).toBe(`${path}\n`);
    const complaints = await complaintsOf(path, async (page) => {
      // Two pairs: intervals, wins, three histograms, three maps each.
      await page.waitForSelector('html[data-drawn="16"]', { state: 'attached', timeout: 20_000 });
      await page.hover('#wins-1 .mark-text.role-mark text');
      expect(await page.textContent('#tip')).toMatch(/^prompt tokens: .* … .*\nTTFT faster: \d+ of 40 requests/);
      expect(await page.textContent('section.panel')).toContain('other is compared as a whole: request 0 has prompt tokens 900');
    });
    expect(complaints).toEqual([]);
  }, 60_000);
});
