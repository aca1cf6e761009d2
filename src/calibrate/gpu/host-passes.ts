import { InputError } from '../../core/problem.js';
import { geometryHash } from './points.js';
import type { Selection } from './select.js';
import { readServed } from './served.js';

/** Passes that serve.py ran, as far as they tell of the host: it schedules and prepares each, which the worker's own points do not. */

export interface HostPass {
  /** Schedule to update, ms. */
  readonly wallMs: number;
  /** First to last kernel, ms: what it waited for launches is in it. */
  readonly gpuMs: number;
  /** Sequences in the pass, and tokens computed. */
  readonly rows: number;
  readonly fresh: number;
}

/**
 * Passes of a run of serve.py for the host times of a profile. Throws `InputError`: what `readServed` throws, `E-MIXED` where it ran another GPU,
 * model, precision or degree than was measured.
 */
export function readHostPasses(file: string, { identity, model }: Selection): HostPass[] {
  const { head: { capabilities, config: { load_model: load } }, passes } = readServed(file);
  const same = (what: string, here: string, there: string): void => {
    if (here !== there) throw new InputError({ code: 'E-MIXED', file, line: 1, what: `${what} differs: ${here} here, ${there} in ${model.file}:${model.line}`, hint: 'take host times from a run of the same GPU and model' });
  };
  if (identity.gpu !== null) same('GPU', capabilities.gpu.name, identity.gpu);
  same('geometry', geometryHash(load.model).slice(0, 12), model.geometryHash.slice(0, 12));
  same('precision', `${load.dtype.weights} with a ${load.dtype.kv} cache`, `${model.dtype.weights} with a ${model.dtype.kv} cache`);
  same('tensor parallelism', `tp ${load.shard.tp}`, `tp ${model.tp}`);
  return passes.flatMap(({ wall_time, gpu_ms, num_prefill_requests, num_decode_requests, sum_prefill_tokens }) =>
    gpu_ms === null ? [] : [{ wallMs: wall_time * 1000, gpuMs: gpu_ms, rows: num_prefill_requests + num_decode_requests, fresh: sum_prefill_tokens + num_decode_requests }],
  );
}
