import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fitLink, fitLinks } from '../../../src/calibrate/import/links.js';
import type { LinkRow } from '../../../src/calibrate/import/imported.js';
import { folder, imported, problemOf, write } from './sources.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/calibrate/import/${name}`, import.meta.url));

async function transfers(path: string): Promise<{ readonly kind: string; readonly rows: readonly LinkRow[]; readonly dropped: Readonly<Record<string, number>>; readonly warnings: readonly string[] }> {
  const { imported: found, ...rest } = await imported(path);
  if (found.shape !== 'links') throw new Error(`holds ${found.shape}`);
  return { ...rest, rows: found.rows };
}

describe('fit of a link', () => {
  it('finds latency and bandwidth exactly from two transfers', () => {
    const { alphaUs, gbPerS, medianPct, n } = fitLink([{ bytes: 16777216, us: 355.302 }, { bytes: 33554432, us: 701.825 }]);
    expect([alphaUs.toFixed(3), gbPerS.toFixed(3), n]).toEqual(['8.779', '48.416', 2]);
    expect(medianPct).toBeLessThan(1e-6);
  });

  it('is not moved by one slow transfer, and never has a negative latency', () => {
    const sizes = [2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26, 2 ** 28];
    const good = sizes.map((bytes) => ({ bytes, us: 12 + bytes / 25_000 }));
    const { alphaUs, gbPerS } = fitLink(good.map((one, i) => (i === 3 ? { ...one, us: one.us * 4 } : one)));
    expect(alphaUs).toBeCloseTo(12, 3);
    expect(gbPerS).toBeCloseTo(25, 3);
    expect(fitLink([{ bytes: 1000, us: 1 }, { bytes: 2000, us: 3 }]).alphaUs).toBe(0);
    const same = fitLink([{ bytes: 1000, us: 1 }, { bytes: 1000, us: 1.1 }, { bytes: 1000, us: 1 }]);
    expect(same.alphaUs).toBe(0);
    expect(same.gbPerS).toBeCloseTo(1, 9);
  });

  it('adds what both ways at once and further pieces cost', () => {
    const row = (bytes: number, over: Partial<LinkRow> = {}): LinkRow => ({ name: 'h2d', bytes, time_us: 10 + bytes / 50_000, gb_per_s: null, bidirectional: false, blocks: 1, source: 's', ...over });
    const sizes = [1e6, 1e7, 1e8];
    const [link] = fitLinks([...sizes.map((bytes) => row(bytes)), ...sizes.map((bytes) => row(bytes, { bidirectional: true, time_us: (10 + bytes / 50_000) / 0.8 })), row(1e7, { blocks: 17, time_us: 10 + 200 + 16 * 1.5 })]);
    expect(link!.bidirectional).toBeCloseTo(0.8, 6);
    expect(link!.blockUs).toBeCloseTo(1.5, 4);
  });
});

describe('output of benchmarks of links', () => {
  it('of NIXL, text and CSV', async () => {
    const { kind, rows } = await transfers(fixture('nixl.txt'));
    expect(kind).toBe('nixl');
    expect(rows[0]).toEqual({ name: 'nixl', bytes: 16777216, time_us: 355.302, gb_per_s: 47.219593, bidirectional: false, blocks: 1, source: 'nixl.txt' });
    const [link] = fitLinks(rows);
    expect([link!.gbPerS.toFixed(3), link!.alphaUs!.toFixed(3), link!.bidirectional, link!.blockUs]).toEqual(['48.416', '8.779', null, null]);
    const path = write(folder(), 'n.csv', 'block_size,batch_size,avg_lat,avg_prep,bw_gb_sec\n4096,16,2,0.1,2.048\n');
    expect((await transfers(path)).rows).toMatchObject([{ bytes: 65536, blocks: 16, time_us: 32 }]);
    const older = write(folder(), 'n.txt', 'Block Size (B)      Batch Size     Avg Lat. (us)  B/W (MiB/Sec)  B/W (GiB/Sec)  B/W (GB/Sec)   \n4096                1              4.3            914.0          0.892          0.958          \n');
    expect((await transfers(older)).rows).toMatchObject([{ bytes: 4096, time_us: 4.3, gb_per_s: 0.958 }]);
  });

  it('of UCX, whose MB are MiB', async () => {
    const { kind, rows, warnings } = await transfers(fixture('ucx.txt'));
    expect(kind).toBe('ucx');
    expect(rows[0]!.gb_per_s!.toFixed(3)).toBe('49.014');
    expect(Math.abs(rows[0]!.bytes! - 2 ** 27)).toBeLessThan(100);
    expect(fitLinks(rows)).toMatchObject([{ gbPerS: expect.closeTo(49.014, 3) as unknown, alphaUs: null }]);
    expect(warnings).toEqual([]);
    const tagged = write(folder(), 'u.txt', `| Test:         tag match bandwidth   |\n| Message size:  134217728  |\n${readFileSync(fixture('ucx.txt'), 'utf8')}`);
    const other = await transfers(tagged);
    expect(other.rows).toMatchObject([{ name: 'tag match bandwidth', bytes: 134217728 }]);
    expect(other.warnings).toHaveLength(1);
  });

  it('of nvbandwidth: rates, both ways and latencies', async () => {
    const { kind, rows, dropped } = await transfers(fixture('nvbandwidth.json'));
    expect(kind).toBe('nvbandwidth');
    expect(dropped).toEqual({ 'pair that was not measured': 4, 'test with status Waived': 1 });
    expect(rows.map(({ gb_per_s, time_us, bidirectional }) => [gb_per_s, time_us, bidirectional])).toEqual([[394.1, null, false], [393.9, null, false], [354.6, null, true], [354.6, null, true], [null, 0.77258, false], [null, 0.7801, false]]);
    const [link, ...none] = fitLinks(rows);
    expect(none).toEqual([]);
    expect(link).toMatchObject({ name: 'device_to_device_memcpy_read_ce', gbPerS: 394, alphaUs: null, n: 2 });
    expect(link!.bidirectional).toBeCloseTo(0.9, 9);
  });

  it('name the line that is none', async () => {
    const path = write(folder(), 'u.txt', 'Final:  10 0.1 x 5 5 5 5 5\n');
    expect(await problemOf(imported(path))).toMatchObject({ code: 'E-ROW', line: 1 });
    const rows = write(folder(), 'n.csv', 'block_size,batch_size,avg_lat,bw_gb_sec\n4096,1,2,2\n4096,1,,2\n');
    expect(await problemOf(imported(rows))).toMatchObject({ code: 'E-ROW', line: 3 });
    expect(await problemOf(imported(write(folder(), 'n.csv', 'block_size,batch_size,avg_lat\n1,1,1\n')))).toMatchObject({ code: 'E-COLUMN', path: 'bw_gb_sec' });
    expect(await problemOf(imported(fixture('nixl.txt'), { model: 'm' }))).toMatchObject({ code: 'E-NO-EFFECT', path: '--model' });
  });
});
