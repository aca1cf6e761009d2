import type { Sequences } from './points.js';
import type { GpuRecord } from './records.js';

type PassMetrics = Pick<
  GpuRecord,
  'num_prefill_requests' | 'sum_prefill_tokens' | 'sum_prefill_kv_tokens' | 'var_prefill_length' | 'num_decode_requests' | 'sum_decode_kv_tokens' | 'var_decode_kv_tokens' | 'wall_time'
>;

/**
 * A pass as a scheduler's forward-pass metrics have it, so that measured and simulated passes are the same row: counts, tokens, population
 * variances; `wall_time` in s, absent without a time. One new token is a decode step. Source: spec engine section 10.
 */
export function passMetrics(seqs: Sequences, wallMs: number | null): PassMetrics {
  const prompts = seqs.filter(([fresh]) => fresh > 1);
  const steps = seqs.filter(([fresh]) => fresh === 1).map(([, past]) => past);
  return {
    num_prefill_requests: prompts.length,
    sum_prefill_tokens: sum(prompts.map(([fresh]) => fresh)),
    sum_prefill_kv_tokens: sum(prompts.map(([, past]) => past)),
    var_prefill_length: variance(prompts.map(([fresh, past]) => fresh + past)),
    num_decode_requests: steps.length,
    sum_decode_kv_tokens: sum(steps),
    var_decode_kv_tokens: variance(steps),
    ...(wallMs === null ? {} : { wall_time: wallMs / 1000 }),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function variance(values: readonly number[]): number {
  const mean = sum(values) / values.length;
  return values.length === 0 ? 0 : sum(values.map((value) => (value - mean) ** 2)) / values.length;
}
