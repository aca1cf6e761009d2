import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rowsToWorkload } from '../../src/workload/build.js';
import { formatRows, generateTrace, TRACE_KINDS, type TraceRow } from '../../src/workload/generate/generate.js';
import { readMooncake } from '../../src/workload/formats/mooncake.js';
import { traceInfo, type TraceInfo } from '../../src/workload/info.js';
import { problemOf, temporaryFile } from './support.js';

/** Mean over seeds of some figures of full-length traces. */
function meanOver(seeds: number, make: (seed: number) => readonly TraceRow[], pick: (info: TraceInfo) => number[]): number[] {
  const samples = Array.from({ length: seeds }, (_, seed) => pick(traceInfo(rowsToWorkload('x', make(seed + 1)))));
  return samples[0]!.map((_, k) => samples.reduce((sum, sample) => sum + sample[k]!, 0) / seeds);
}

/** Every figure within a share of what the spec measured. */
function expectNear(measured: number[], published: number[], tolerance: number): void {
  measured.forEach((value, k) => expect(Math.abs(value / published[k]! - 1), `figure ${k}: ${value} against ${published[k]}`).toBeLessThan(tolerance));
}

describe('generateTrace imitates the public traces (workload spec, section 7.2)', { timeout: 60_000 }, () => {
  const prefix = ({ reuse }: TraceInfo, blocks: number): number => reuse.prefix_at_least.find((entry) => entry.blocks === blocks)!.share;

  it('conversation', () => {
    const measured = meanOver(
      4,
      (seed) => generateTrace({ like: 'conversation', durationMs: 3_540_000, scale: 1, seed }),
      (info) => [info.requests, info.isl.mean, info.isl.p50, info.isl.p90, info.isl.p99, info.osl.mean, info.blocks.unique, info.reuse.token_ratio, prefix(info, 2), prefix(info, 8), prefix(info, 32), ...info.lru.map((entry) => entry.hit_ratio)],
    );
    expectNear(measured, [11_854, 12_242, 6_833, 28_329, 86_126, 337, 180_423, 0.383, 0.354, 0.235, 0.086, 0.047, 0.129, 0.225, 0.308, 0.363], 0.08);
  });

  it('document_qa', () => {
    const measured = meanOver(
      6,
      (seed) => generateTrace({ like: 'document_qa', durationMs: 1_022_000, scale: 1, seed }),
      (info) => [info.requests, info.isl.mean, info.osl.mean, info.blocks.unique, info.reuse.token_ratio, ...info.lru.map((entry) => entry.hit_ratio)],
    );
    expectNear(measured, [3993, 16_474, 144, 45_082, 0.667, 0.064, 0.272, 0.454, 0.606, 0.642], 0.12);
  });

  it('tool_agent', () => {
    const measured = meanOver(
      3,
      (seed) => generateTrace({ like: 'tool_agent', durationMs: 3_540_000, scale: 1, seed }),
      (info) => [info.requests, info.isl.mean, info.osl.mean, info.reuse.token_ratio],
    );
    expectNear(measured, [23_644, 8_370, 180, 0.575], 0.08);
  });
});

/** The first thing wrong with generated rows. */
function faultOf(rows: readonly TraceRow[]): string | null {
  const parents: number[] = [];
  for (const [i, { timestamp, input_length, output_length, hash_ids }] of rows.entries()) {
    if (i > 0 && timestamp < rows[i - 1]!.timestamp) return `row ${i} goes back in time`;
    if (hash_ids.length !== Math.ceil(input_length / 512)) return `row ${i} has ${hash_ids.length} ids for ${input_length} tokens`;
    if (!Number.isInteger(output_length) || output_length < 1 || output_length > 2000) return `row ${i} has ${output_length} output tokens`;
    for (const [depth, id] of hash_ids.entries()) {
      const parent = depth === 0 ? -1 : hash_ids[depth - 1]!;
      if (id > parents.length) return `row ${i} skips an id`;
      if (id === parents.length) parents.push(parent);
      if (parents[id] !== parent) return `id ${id} has two parents`;
    }
  }
  return null;
}

describe('generateTrace', { timeout: 60_000 }, () => {
  it('any arguments: rows in order of time, covering ids, numbered by first appearance, one parent each', () => {
    const specs = fc.record({ like: fc.constantFrom(...TRACE_KINDS), durationMs: fc.integer({ min: 60_000, max: 600_000 }), scale: fc.double({ min: 0.3, max: 2, noNaN: true }), seed: fc.nat() });
    fc.assert(
      fc.property(specs, (spec) => {
        expect(faultOf(generateTrace(spec))).toBeNull();
      }),
      { numRuns: 40 },
    );
  });

  it('a partial block is never shared', () => {
    const rows = generateTrace({ like: 'conversation', durationMs: 300_000, scale: 1, seed: 5 });
    const users = new Map<number, number>();
    for (const row of rows) for (const id of row.hash_ids) users.set(id, (users.get(id) ?? 0) + 1);
    const partial = rows.filter((row) => row.input_length % 512 !== 0);
    expect(partial.length).toBeGreaterThan(100);
    for (const row of partial) expect(users.get(row.hash_ids.at(-1)!)).toBe(1);
  });

  it('same seed, same rows; another seed, others; its file reads back', async () => {
    const spec = { like: 'conversation', durationMs: 60_000, scale: 1, seed: 9 } as const;
    const rows = generateTrace(spec);
    expect(generateTrace(spec)).toEqual(rows);
    expect(generateTrace({ ...spec, seed: 10 })).not.toEqual(rows);
    const { source: _, name: __, ...read } = await readMooncake(temporaryFile(formatRows(rows)), { blockTokens: 512, strict: true });
    expect(rowsToWorkload('x', rows)).toMatchObject(read);
  });

  it('refuses a span without requests, and one that is too long', async () => {
    expect(await problemOf(() => generateTrace({ like: 'tool_agent', durationMs: 0, scale: 1, seed: 1 }))).toMatchObject({ code: 'E-RANGE', path: 'duration' });
    expect(await problemOf(() => generateTrace({ like: 'tool_agent', durationMs: 3.6e6, scale: 50, seed: 1 }))).toMatchObject({ code: 'E-RANGE', what: 'duration times scale is 50.0 h of traffic' });
  });
});

describe('traces/conversation_mini.jsonl', () => {
  const text = readFileSync(new URL('../../traces/conversation_mini.jsonl', import.meta.url), 'utf8');

  it('is what its README says it is made by', () => {
    expect(formatRows(generateTrace({ like: 'conversation', durationMs: 720_000, scale: 1, seed: 42 }).slice(0, 2000)) === text).toBe(true);
    const readme = readFileSync(new URL('../../traces/README.md', import.meta.url), 'utf8');
    expect(readme).toContain(createHash('sha256').update(text).digest('hex'));
  });
});
