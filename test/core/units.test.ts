import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatQuantity, parseNumber, parseQuantity, type Dimension } from '../../src/core/units.js';

const value = (text: string, dimension: Dimension): number => {
  const parsed = parseQuantity(text, text, dimension);
  if (!parsed.ok) throw new Error(parsed.what);
  return parsed.value;
};

describe('quantities', () => {
  it.each<[string, Dimension, number]>([
    ['1500 ms', 'time', 1500],
    ['1.1 s', 'time', 1100],
    ['4.35s', 'time', 4350],
    ['2 min', 'time', 120_000],
    ['1 h', 'time', 3_600_000],
    ['5 us', 'time', 0.005],
    ['5 ns', 'time', 5e-6],
    ['64 GB/s', 'bandwidth', 64e9],
    ['400 Gb/s', 'bandwidth', 50e9],
    ['9.6 GB/s', 'bandwidth', 9_600_000_000],
    ['64 GB', 'size', 64e9],
    ['1.5 GiB', 'size', 1_610_612_736],
    ['8 req/s', 'request rate', 8],
    ['90 req/min', 'request rate', 1.5],
    ['$3.50/h', 'price', 3.5],
    ['90%', 'percentage', 0.9],
    ['1e3 ms', 'time', 1000],
  ])('%s', (text, dimension, expected) => {
    expect(value(text, dimension)).toBe(expected);
  });

  it('0 needs no unit', () => {
    expect(parseQuantity(0, '0', 'bandwidth')).toEqual({ ok: true, value: 0 });
  });

  it.each<Dimension>(['time', 'size', 'bandwidth', 'request rate', 'session rate', 'token rate', 'price', 'percentage'])('written %s reads back the same', (dimension) => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e15, noNaN: true }), (number) => {
        const text = formatQuantity(number, dimension);
        if (dimension === 'percentage' && !text.endsWith('%')) expect(Number(text)).toBe(number);
        else expect(value(text, dimension)).toBe(number);
      }),
    );
  });

  it('never throws and never gives NaN', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null)), (raw) => {
        for (const parsed of [parseQuantity(raw, String(raw), 'time'), parseNumber(raw, String(raw), { min: 0 })]) {
          expect(parsed.ok ? parsed.value >= 0 : parsed.what.length > 0).toBe(true);
        }
      }),
    );
  });
});

describe('numbers', () => {
  it('are bare', () => {
    expect(parseNumber(8, '8', { integer: true })).toEqual({ ok: true, value: 8 });
    expect(parseNumber('90%', '90%', { percent: true })).toEqual({ ok: true, value: 0.9 });
    expect(parseNumber('90%', '90%', {})).toMatchObject({ ok: false, code: 'E-UNIT' });
    expect(parseNumber('1.5k', '1.5k', {})).toMatchObject({ ok: false, what: "'1.5k' is ambiguous", hint: 'write 1500 or 1536' });
    expect(parseNumber(Infinity, '.inf', {})).toMatchObject({ ok: false, code: 'E-TYPE' });
    expect(parseNumber(0, '0', { above: 0, max: 1 })).toMatchObject({ ok: false, code: 'E-RANGE', hint: 'write a number above 0 up to 1' });
  });
});
