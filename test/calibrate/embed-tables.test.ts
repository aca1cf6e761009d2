import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { embedSystem } from '../../src/calibrate/embed-tables.js';
import { decodeBundle, type BundledTables } from '../../src/timing/tables/bundle.js';
import { OperatorDatabase } from '../../src/timing/tables/database.js';
import type { Operator } from '../../src/timing/tables/operator-slices.js';

type Rows = Readonly<Record<string, readonly (string | number)[]>>;

/** The tables of one backend on h200 after embedding. */
function embedded(version: string, tables: Partial<Record<Operator, Rows>>): BundledTables {
  const root = mkdtempSync(join(tmpdir(), 'tables-'));
  for (const [operator, columns] of Object.entries(tables)) {
    const home = join(root, 'data/h200_sxm/family/vllm', version);
    mkdirSync(home, { recursive: true });
    const columnData = Object.entries(columns).map(([name, values]) => ({ name, data: [...values] as string[] | number[], type: typeof values[0] === 'string' ? ('STRING' as const) : ('DOUBLE' as const) }));
    writeFileSync(join(home, `${operator}_perf.parquet`), Buffer.from(parquetWriteBuffer({ columnData })));
  }
  const { source, tables: found } = decodeBundle('x.bin', embedSystem(OperatorDatabase.open(root), 'h200_sxm', 'measured'));
  expect(source).toBe('measured');
  return found.find(({ backend }) => backend === 'vllm')!;
}

const repeat = <T>(value: T, times: number): T[] => Array.from({ length: times }, () => value);

describe('tables thinned for shipping', () => {
  it('keep the points that straight lines miss, and their ends', () => {
    const m = [1, 2, 3, 4, 5, 6, 7, 8];
    const ms = m.map((x) => (x === 4 ? 3 : 1 + x / 10));
    const { operators } = embedded('0.19.0', { gemm: { gemm_dtype: repeat('bfloat16', 8), m, n: repeat(6144, 8), k: repeat(4096, 8), latency: ms } });
    expect(Array.from(operators.get('gemm')!.get('bf16')!.at).filter((_, i) => i % 3 === 2)).toEqual([1, 3, 4, 5, 8]);
  });

  it('keep a prompt length for every batch that any needs', () => {
    const lengths = [128, 256, 512, 1024, 2048];
    const batches = [1, 2, 4];
    const rows = batches.flatMap((b) => lengths.map((s) => ({ b, s, ms: b === 4 && s === 512 ? 9 : (b * s * s) / 1e6 })));
    const fixed = { attn_dtype: 'bfloat16', kv_cache_dtype: 'bfloat16', num_heads: 32, num_key_value_heads: 8, head_dim: 128, window_size: 0 };
    const columns = Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, repeat<string | number>(value, rows.length)]));
    const { operators } = embedded('0.24.0', { context_attention: { ...columns, batch_size: rows.map(({ b }) => b), isl: rows.map(({ s }) => s), latency: rows.map(({ ms }) => ms) } });
    const { at } = operators.get('context_attention')!.get('bf16|bf16|8|128|0')!;
    const kept = Array.from({ length: at.length / 3 }, (_, row) => `${at[3 * row + 1]} ${at[3 * row + 2]}`).sort();
    expect(kept).toEqual(['128 1', '128 4', '2048 1', '2048 4', '512 1', '512 4', '256 1', '256 4', '1024 1', '1024 4'].sort());
  });

  it('leave out products that hold launch overhead, and sizes no model of the catalogue has', () => {
    const columns = { gemm_dtype: ['fp8_block', 'bfloat16', 'bfloat16'], m: [8, 8, 8], n: [6144, 6144, 32], k: [4096, 4096, 32], latency: [0.09, 0.02, 0.01] };
    const { operators } = embedded('0.24.0', { gemm: columns });
    expect([...operators.get('gemm')!.keys()]).toEqual(['bf16']);
    expect([...embedded('0.19.0', { gemm: columns }).operators.get('gemm')!.keys()].sort()).toEqual(['bf16', 'fp8_block']);
  });
});
