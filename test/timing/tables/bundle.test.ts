import { describe, expect, it } from 'vitest';
import { decodeBundle, encodeBundle, type BundledTables } from '../../../src/timing/tables/bundle.js';

const tables: BundledTables[] = [
  {
    backend: 'vllm',
    version: '0.24.0',
    operators: new Map([
      ['gemm', new Map([['bf16', { axes: 3, at: Float64Array.of(4096, 512, 1, 4096, 512, 64, 128, 65536, 8), ms: Float64Array.of(0.004, 0.0121, 1.5) }]])],
      ['moe', new Map([['fp8|power_law_1.2|7168|2048|8|256|1|8', { axes: 1, at: Float64Array.of(16384, 1), ms: Float64Array.of(80.25, 0.03) }]])],
    ]),
  },
];

describe('tables in a compact file', () => {
  it('come back in their order, times within 0.3 %', () => {
    const { source, tables: read } = decodeBundle('x.bin', encodeBundle('somewhere', tables));
    expect(source).toBe('somewhere');
    expect(read.map(({ backend, version }) => [backend, version])).toEqual([['vllm', '0.24.0']]);
    const gemm = read[0]!.operators.get('gemm')!.get('bf16')!;
    expect(Array.from(gemm.at)).toEqual([4096, 512, 1, 4096, 512, 64, 128, 65536, 8]);
    [0.004, 0.0121, 1.5].forEach((ms, i) => expect(Math.abs(gemm.ms[i]! / ms - 1)).toBeLessThan(0.003));
    expect(Array.from(read[0]!.operators.get('moe')!.get('fp8|power_law_1.2|7168|2048|8|256|1|8')!.at)).toEqual([16384, 1]);
  });

  it('name the file when they are damaged', () => {
    const bytes = encodeBundle('somewhere', tables);
    expect(() => decodeBundle('cut.bin', bytes.subarray(0, bytes.length - 9))).toThrow(/cut\.bin: error E-FILE/);
    expect(() => decodeBundle('other.bin', Uint8Array.of(1, 2, 3))).toThrow(/other\.bin: error E-FILE/);
  });
});
