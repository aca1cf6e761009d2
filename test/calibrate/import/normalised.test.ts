import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readMeasured } from '../../../src/calibrate/gpu/read-measured.js';
import { isNormalisedHeader, NORMALISED_COLUMNS, normalisedCsv, readNormalised } from '../../../src/calibrate/gpu/normalised.js';
import { geometryHash, pointId, type LoadModel, type Point } from '../../../src/calibrate/gpu/points.js';
import { importSources, importedCsv } from '../../../src/calibrate/import/import-sources.js';
import { InputError } from '../../../src/core/problem.js';
import { folder, jsonl, measured, write } from './sources.js';

const GEOMETRY = { name: 'tiny', layers: 2, hidden: 256, heads: 8, kv_heads: 2, head_dim: 32, ffn: 512, vocab: 1000, qk_norm: false, rope_theta: 10000, tied: false };
const load = (tp: number): LoadModel => ({ model: GEOMETRY, shard: { tp, rank: 0 }, dtype: { weights: 'bf16', kv: 'fp8', attention: 'bf16' }, limits: { max_tokens: 1024, max_batch: 8, max_context: 4096, page: 16 }, routing: 'balanced', seed: 1 });
const READY = { weight_bytes: 1, kv_pages: 10, distinct_layers: 2, load_s: 1, free_bytes: 1, checks: [], kernels: {} };
const CAPABILITIES = {
  v: 1, type: 'capabilities', versions: [1], worker: 'dynotwin-worker 1', kind: 'fake', gpu: { name: 'NVIDIA H200', sm: 90, sms: 132, mem_bytes: 1, l2_bytes: 1, driver: '580', cuda: '13.0', mig: false },
  software: { python: '3.12', torch: '2.11', triton: '3.6', numpy: '2' }, dtypes: ['bf16'], kinds: ['pass'], attention: [], cpu: 'c', ram_bytes: 1, nvml: true, plan_hash: 'ab', hardware: 'h200_sxm', t_utc: '2026-01-01T00:00:00Z',
};

function result(bare: object, record: object = {}, tp = 1): object {
  const point = { pid: pointId(bare as Point), split: 'anchor', est_s: 1, ...bare } as Point;
  return {
    v: 1, type: 'result', pid: point.pid, kind: point.kind, split: point.split, status: 'ok', point, mode: point.mode, n: 12, median_ms: 1.25, mad_ms: 0.01, ci_rel: 0.008, samples_ms: [1.25], wall_ms: 1.5, issue_ms: 1, kernel: 'k', dtype: 'bf16', tp,
    geometry_hash: geometryHash(GEOMETRY), distinct_layers: 2, clock_mhz: 1980, power_w: 500.5, temp_c: 40, power_capped: false, flags: ['ring_sensitive', 'drift'], t_utc: '2026-01-01T00:00:01Z', ...record,
  };
}

const DECODE = { kind: 'pass', mode: 'graph', seqs: [[1, 9], [1, 9], [1, 3]], rows: 3, pad_to: 4 };
const lines = [CAPABILITIES, { v: 1, type: 'model_ready', load: load(1), ...READY }, result(DECODE), result({ kind: 'host', mode: 'eager', what: 'read_back' }, { power_capped: null, flags: [] }), { v: 1, type: 'model_ready', load: load(2), ...READY }, result(DECODE, { status: 'oom', n: 0, median_ms: null, wall_ms: null, power_capped: true }, 2)];
const workerFile = (): string => write(folder(), 'measurements.jsonl', jsonl(lines));

describe('normalised measurements', () => {
  it('hold what a worker wrote, models and all', async () => {
    const path = workerFile();
    const { kind, measurements } = await measured(path);
    expect(kind).toBe('worker');
    const file = write(folder(), 'x.csv', normalisedCsv(measurements));
    const back = readNormalised(file);
    expect(back.identities).toMatchObject([{ source: 'worker', kind: 'fake', worker: 'dynotwin-worker 1', gpu: 'NVIDIA H200', driver: '580', model: 'tiny', engine: { name: 'dynotwin-worker', version: '1' }, planHash: 'ab', file, line: 2 }]);
    expect(back.models).toMatchObject([{ tp: 1, geometry: GEOMETRY, dtype: { weights: 'bf16', kv: 'fp8' }, load: null }, { tp: 2 }]);
    const plain = measurements.records.map(({ record: { samples_ms: _, ...record } }) => record);
    expect(back.records.map(({ record }) => record)).toEqual(plain.map((record) => Object.fromEntries(Object.entries(record).filter(([name]) => !/^(num|sum|var|wall_time)/.test(name)))));
    expect(back.records.map(({ record }) => record.split)).toEqual(['anchor', 'anchor', 'anchor']);
    expect(readMeasured(file)).toEqual(back);
    expect(readMeasured(path)).toEqual(measurements);
  });

  it('have the columns of the format, and count equal sequences', async () => {
    const text = normalisedCsv((await measured(workerFile())).measurements);
    expect(text.split('\n')[0]).toBe(NORMALISED_COLUMNS.join(','));
    expect(isNormalisedHeader(text.split('\n')[0]!)).toBe(true);
    expect(text).toContain('""runs"":[[2,1,9],[1,1,3]]');
  });

  it('keep the last of the rows of a point', async () => {
    const text = normalisedCsv((await measured(workerFile())).measurements);
    const rows = text.trimEnd().split('\n');
    const file = write(folder(), 'x.csv', `${[...rows, rows[1]!.replace(',1.25,', ',7.5,')].join('\n')}\n`);
    const { records } = readNormalised(file);
    expect(records).toHaveLength(3);
    expect(records.at(-1)).toMatchObject({ line: 5, record: { median_ms: 7.5 } });
  });

  it('name line and column of what is wrong', async () => {
    const text = normalisedCsv((await measured(workerFile())).measurements);
    const problem = (change: (text: string) => string): object => {
      const file = write(folder(), 'x.csv', change(text));
      try {
        readNormalised(file);
      } catch (error) {
        return (error as InputError).problems[0]!;
      }
      return {};
    };
    expect(problem((all) => all.replace(',median_ms,', ',median,'))).toMatchObject({ code: 'E-COLUMN', path: 'median_ms' });
    expect(problem((all) => all.split('\n')[0]!)).toMatchObject({ code: 'E-ROW', what: 'holds no row' });
    expect(problem((all) => all.replace(',1.25,', ',fast,'))).toMatchObject({ code: 'E-ROW', line: 2, path: 'median_ms' });
    expect(problem((all) => all.replace('[[2,1,9]', '[[2,0,9]'))).toMatchObject({ code: 'E-ROW', line: 2, path: 'point.runs' });
    expect(problem((all) => all.replace('read_back', 'write_back'))).toMatchObject({ code: 'E-ROW', line: 3, path: 'point.what' });
    expect(problem((all) => all.replace('""layers"":2', '""layers"":3'))).toMatchObject({ code: 'E-ROW', line: 2, path: 'geometry_hash' });
    expect(problem((all) => all.replace(',fake,', ',real,'))).toMatchObject({ code: 'E-ROW', line: 2, path: 'kind' });
  });

  it('of several sources share identities', async () => {
    const [a, b] = [workerFile(), workerFile()];
    const { imported } = await importSources([a, b], undefined, {});
    if (imported.shape !== 'records') throw new Error('no records');
    expect(imported.measurements.identities).toHaveLength(1);
    expect(imported.measurements.records).toHaveLength(3);
    expect(importedCsv(imported).trimEnd().split('\n')).toHaveLength(4);
    expect(readFileSync(a, 'utf8')).toBe(readFileSync(b, 'utf8'));
  });
});
