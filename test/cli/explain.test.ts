import { Command } from 'commander';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Papa from 'papaparse';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { registerExplain } from '../../src/cli/explain.js';
import { PRESETS } from '../../src/cli/presets.js';
import { CODES } from '../../src/core/codes.js';
import { InputError } from '../../src/core/problem.js';
import { describeField } from '../../src/scenario/describe.js';
import { SWEEP_FIELDS, type MapKind } from '../../src/scenario/fields.js';

/** What `explain …` prints, or the first problem it throws. */
async function explain(...words: string[]): Promise<string> {
  const program = new Command().exitOverride();
  registerExplain(program);
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  try {
    await program.parseAsync(['explain', ...words], { from: 'user' });
    return write.mock.calls.map(([text]) => String(text)).join('');
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  } finally {
    write.mockRestore();
  }
}

describe('presets', () => {
  it('lists everything that may be named', async () => {
    const all = JSON.parse(await explain('presets', '--format', 'json')) as Record<string, Record<string, unknown>[]>;
    expect(Object.keys(all)).toEqual(['models', 'hardware', 'backends', 'recipes', 'links']);
    expect(all['models']!.find(({ model }) => model === 'deepseek-ai/DeepSeek-V3')).toMatchObject({ family: 'mla', quant: 'fp8_block', experts: 256, kv_heads: null, aliases: expect.arrayContaining(['deepseek-ai/DeepSeek-R1']) as unknown });
    expect(all['hardware']!.find(({ hardware }) => hardware === 'h200_sxm')).toMatchObject({ bf16_tflops: 989, fp4_tflops: null, node_gb_s: 450, power_w: 700 });
    expect(all['backends']).toHaveLength(3);
    expect(all['recipes']!.at(-1)).toMatchObject({ engine: 'trtllm', max_num_batched_tokens: 'max(8192, isl + concurrency + 128)', receive_interval: '1' });
    expect(all['links']).toContainEqual({ link: 'nvlink', gb_s: 450 });
  });

  it('prints the same rows in every format', async () => {
    for (const [name, rows] of Object.entries(PRESETS)) {
      const csv = Papa.parse(await explain('presets', name, '--format', 'csv'), { header: true, skipEmptyLines: true });
      expect(csv.data).toHaveLength(rows().length);
      expect(Object.keys(csv.data[0] as object)).toEqual(Object.keys(rows()[0]!));
      expect(parse(await explain('presets', name, '--format', 'yaml'))).toEqual(JSON.parse(await explain('presets', name, '--format', 'json')));
      expect((await explain('presets', name)).trimEnd().split('\n')).toHaveLength(rows().length + 2);
    }
  });

  it('refuses other kinds, and csv of several tables', async () => {
    expect(await explain('presets', 'model')).toContain("E-ENUM: explain presets: 'model' is not one of models, hardware, backends, recipes, links; did you mean 'models'?");
    expect(await explain('presets', '--format', 'csv')).toContain('E-MISSING: explain presets: csv is one table');
    expect(await explain('E-FIT', 'models')).toContain('only presets has kinds');
  });
});

describe('fields', () => {
  it('says what a field takes, its default and what is inside', async () => {
    expect(await explain('deployment.agg.tp')).toBe('deployment.agg.tp: Tensor-parallel GPUs per worker\n  takes    an integer, at least 1\n  default  1\n');
    expect(JSON.parse(await explain('slo.at', '--format', 'json'))).toMatchObject({ takes: 'one of mean, p50, p75, p90, p95, p99, max', default: 'p99', fields: [] });
    expect(await explain('search')).toMatch(/not yet .*timeout[\s\S]*method {2}grid/);
    expect((await explain('slo', '--format', 'csv')).trimEnd().split('\n')).toHaveLength(6);
    expect(await explain('space.topology.fill')).toContain('one of max, any');
    expect(await explain('space.topology')).toMatch(/^gpus .*GPUs to lay out/m);
  });

  it('suggests the one that was meant', async () => {
    expect(await explain('deployment.agg.tpp')).toContain("E-FIELD: explain: no field 'deployment.agg.tpp'; did you mean 'deployment.agg.tp'?");
    expect(await explain('nothing.like.it')).toContain('no field');
  });

  it('describes every field of the table', () => {
    const visit = (kind: MapKind, prefix: string): void => {
      for (const [name, field] of Object.entries(kind.fields)) {
        const found = describeField(`${prefix}${name}`);
        expect(found?.takes && found.doc, `${prefix}${name}`).toBeTruthy();
        const inside = field.kind.type === 'map' ? field.kind : field.kind.type === 'either' ? field.kind.map : null;
        if (inside) visit(inside, `${prefix}${name}.`);
      }
    };
    visit(SWEEP_FIELDS, '');
  });
});

describe('codes', () => {
  it('says what each means', async () => {
    expect(await explain('E-FIT')).toMatch(/^E-FIT: The model does not fit/);
    expect(JSON.parse(await explain('W-SATURATED', '--format', 'json'))).toMatchObject({ code: 'W-SATURATED' });
    expect(await explain('E-FITS')).toContain("no code 'E-FITS'; did you mean 'E-FIT'?");
  });

  it('knows every code of the sources', () => {
    const source = join(import.meta.dirname, '../../src');
    const used = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.endsWith('codes.ts')).flatMap((name) => [...readFileSync(join(source, name), 'utf8').matchAll(/'([EW]-[A-Z]+(?:-[A-Z]+)*)'/g)].map(([, code]) => code!));
    expect([...new Set(used)].filter((code) => !Object.hasOwn(CODES, code))).toEqual([]);
    expect(Object.keys(CODES).filter((code) => !used.includes(code))).toEqual([]);
  });
});
