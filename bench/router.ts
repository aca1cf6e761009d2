/**
 * `npm run bench:router -- [TRACE…]`: look-ups of prompt blocks per second in the KV router's index at 64 workers, beside
 * an index of one bit per block and worker and a tree of hash maps; and what routing by it costs on top of round robin.
 * Nothing here is a test.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { loadReplayWorkload } from '../src/cli/replay.js';
import { addReplayFlags, planReplay } from '../src/cli/replay-flags.js';
import { randomStream } from '../src/core/random.js';
import { segmentsOf } from '../src/kv/segments.js';
import { SegmentIndex } from '../src/router/segment-index.js';
import type { BlockTable } from '../src/workload/workload.js';
import { expandBlocks } from '../src/workload/expand.js';
import { BitsetIndex } from './bitset-index.js';
import { KV_ROUTER, replayFlags, type Case } from './cases.js';
import { Judge, short, spread } from './numbers.js';
import { DEFAULT_TRACE } from './paths.js';
import { runOurs } from './processes.js';
import { RadixTree } from './radix-tree.js';

const WORKERS = 64;
const BLOCKS_PER_SECOND = { atLeast: 5e6 };
const ON_TOP = { atMost: 1.3 };
const REPEAT = 7;
/** Look-ups go on for about so long, ms. */
const ENOUGH_MS = 400;

const judge = new Judge();
const paths = process.argv.slice(2);
for (const path of paths.length > 0 ? paths : [DEFAULT_TRACE]) {
  if (!existsSync(path)) throw new Error(`no such trace: ${path}`);
  const workload = await loadReplayWorkload(planReplay([path], addReplayFlags(new Command()).parse(replayFlags(8, 512), { from: 'user' }).opts()));
  const table = expandBlocks(workload, 512);
  process.stdout.write(`${path}: ${workload.requestCount} requests, ${table.offsets[workload.requestCount]} prompt blocks of 512\n`);
  lookUps(table, workload.requestCount);
  for (const workers of [8, WORKERS]) routingCost(resolve(path), workers);
}
process.stdout.write(`bars: ${judge.met} met, ${judge.missed.length} missed${judge.missed.map((line) => `\n  ${line}`).join('')}\n`);

/** Each prompt is stored on a few workers; then every prompt is looked up on all of them. */
function lookUps(table: BlockTable, requests: number): void {
  const segments = new SegmentIndex(segmentsOf(table), WORKERS);
  const bitsets = new BitsetIndex(table, WORKERS);
  const tree = new RadixTree();
  const random = randomStream(1, 'placement');
  for (let request = 0; request < requests; request++) {
    const blocks = table.blocks.subarray(table.offsets[request], table.offsets[request + 1]);
    for (let copies = 1 + random.integer(4); copies > 0; copies--) {
      const worker = random.integer(WORKERS);
      for (const block of blocks) {
        segments.stored(worker, block, 1);
        bitsets.stored(worker, block);
      }
      tree.stored(worker, blocks);
    }
  }
  const depths = new Int32Array(WORKERS);
  const others = new Int32Array(WORKERS);
  const indexes: Readonly<Record<string, (request: number, depths: Int32Array) => void>> = {
    segments: (request, to) => segments.depths(request, to),
    bitsets: (request, to) => bitsets.depths(request, to),
    'radix tree': (request, to) => tree.depths(table.blocks, table.offsets[request]!, table.offsets[request + 1]!, to),
  };
  for (let request = 0; request < requests; request++) {
    indexes['segments']!(request, depths);
    for (const [name, look] of Object.entries(indexes)) {
      look(request, others);
      if (others.some((depth, worker) => depth !== depths[worker])) throw new Error(`${name} disagrees on request ${request}`);
    }
  }
  const rates = Object.entries(indexes).map(([name, look]) => [name, blocksPerSecond(table, requests, (request) => look(request, depths))] as const);
  const [, plain] = rates.at(-1)!;
  for (const [name, rate] of rates) {
    const figure = judge.figure(`${name} blocks/s`, rate, name === 'segments' ? BLOCKS_PER_SECOND : undefined);
    process.stdout.write(`  ${name.padEnd(10)} ${figure} blocks/s at ${WORKERS} workers, ${short(rate / plain)} × the radix tree\n`);
  }
}

function blocksPerSecond(table: BlockTable, requests: number, look: (request: number) => void): number {
  let blocks = 0;
  const start = performance.now();
  let elapsed = 0;
  while (elapsed < ENOUGH_MS) {
    for (let request = 0; request < requests; request++) look(request);
    blocks += table.offsets[requests]!;
    elapsed = performance.now() - start;
  }
  return (blocks / elapsed) * 1000;
}

/** `wall_time_ms` of the KV router over round robin's, each of cold processes, alternating; best of both. */
function routingCost(path: string, workers: number): void {
  const [plain, routed] = [[], KV_ROUTER].map((more): { readonly one: Case; readonly times: number[] } => ({ one: { name: '', how: { flags: replayFlags(workers, 512, more) } }, times: [] }));
  for (let i = 0; i < REPEAT; i++) for (const { one, times } of [plain!, routed!]) times.push(runOurs(one, path).wallMs);
  const [without, by] = [spread(plain!.times), spread(routed!.times)];
  const figure = judge.figure(`KV over round robin, ${workers} workers`, by.best / without.best, ON_TOP);
  process.stdout.write(`  ${workers} workers: KV ${short(by.best)} ms, round robin ${short(without.best)} ms: ${figure} (of medians ${short(by.median / without.median)})\n`);
}
