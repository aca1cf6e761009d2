import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { registerReport } from '../../src/cli/report.js';
import { jsonText } from '../../src/cli/output.js';
import { InputError } from '../../src/core/problem.js';
import { sweepDocument } from '../../src/report/document.js';
import { loadArtefacts } from '../../src/report/load.js';
import { runPage, sweepPage } from '../../src/report/page.js';
import { readSweepJson, sweepJson } from '../../src/sweep/document.js';
import { parseTimelineCsv, timelineCsv } from '../../src/report/timeline-csv.js';
import { fakeReport, fakeSweep, runSeries } from './fixtures.js';

const series = { ...runSeries(), ttftMs: [120.5, 80.25, 300], tpotMs: [20, 21.5] };
let folder: string;
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'dynotwin-report-')); });
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function writeRun(at: string): void {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'report.json'), jsonText(fakeReport(series)));
  writeFileSync(join(at, 'requests.csv'), 'id,status,ttft_ms,tpot_ms\n0,completed,120.5,20\n1,completed,80.25,21.5\n2,rejected,,\n3,completed,300,\n');
  writeFileSync(join(at, 'timeline.csv'), timelineCsv(series.timeline!));
}

function writePlan(at: string): void {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'winner.json'), jsonText({ schema: 'dynotwin.winner/1', report: fakeReport(series), series }));
  writeFileSync(join(at, 'sweep.json'), jsonText(sweepJson(fakeSweep())));
}

async function run(...words: string[]): Promise<string> {
  const program = new Command().exitOverride();
  registerReport(program);
  let printed = '';
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => { printed += String(text); return true; });
  try {
    await program.parseAsync(['report', ...words], { from: 'user' });
  } finally {
    spy.mockRestore();
  }
  return printed;
}

async function codeOf(...words: string[]): Promise<string> {
  try {
    await run(...words);
  } catch (error) {
    if (error instanceof InputError && error.problems[0]!.hint) return error.problems[0]!.code;
    throw error;
  }
  return 'none';
}

describe('artefacts', () => {
  it('a run comes back as it was written', () => {
    writeRun(folder);
    expect(loadArtefacts(folder, readSweepJson)).toEqual({ kind: 'run', report: fakeReport(series), series });
  });

  it('a plan comes back with the run of its first recommendation', () => {
    writePlan(folder);
    expect(loadArtefacts(folder, readSweepJson)).toEqual({ kind: 'sweep', document: JSON.parse(JSON.stringify(sweepDocument(fakeSweep()))), winner: { schema: 'dynotwin.winner/1', report: fakeReport(series), series } });
  });

  it('reads request rows from JSON lines, and does without', () => {
    writeRun(folder);
    rmSync(join(folder, 'requests.csv'));
    rmSync(join(folder, 'timeline.csv'));
    expect(loadArtefacts(folder, readSweepJson)).toMatchObject({ series: { ttftMs: [], tpotMs: [], timeline: null } });
    writeFileSync(join(folder, 'requests.jsonl'), '{"status":"completed","ttft_ms":5,"tpot_ms":null}\n{"status":"failed","ttft_ms":9}\n');
    expect(loadArtefacts(folder, readSweepJson)).toMatchObject({ series: { ttftMs: [5], tpotMs: [] } });
  });

  it('the timeline survives its file', () => {
    expect(parseTimelineCsv(timelineCsv(series.timeline!))).toEqual(series.timeline);
    expect(timelineCsv({ ...series.timeline!, arrivals: [7] }).split('\n').slice(0, 2)).toEqual(['start_ms,end_ms,arrivals,first_tokens,ends,output_tokens,in_system', expect.stringMatching(/^0,10000,7,/)]);
    expect(parseTimelineCsv('start_ms,end_ms\n0,1\n')).toBeNull();
  });
});

describe('report', () => {
  it('draws the frontier and the front on the terminal', async () => {
    writePlan(folder);
    const text = await run(folder);
    expect(text).toContain('tok/s/GPU');
    expect(text).toContain('1 best-tok_s_per_gpu');
    expect(await run(folder, '--plot', 'ttft')).toContain('TTFT, 3 requests');
    expect(await run(folder, '--plot', 'timeline')).toContain('in system');
  });

  it('writes the same page and picture as the library', async () => {
    writePlan(folder);
    expect(await run(folder, '--html')).toBe(`${join(folder, 'index.html')}\n`);
    expect(readFileSync(join(folder, 'index.html'), 'utf8')).toBe(await sweepPage(fakeSweep(), { report: fakeReport(series), series }));
    const svg = join(folder, 'front.svg');
    await run(folder, '--plot', 'pareto', '--out', svg);
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg/);
    const single = join(folder, 'one');
    writeRun(single);
    await run(single, '--out', join(single, 'page.html'));
    expect(readFileSync(join(single, 'page.html'), 'utf8')).toBe(await runPage(fakeReport(series), series));
    for (const plot of ['ttft', 'timeline']) await run(single, '--plot', plot, '--out', join(single, `${plot}.svg`));
    expect(readdirSync(single).sort()).toEqual(['page.html', 'report.json', 'requests.csv', 'timeline.csv', 'timeline.svg', 'ttft.svg']);
  });

  it('refuses with a code and a hint', async () => {
    expect(await codeOf(join(folder, 'nowhere'))).toBe('E-FILE');
    expect(await codeOf(folder)).toBe('E-KIND');
    writeRun(folder);
    expect(await codeOf(join(folder, 'report.json'))).toBe('E-FILE');
    expect(await codeOf(folder, '--plot', 'kv')).toBe('E-ENUM');
    expect(await codeOf(folder, '--plot', 'pareto')).toBe('E-KIND');
    expect(await codeOf(folder, '--plot', 'ttft', '--out', 'x.png')).toBe('E-UNSUPPORTED');
    expect(await codeOf(folder, '--plot', 'ttft', '--html')).toBe('E-CONFLICT');
    expect(await codeOf(folder, '--html', '--out', 'x.svg')).toBe('E-CONFLICT');
    expect(await codeOf(folder, '--html', '--out', join(folder, 'report.json', 'x.html'))).toBe('E-FILE');
    writeFileSync(join(folder, 'old.svg'), 'old');
    expect(await codeOf(folder, '--out', join(folder, 'old.svg'))).toBe('E-OUT');
    expect(readFileSync(join(folder, 'old.svg'), 'utf8')).toBe('old');
    await run(folder, '--out', join(folder, 'old.svg'), '--overwrite');
    expect(readFileSync(join(folder, 'old.svg'), 'utf8')).toMatch(/^<svg/);
    rmSync(join(folder, 'timeline.csv'));
    expect(await codeOf(folder, '--plot', 'timeline')).toBe('E-FILE');
  });

  it.each([
    ['report.json', '{"schema": ', 'E-FILE'],
    ['report.json', '{"schema": "dynotwin.report/9"}', 'E-KIND'],
    ['report.json', '[]', 'E-KIND'],
    ['report.json', '{"schema": "dynotwin.report/1", "latency": {}}', 'E-FILE'],
    ['sweep.json', '{"schema": "dynotwin.sweep/1", "candidates": [{"id": 3}]}', 'E-FILE'],
    ['requests.csv', 'id,status\n1,completed\n', 'E-FILE'],
    ['timeline.csv', 'start_ms,end_ms,arrivals\n0,10,x\n', 'E-FILE'],
  ])('a damaged %s (%s) is %s', async (name, text, code) => {
    writeRun(folder);
    writeFileSync(join(folder, name), text);
    expect(await codeOf(folder, '--html')).toBe(code);
    expect(existsSync(join(folder, 'index.html'))).toBe(false);
  });
});
