import { describe, expect, it } from 'vitest';
import { importRecord, type BarePoint } from '../../../src/calibrate/import/imported.js';
import { holdOut } from '../../../src/calibrate/import/split.js';
import type { MeasuredRecord } from '../../../src/calibrate/gpu/measurements.js';
import type { Sequences } from '../../../src/calibrate/gpu/points.js';

const place = (body: BarePoint, line: number): MeasuredRecord => ({ record: importRecord(body, { median_ms: 1 }), identity: 0, file: 'a', line });
const seqs = (batch: number, fresh: number, past: number): Sequences => Array.from({ length: batch }, () => [fresh, past]);
const decode = (batch: number, past: number): BarePoint => ({ kind: 'pass', mode: 'eager', seqs: seqs(batch, 1, past), rows: batch });
const share = (records: readonly MeasuredRecord[]): number => records.filter(({ record }) => record.split === 'holdout').length / records.length;

describe('what importers hold out', () => {
  it('is whole cells of batch and context', () => {
    const attention = [1, 2, 4, 8, 16, 32, 64].flatMap((batch) => [100, 110, 120, 500, 600, 4000, 5000, 30000, 40000].map((past): BarePoint => ({ kind: 'attn_gen', mode: 'graph', seqs: seqs(batch, 1, past), heads: 8, kv_heads: 2, head_dim: 128, kv: 'bf16' })));
    const records = holdOut(attention.map(place), () => false);
    expect(share(records)).toBeGreaterThan(0.15);
    expect(share(records)).toBeLessThan(0.25);
    const cells = new Map<string, Set<string>>();
    for (const { record: { point, split } } of records) {
      if (point?.kind !== 'attn_gen') continue;
      const key = `${point.seqs.length} ${Math.floor(Math.log2(1 + point.seqs[0]![1]) / 2)}`;
      cells.set(key, (cells.get(key) ?? new Set()).add(split));
    }
    expect([...cells.values()].every((splits) => splits.size === 1)).toBe(true);
  });

  it('is stretches of a log: passes much like those around them', () => {
    const records = holdOut(Array.from({ length: 500 }, (_, i) => place(decode(8, 1000 + i), i)), () => true);
    expect(share(records)).toBe(0.2);
    const changes = records.filter(({ record }, i) => i > 0 && record.split !== records[i - 1]!.record.split).length;
    expect(changes).toBeLessThanOrEqual(10);
  });

  it('is the same whatever the order of records', () => {
    const all = Array.from({ length: 60 }, (_, i) => place(decode(1 + (i % 6), 50 * 2 ** (i % 10)), i));
    const held = (records: readonly MeasuredRecord[]): string[] => holdOut(records, () => false).filter(({ record }) => record.split === 'holdout').map(({ record }) => record.pid).sort();
    expect(held([...all].reverse())).toEqual(held(all));
  });
});
