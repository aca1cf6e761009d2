import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { caseFolders, runCase } from './runner.js';

const recorded = join(dirname(fileURLToPath(import.meta.url)), '../fixtures/recorded');

describe('recorded runs that ship with the project', () => {
  const folders = ['cases', 'aisimulate-0.13'].flatMap((place) => caseFolders(join(recorded, 'golden', place)));

  it('are there', () => {
    expect(folders).toHaveLength(15);
  });

  it.each(folders.map((folder) => [folder.split('/').at(-1)!, folder]))('%s', async (_name, folder) => {
    const result = await runCase(folder);
    expect(result.verdict, result.note).toBe('EXACT');
  });
});

describe('the comparison itself', () => {
  const copy = mkdtempSync(join(tmpdir(), 'dynotwin-recorded-'));
  cpSync(recorded, copy, { recursive: true });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  /** Replaces a text of one recorded file once. */
  function tamper(file: string, from: string, to: string): void {
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(from);
    writeFileSync(file, text.replace(from, to));
  }

  it('is off when a recorded time moves by 10 ns', async () => {
    const folder = join(copy, 'golden/cases/vllm-zeros');
    tamper(join(folder, 'requests.json'), '24.195094', '24.195104');
    expect((await runCase(folder)).verdict).toBe('OFF');
  });

  it('is off when a figure of the report moves by one part in 10⁸', async () => {
    const folder = join(copy, 'golden/aisimulate-0.13/s03-sessions-w1-closed3');
    const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as Record<string, number>;
    writeFileSync(join(folder, 'report.json'), JSON.stringify({ ...report, mean_ttft_ms: report['mean_ttft_ms']! * (1 + 1e-8) }));
    expect((await runCase(folder)).verdict).toBe('OFF');
  });

  it('is off when a request was recorded that ours does not have', async () => {
    const folder = join(copy, 'golden/aisimulate-0.13/d05-vllm-1p1d-burst-seqs4');
    tamper(join(folder, 'requests.jsonl'), '"input_length":', '"input_length":1');
    expect((await runCase(folder)).verdict).toBe('OFF');
  });

  it('is off when a recorded routing cost moves', async () => {
    const folder = join(copy, 'golden/cases/kv3-a');
    tamper(join(folder, 'requests.json'), '[[1,0,4.0625,0.0]]', '[[1,0,4.0626,0.0]]');
    expect((await runCase(folder)).verdict).toBe('OFF');
  });
});
