import { median } from '../errors.js';
import { passMetrics } from '../gpu/pass-metrics.js';
import { captureSizes, paddedBatch } from '../gpu/plan/target.js';
import type { Sequences } from '../gpu/points.js';
import type { GpuRecord } from '../gpu/records.js';
import { importRecord, type BarePoint } from './imported.js';
import type { Shard } from './shard.js';

/** Passes of a serving engine as records. */

/** Sizes that vLLM captures when nothing bounds them further (spec calibration 3.1). */
const CAPTURED = captureSizes(256, 8192);
/** Half-width of a median's 95 % interval is this times MAD / √n. */
const HALF_WIDTH = 3.642;
const MOST_SEQUENCES = 4096;

/** One pass that was observed, or several of the same sequences. */
export interface ObservedPass {
  readonly prefill: Sequences;
  readonly decode: Sequences;
  readonly ms: readonly number[];
  readonly flags: readonly string[];
}

/** The point of a pass: pure decode in a graph, as vLLM pads it there; else eager. Every sequence yields a token. Null when it is too large for a point. */
export function passPoint({ prefill, decode }: Pick<ObservedPass, 'prefill' | 'decode'>, engine: string): Extract<BarePoint, { kind: 'pass' }> | null {
  const seqs = [...prefill, ...decode];
  if (seqs.length === 0 || seqs.length > MOST_SEQUENCES) return null;
  const padded = engine === 'vllm' ? paddedBatch(CAPTURED, seqs.length) : seqs.length;
  const graph = prefill.length === 0 && padded !== undefined;
  return { kind: 'pass', mode: graph ? 'graph' : 'eager', seqs, rows: seqs.length, ...(graph && engine === 'vllm' && { pad_to: padded }) };
}

/**
 * The record of a pass: median and scatter over equal ones. `assumed_graph`: that the pass ran in a graph is a guess. `host_clock`: the time
 * is from scheduling to update by the host's clock, so the GPU's own is not known apart (SGLang times the GPU).
 */
export function passRecord(point: Extract<BarePoint, { kind: 'pass' }>, pass: ObservedPass, engine: string, { tp, geometryHash, dtype }: Shard): GpuRecord {
  const [mid, n] = [median(pass.ms)!, pass.ms.length];
  const scatter = n < 2 ? null : median(pass.ms.map((value) => Math.abs(value - mid)))!;
  const onHost = engine !== 'sglang';
  const flags = [...pass.flags, ...(onHost ? ['host_clock'] : []), ...(point.mode === 'graph' ? ['assumed_graph'] : [])];
  return {
    ...importRecord(point, { median_ms: mid, mad_ms: scatter, ci_rel: scatter === null ? null : (HALF_WIDTH * scatter) / (Math.sqrt(n) * mid), n, wall_ms: onHost ? mid : null, tp, geometry_hash: geometryHash, dtype: dtype.weights, flags }),
    ...passMetrics(point.seqs, mid),
  };
}
