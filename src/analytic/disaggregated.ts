import type { StepTimes } from '../timing/step-times.js';
import { staticDecodeMs } from './static.js';

/** Prefill and decode workers apart, and how many of each (perf-model section 4.2). */

/** What static times leave out: interference in a prefill and in a decode worker. */
const PREFILL_CORRECTION = 1.1;
const DECODE_CORRECTION = 1.08;
/** Queueing of prompts before a prefill worker. */
export const PREFILL_QUEUEING = 1.8;
/** Share of a worker's rate that a matched pair of pools reaches. */
const PREFILL_EFFICIENCY = 0.9;
const DECODE_EFFICIENCY = 0.92;

/** GPUs of a worker beside the ones that split a layer. */
export interface WorkerShape {
  readonly tp: number;
  readonly pp: number;
  readonly dp: number;
}

export function workerGpus({ tp, pp, dp }: WorkerShape): number {
  return tp * pp * dp;
}

export interface PrefillWorker {
  readonly b: number;
  readonly gpus: number;
  /** Without queueing. */
  readonly ttftMs: number;
  readonly requestsPerSecond: number;
}

export interface DecodeWorker {
  readonly b: number;
  readonly gpus: number;
  /** Requests the whole worker holds. */
  readonly concurrency: number;
  readonly tpotMs: number;
  readonly requestsPerSecond: number;
}

/** A prefill worker that takes `b` prompts at a time on each rank. */
export function prefillWorker(times: Pick<StepTimes, 'prefillMs'>, shape: WorkerShape, { b, isl, prefix }: { readonly b: number; readonly isl: number; readonly prefix: number }): PrefillWorker {
  const ttftMs = times.prefillMs(b, isl, prefix) * PREFILL_CORRECTION;
  return { b, gpus: workerGpus(shape), ttftMs, requestsPerSecond: ((b * shape.dp) / ttftMs) * 1000 * shape.pp };
}

/** A decode worker that holds `b` requests on each rank. Outputs of one token need no decoding: rate Infinity. */
export function decodeWorker(times: Pick<StepTimes, 'decodeMs'>, shape: WorkerShape, { b, isl, osl }: { readonly b: number; readonly isl: number; readonly osl: number }): DecodeWorker {
  const totalMs = staticDecodeMs(times, b, isl, osl) * DECODE_CORRECTION;
  return {
    b,
    gpus: workerGpus(shape),
    concurrency: b * shape.dp,
    tpotMs: osl > 1 ? totalMs / (osl - 1) : 0,
    requestsPerSecond: totalMs === 0 ? Infinity : ((b * shape.dp) / totalMs) * 1000 * shape.pp,
  };
}

export interface Pairing {
  readonly prefillWorkers: number;
  readonly decodeWorkers: number;
  readonly gpus: number;
  readonly requestsPerSecond: number;
  /** Output tokens. */
  readonly tokensPerSecond: number;
  readonly tokensPerSecondPerGpu: number;
  /** With queueing. */
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestLatencyMs: number;
  readonly concurrency: number;
}

/** Requests per second of two pools together: the slower sets it, and neither is ever full. */
export function pairingRate(prefill: number, decode: number): number {
  return Math.min(PREFILL_EFFICIENCY * prefill, DECODE_EFFICIENCY * decode);
}

/** `x` prefill and `y` decode workers: the slower pool sets the rate. */
export function pairUp(prefill: PrefillWorker, decode: DecodeWorker, x: number, y: number, osl: number): Pairing {
  const gpus = prefill.gpus * x + decode.gpus * y;
  const requestsPerSecond = pairingRate(prefill.requestsPerSecond * x, decode.requestsPerSecond * y);
  const tokensPerSecond = requestsPerSecond * osl;
  const ttftMs = prefill.ttftMs * PREFILL_QUEUEING;
  return {
    prefillWorkers: x,
    decodeWorkers: y,
    gpus,
    requestsPerSecond,
    tokensPerSecond,
    tokensPerSecondPerGpu: tokensPerSecond / gpus,
    ttftMs,
    tpotMs: decode.tpotMs,
    requestLatencyMs: ttftMs + decode.tpotMs * Math.max(osl - 1, 0),
    concurrency: decode.concurrency * y,
  };
}

const MOST_WORKERS = 32;

/** Total GPUs of a pairing that a search may use. */
export const PAIRING_GPUS: readonly number[] = [1, 2, 4, 8, ...Array.from({ length: 15 }, (_, i) => 16 + 8 * i)];

/** The numbers of workers with the highest rate per GPU; the first of equals, decode workers counted outside. Null = no total is allowed. */
export function bestPairing(prefill: PrefillWorker, decode: DecodeWorker, osl: number, gpuTotals: readonly number[] = PAIRING_GPUS): Pairing | null {
  const allowed = new Set(gpuTotals);
  let best: Pairing | null = null;
  let bestRate = -Infinity;
  for (let y = 1; y <= MOST_WORKERS; y++) {
    for (let x = 1; x <= MOST_WORKERS; x++) {
      if (!allowed.has(prefill.gpus * x + decode.gpus * y)) continue;
      const pairing = pairUp(prefill, decode, x, y, osl);
      const rate = pairing.requestsPerSecond / pairing.gpus;
      if (rate <= bestRate) continue;
      best = pairing;
      bestRate = rate;
    }
  }
  return best;
}
