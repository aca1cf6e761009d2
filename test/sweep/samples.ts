import { summarise } from '../../src/core/distribution.js';
import type { Report } from '../../src/metrics/report.js';
import { runSamples, type RunSamples, type SampleRow } from '../../src/sweep/run-samples.js';
import type { SampledRun } from '../../src/sweep/paired.js';

/** A request that arrives at 10 · id, waits for nothing and has the given TTFT, ms; each its own session. */
export function sampleRow(id: number, ttft: number | null, rest: Partial<SampleRow> = {}): SampleRow {
  return {
    id, session: `request_${id + 1}`, turn: 0, arrival_ms: 10 * id, admit_ms: 10 * id, end_ms: 10 * id + (ttft ?? 0) + 50, status: ttft === null ? 'rejected' : 'completed', isl: 100 + id, osl_requested: 6,
    ttft_ms: ttft, tpot_ms: ttft === null ? null : 10, e2e_ms: ttft === null ? null : ttft + 50, queue_ms: ttft === null ? null : 0, reused_tokens: 0, good: null, ...rest,
  };
}

/** A report that says no more of its requests than how many have samples, beside some figures. */
export function sampleReport(rows: readonly SampleRow[], output = 100): Report {
  const measured = rows.filter(({ status }) => status === 'completed');
  const latency = (name: 'ttft_ms' | 'tpot_ms' | 'e2e_ms' | 'queue_ms'): object => {
    const { median, ...figures } = summarise(Float64Array.from(measured.flatMap((row) => row[name] ?? [])));
    return { ...figures, p50: median };
  };
  const none = latency('queue_ms');
  return {
    timing: [],
    requests: { total: rows.length, completed: measured.length, rejected: rows.length - measured.length, cancelled: 0, failed: 0, unfinished: 0 },
    latency: { ttft_ms: latency('ttft_ms'), ttst_ms: none, tpot_ms: latency('tpot_ms'), itl_ms: none, e2e_ms: latency('e2e_ms'), queue_ms: latency('queue_ms') },
    throughput: { requests_s: 1, input_tok_s: 1, output_tok_s: output, total_tok_s: 1, tok_s_per_gpu: output, tok_s_per_user: 100 },
    cache: { prefix_hit_ratio: 0, first_admission_hit_ratio: 0, hit_blocks: { gpu: 0 }, evicted: 0, transfer_ms: 0 },
    load: { ratio: 0.5, kv_peak_ratio: 0, preemptions: 0 },
    gpu: { peak: 1, hours: 1 },
  } as unknown as Report;
}

export function sampledRun(rows: readonly SampleRow[], output?: number): SampledRun {
  const report = sampleReport(rows, output);
  return { report, samples: runSamples(rows, report)! };
}

export const samplesOf = (rows: readonly SampleRow[]): RunSamples => sampledRun(rows).samples;
