/** What is measured, and the bars that each case is held to. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './paths.js';

/** A limit on a figure: from below for ratios, from above for costs. */
export type Bar = { readonly atLeast: number } | { readonly atMost: number };

export interface Case {
  readonly name: string;
  /** Flags of `replay`, understood by the reference as well; or a scenario, which only `run` understands. */
  readonly how: { readonly flags: readonly string[] } | { readonly scenario: (trace: string) => object };
  readonly bars?: CaseBars;
}

/** Stated for the conversation trace on a host that starts node in `BAR_STARTUP_MS`. */
export interface CaseBars {
  /** Times faster than the reference, each by its own clock. */
  readonly ratio?: number;
  /** By its own clock; judged where no reference is measured. */
  readonly wallMs?: number;
  readonly processMs?: number;
  readonly peakMiB?: number;
  /** Simulation and report of the fifth repetition in one process: a candidate of a sweep. */
  readonly candidateMs?: number;
  /** Own clock over that of the first case; any trace. */
  readonly ofFirst?: number;
  /** Own clock over that of the case priced by context; any trace. */
  readonly ofPriced?: number;
}

/** Bar on reading the largest of the measured operator tables, ms. */
export const TABLE_MS = 1000;

/** Where measured operator tables lie beside the checkout. */
export const TABLES = join(ROOT, '../shared/opdata');

/** Bars in milliseconds grow with the time of `node -e 0` over this. */
export const BAR_STARTUP_MS = 75;

/** Requests of the trace that the bars are stated for: Mooncake's conversation trace. */
export const BAR_REQUESTS = 12031;

/** Twice the requests may take this many times as long. */
export const DOUBLING: Bar = { atMost: 2.1 };

/** Tokens that a worker's cache holds in every replay here. */
const CACHE_TOKENS = 512 * 16384;

/** A small measured table: decode time by KV tokens and context length. */
const PROFILE = fileURLToPath(new URL('../test/fixtures/recorded/golden/cases/profile-burst-preempt/perf_data.npz', import.meta.url));

/** Flags of a replay on vLLM workers, unless the engine arguments say otherwise. */
export function replayFlags(workers: number, blockTokens: number, more: readonly string[] = [], args: Readonly<Record<string, string>> = {}): string[] {
  const engineArgs = { ...args, block_size: blockTokens, num_gpu_blocks: CACHE_TOKENS / blockTokens };
  return ['--num-workers', String(workers), '--extra-engine-args', JSON.stringify(engineArgs), ...more];
}

function scenario(fidelity: string, timing: string): (trace: string) => object {
  const worker = { replicas: 8, engine: { block_size: 512 }, kv: { blocks: CACHE_TOKENS / 512 } };
  return (trace) => ({
    workload: { trace },
    deployment: { model: 'meta-llama/Llama-3.1-8B-Instruct', hardware: 'h200_sxm', agg: worker },
    timing,
    run: { fidelity },
  });
}

export const KV_ROUTER = ['--router-mode', 'kv_router'];

/** Polynomial times of passes whose requests' lengths count one by one. */
export const PRICED = 'aisimulate: passes priced by context';

/** The first is what others are compared with. */
export const CASES: readonly Case[] = [
  { name: 'round robin, block 512', how: { flags: replayFlags(8, 512) }, bars: { ratio: 15, wallMs: 250, processMs: 450, peakMiB: 170, candidateMs: 60 } },
  { name: 'KV router, block 512', how: { flags: replayFlags(8, 512, KV_ROUTER) }, bars: { ratio: 12, wallMs: 350 } },
  { name: 'round robin, block 64', how: { flags: replayFlags(8, 64) }, bars: { ratio: 10, wallMs: 450 } },
  { name: 'KV router, block 64', how: { flags: replayFlags(8, 64, KV_ROUTER) }, bars: { ratio: 11, wallMs: 550 } },
  { name: 'one worker', how: { flags: replayFlags(1, 512) }, bars: { ratio: 5, wallMs: 250 } },
  { name: 'closed loop 256', how: { flags: replayFlags(8, 512, ['--replay-concurrency', '256']) }, bars: { ratio: 5, wallMs: 320 } },
  { name: 'arrivals x8', how: { flags: replayFlags(8, 512, ['--arrival-speedup-ratio', '8']) }, bars: { ofFirst: 3 } },
  { name: '128 workers', how: { flags: replayFlags(128, 512) }, bars: { ofFirst: 2 } },
  { name: 'SGLang, block 64', how: { flags: replayFlags(8, 64, [], { engine_type: 'sglang' }) } },
  { name: 'TensorRT-LLM, block 64', how: { flags: replayFlags(8, 64, [], { engine_type: 'trtllm' }) } },
  { name: PRICED, how: { scenario: scenario('aisimulate', 'polynomial') }, bars: { wallMs: 500 } },
  { name: 'timing table', how: { flags: replayFlags(8, 512, [], { planner_profile_data: PROFILE }) }, bars: { wallMs: 500 } },
  { name: 'fitted timing', how: { scenario: scenario('realistic', 'fitted') }, bars: { ofPriced: 1.5 } },
  { name: 'operator tables', how: { scenario: scenario('realistic', 'tables') }, bars: { ofPriced: 2.5 } },
];
