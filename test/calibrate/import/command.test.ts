import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { registerCalibrateImport } from '../../../src/cli/calibrate-import.js';
import { detectKind } from '../../../src/calibrate/import/detect.js';
import { isNormalisedHeader } from '../../../src/calibrate/gpu/normalised.js';
import { folder, jsonl, problemOf, write } from './sources.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/calibrate/import/${name}`, import.meta.url));

/** What the command prints. */
async function run(...args: string[]): Promise<{ readonly out: string; readonly err: string }> {
  const [out, err] = [vi.spyOn(process.stdout, 'write').mockReturnValue(true), vi.spyOn(process.stderr, 'write').mockReturnValue(true)];
  const command = new Command().exitOverride();
  registerCalibrateImport(command);
  try {
    await command.parseAsync(['node', 'calibrate', 'import', ...args]);
    return { out: out.mock.calls.join(''), err: err.mock.calls.join('') };
  } finally {
    vi.restoreAllMocks();
  }
}

afterEach(() => vi.restoreAllMocks());

describe('calibrate import', () => {
  it('fits transfers and prints them as a scenario has them', async () => {
    const file = join(folder(), 'links.csv');
    const { out } = await run(fixture('nixl.txt'), '-o', file);
    expect(out).toMatch(/nixl\s+48\.416\s+8\.779\s+-\s+-\s+0\.00\s+2/);
    expect(out).toContain('kv_transfer: # nixl\n  bandwidth: 48.416 GB/s\n  latency: 8.779 us');
    expect(readFileSync(file, 'utf8').split('\n')[0]).toBe('name,bytes,time_us,gb_per_s,bidirectional,blocks,source');
    expect(await problemOf(run(fixture('nixl.txt'), '-o', file))).toMatchObject({ code: 'E-OUT' });
    const json = JSON.parse((await run(fixture('nixl.txt'), '-o', file, '--overwrite', '--format', 'json')).out) as { readonly links: readonly object[] };
    expect(json).toMatchObject({ schema: 'dynotwin.import/1', kinds: ['nixl'], shape: 'links', rows: 2 });
    expect(json.links[0]).toMatchObject({ name: 'nixl', bidirectional: null });
  });

  it('says that a latency is unknown where transfers have one size or none', async () => {
    for (const [name, rate] of [['ucx.txt', '49.014'], ['nvbandwidth.json', '394.000']] as const) {
      const args = [fixture(name), '-o', join(folder(), 'x.csv')];
      const { out } = await run(...args);
      expect(out).toMatch(new RegExp(` ${rate} +unknown +`));
      expect(out).toContain(`\n  bandwidth: ${rate} GB/s\n  # latency: unknown, measure transfers of several sizes\n`);
      expect(JSON.parse((await run(...args, '--overwrite', '--format', 'json')).out)).toMatchObject({ links: [{ latency_us: null }] });
    }
  });

  it('raises a red flag for a slow link', async () => {
    const slow = write(folder(), 'n.csv', 'block_size,batch_size,avg_lat,bw_gb_sec\n1000000,1,10000,0.1\n');
    const { err } = await run(slow, '-o', join(folder(), 'x.csv'));
    expect(err).toContain('warning W-IMPORT: nixl moves 0.10 GB/s');
  });

  it('counts families and what is left out', async () => {
    const pass = (counter: number): object => ({ worker_id: 'w', dp_rank: 0, counter_id: counter, wall_time: 0.01, scheduled_requests: { num_decode_requests: 1, sum_decode_kv_tokens: 100 + counter } });
    const log = write(folder(), 'fpm.jsonl', jsonl(Array.from({ length: 60 }, (_, i) => pass(i))));
    const file = join(folder(), 'x.csv');
    const args = [log, '-o', file, '--model', 'Qwen/Qwen3-8B', '--hardware', 'h200_sxm', '--tp', '1', '--engine', 'vllm', '--engine-version', '0.24.0'];
    const { out } = await run(...args);
    expect(out).toMatch(/vllm 0\.24\.0 on h200_sxm, Qwen\/Qwen3-8B\n\nfamily\s+points\s+held out\ndecode\s+10\s+2\n/);
    expect(out).toContain('left out: 50 × first 50 passes of a worker');
    expect(isNormalisedHeader(readFileSync(file, 'utf8').split('\n')[0]!)).toBe(true);
    expect(JSON.parse((await run(...args, '--overwrite', '--format', 'json')).out)).toMatchObject({ families: [{ family: 'decode', points: 10, held_out: 2 }], dropped: [{ rows: 50 }] });
    expect(() => detectKind(file)).toThrow(/holds normalised measurements already/);
  });

  it('writes nothing where anything is wrong', async () => {
    const file = join(folder(), 'x.csv');
    const strange = write(folder(), 'a.txt', 'hello\n');
    expect(await problemOf(run(strange, '-o', file))).toMatchObject({ code: 'E-KIND', hint: expect.stringContaining('nvbandwidth, ucx, nixl') as string });
    expect(await problemOf(run('/no/such/file', '-o', file))).toMatchObject({ code: 'E-FILE' });
    expect(await problemOf(run(fixture('nixl.txt'), '-o', file, '--as', 'csv'))).toMatchObject({ code: 'E-ENUM', path: '--as' });
    expect(await problemOf(run(fixture('nixl.txt'), '-o', file, '--format', 'yaml'))).toMatchObject({ code: 'E-ENUM', path: '--format' });
    const trace = write(folder(), 't.jsonl', jsonl([{ event_type: 'request_end', request: { request_id: 'a', ttft_ms: 5 } }]));
    expect(await problemOf(run(fixture('nixl.txt'), trace, '-o', file))).toMatchObject({ code: 'E-CONFLICT', file: trace });
    expect(existsSync(file)).toBe(false);
    expect((await run(trace, '-o', file)).out).toMatch(/ttft_ms\s+1\s+5\.00\s+5\.00/);
  });
});
