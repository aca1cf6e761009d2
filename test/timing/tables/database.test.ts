import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { folderOperators } from '../../../src/timing/operator-sources.js';
import { OperatorDatabase, compareVersions } from '../../../src/timing/tables/database.js';
import { readSlices } from '../../../src/timing/tables/operator-slices.js';

type Row = readonly [kernel: string, dtype: string, m: number, n: number, k: number, ms: number];

/** A folder with GEMM tables of these versions. */
function folder(tables: Readonly<Record<string, readonly Row[]>>, extra: Readonly<Record<string, string>> = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'tables-'));
  for (const [place, rows] of Object.entries(tables)) {
    const home = join(root, 'data', 'h200_sxm', 'gemm', place);
    mkdirSync(home, { recursive: true });
    const column = (name: string, index: number) => ({ name, data: rows.map((row) => row[index]!) as string[] | number[] });
    const names = ['kernel_source', 'gemm_dtype', 'm', 'n', 'k', 'latency'];
    const columnData = names.map((name, index) => (index < 2 ? { ...column(name, index), type: 'STRING' as const } : { ...column(name, index), type: 'DOUBLE' as const }));
    writeFileSync(join(home, 'gemm_perf.parquet'), Buffer.from(parquetWriteBuffer({ columnData })));
  }
  for (const [name, text] of Object.entries(extra)) writeFileSync(join(root, name), text);
  return root;
}

const one = (kernel: string, ms: number, m = 8): Row => [kernel, 'bfloat16', m, 1024, 1024, ms];

describe('a folder of operator tables', () => {
  it('merges the version asked for, earlier ones nearest first, then other engines that share a kernel', () => {
    const root = folder(
      { 'vllm/0.24.0': [one('a', 24)], 'vllm/0.19.0': [one('a', 19), one('a', 19, 16)], 'vllm/0.9.1': [one('a', 9, 16), one('a', 9, 32)], 'sglang/0.5.14': [one('shared', 5, 64), one('own', 6, 128)] },
      { 'perf_data_reuse_manifest.yaml': 'groups:\n- {op_file: gemm_perf.parquet, kernel_source: shared, tier: shared, frameworks: [vllm, sglang]}\n- {op_file: gemm_perf.parquet, kernel_source: own, tier: shared, frameworks: [sglang]}\n' },
    );
    const database = OperatorDatabase.open(root);
    expect(database.versions('h200_sxm', 'vllm')).toEqual(['0.24.0', '0.19.0', '0.9.1']);
    const files = database.files('h200_sxm', 'gemm', 'vllm', '0.24.0');
    expect(files.map(({ from }) => from)).toEqual(['vllm 0.24.0', 'vllm 0.19.0', 'vllm 0.9.1', 'sglang 0.5.14']);
    const { at, ms } = readSlices('gemm', files).get('bf16')!;
    const times = Object.fromEntries(Array.from(ms, (time, row) => [at[3 * row + 2], time]));
    expect(times).toEqual({ 8: 24, 16: 19, 32: 9, 64: 5 });
  });

  it('orders versions by number, candidates before the release', () => {
    expect(['1.3.0', '1.3.0rc20', '1.3.0rc5', '1.10.0', '0.5.10', '0.5.9'].sort(compareVersions)).toEqual(['0.5.9', '0.5.10', '1.3.0rc5', '1.3.0rc20', '1.3.0', '1.10.0']);
  });

  it('says what it has where something is missing', () => {
    const root = folder({ 'vllm/0.24.0': [one('a', 24)] });
    const ask = (change: object) => () => folderOperators({ path: root, hardware: 'h200_sxm', engine: 'vllm', version: '0.24.0', exact: true, estimates: false, ...change });
    expect(ask({ hardware: 'b200_sxm' })).toThrow(/no tables of b200_sxm; there are h200_sxm/);
    expect(ask({ engine: 'sglang' })).toThrow(/no tables of sglang on h200_sxm; there are vllm/);
    expect(ask({ version: '0.30.0' })).toThrow(/no tables of vllm 0\.30\.0 on h200_sxm; there are 0\.24\.0/);
    expect(() => OperatorDatabase.open(tmpdir() + '/nowhere')).toThrow(/E-FILE: no operator tables here/);
  });

  it('names a pointer, a truncated file, and a measurement that is none', () => {
    const root = folder({ 'vllm/0.24.0': [one('a', 24)] });
    const path = join(root, 'data/h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet');
    const read = () => readSlices('gemm', [{ path, from: 'vllm 0.24.0', kernels: null }]);
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, whole.length - 20));
    expect(read).toThrow(/gemm_perf\.parquet: error E-FILE.*cut off or not Parquet/);
    writeFileSync(path, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
    expect(read).toThrow(/Git LFS pointer.*git lfs pull/);
    for (const bad of [NaN, -1, 0]) {
      const other = folder({ 'vllm/0.24.0': [one('a', 1), one('a', bad, 16)] });
      expect(() => readSlices('gemm', [{ path: join(other, 'data/h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet'), from: '', kernels: null }])).toThrow(/latency: row 2 has a latency of/);
    }
  });
});
