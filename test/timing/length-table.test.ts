import { describe, expect, it } from 'vitest';
import { CountTable, LengthTable } from '../../src/timing/length-table.js';

describe('a time by batch and length', () => {
  it('is exact at four lengths to a doubling, and everywhere where it is a straight line', () => {
    const square = new LengthTable((_b, s) => s * s);
    for (const s of [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 4096, 5120, 6144, 7168, 8192, 2 ** 20]) expect(square.at(1, s)).toBe(s * s);
    const line = new LengthTable((b, s) => 3 + b * s);
    for (const s of [1, 1.5, 9, 4250, 4250.25, 100_001]) expect(line.at(7, s)).toBeCloseTo(3 + 7 * s, 9);
  });

  it('is a straight line between', () => {
    const square = new LengthTable((_b, s) => s * s);
    expect(square.at(1, 4096 + 256)).toBe((4096 ** 2 * 3 + 5120 ** 2) / 4);
    expect(square.at(1, 7168 + 512)).toBe((7168 ** 2 + 8192 ** 2) / 2);
  });

  it('computes each knot of a batch once', () => {
    const asked: string[] = [];
    const table = new LengthTable((b, s) => asked.push(`${b} ${s}`));
    for (let s = 4096; s < 5120; s++) table.at(2, s);
    expect(asked).toEqual(['2 4096', '2 5120']);
    table.at(3, 4100);
    expect(asked).toHaveLength(4);
  });
});

describe('a time by count', () => {
  it('is computed once up to the largest count, each time beyond and between', () => {
    let computed = 0;
    const table = new CountTable(100, (count) => (computed++, count * 2));
    expect([table.at(0), table.at(100), table.at(100), table.at(0)]).toEqual([0, 200, 200, 0]);
    expect(computed).toBe(2);
    expect([table.at(101), table.at(101), table.at(0.5), table.at(0.5)]).toEqual([202, 202, 1, 1]);
    expect(computed).toBe(6);
  });
});
