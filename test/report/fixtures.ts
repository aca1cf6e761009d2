import { randomStream } from '../../src/core/random.js';
import type { Latency, Report } from '../../src/metrics/report.js';
import type { Timeline } from '../../src/metrics/observations.js';
import type { CandidateResult, RunSeries, SweepResult } from '../../src/sweep/result.js';
import type { Scenario } from '../../src/scenario/scenario.js';

/** Plausible samples: log-normal around a median, by a seeded stream. */
export function samples(name: string, count: number, medianMs: number, sigma: number): number[] {
  const stream = randomStream(7, name);
  return Array.from({ length: count }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - stream.next())) * Math.cos(2 * Math.PI * stream.next());
    return medianMs * Math.exp(sigma * normal);
  });
}

export function latency(values: readonly number[]): Latency {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  if (n === 0) return { mean: null, std: null, min: null, p50: null, p75: null, p90: null, p95: null, p99: null, max: null, count: 0 };
  const rank = (p: number): number => sorted[Math.max(0, Math.ceil((p / 100) * n) - 1)]!;
  const mean = sorted.reduce((a, b) => a + b, 0) / n;
  const std = Math.sqrt(sorted.reduce((sum, one) => sum + (one - mean) ** 2, 0) / n);
  return { mean, std, min: sorted[0]!, p50: rank(50), p75: rank(75), p90: rank(90), p95: rank(95), p99: rank(99), max: sorted[n - 1]!, count: n };
}

/** A run's series: `buckets` timeline buckets of 10 s with a swell of load. */
export function runSeries(buckets = 48): RunSeries {
  const stream = randomStream(11, 'timeline');
  const swell = (i: number): number => 40 + 25 * Math.sin((i / buckets) * 2 * Math.PI);
  const arrivals = Array.from({ length: buckets }, (_, i) => Math.round(swell(i) + 12 * stream.next()));
  const shifted = [0, ...arrivals.slice(0, -1)];
  const timeline: Timeline = {
    intervalMs: 10_000,
    arrivals,
    firstTokens: arrivals.map((one, i) => Math.round((one * 3 + shifted[i]!) / 4)),
    ends: shifted,
    outputTokens: shifted.map((one) => one * 190),
    inSystem: arrivals.map((one, i) => Math.round(one * 0.8 + i / 4)),
  };
  return { ttftMs: samples('ttft', 2000, 210, 0.55), tpotMs: samples('tpot', 2000, 21, 0.18), timeline };
}

export function fakeReport(series: RunSeries, name = 'quickstart'): Report {
  const ttft = latency(series.ttftMs);
  const tpot = latency(series.tpotMs);
  return {
    schema: 'dynotwin.report/1',
    scenario: { name, sha256: 'ab'.repeat(32), fidelity: 'realistic', seed: 42 },
    timing: [{ pool: 'agg', source: 'fitted', calibration: 'Qwen3-32B on h200_sxm, vllm 0.24.0 (embedded coefficients)', error_pct: { ttft: 8.1, tpot: 4.2 }, interval_ln: null, evidence: null, extrapolated_passes: 12, extrapolated_time_ratio: 0 }],
    requests: { total: 2004, completed: 2000, rejected: 4, cancelled: 0, failed: 0, unfinished: 0 },
    tokens: { input: 8_012_331, output: 388_120, reused: 3_120_640 },
    duration_ms: 480_123.5,
    latency: { ttft_ms: ttft, ttst_ms: tpot, tpot_ms: tpot, itl_ms: tpot, e2e_ms: latency(series.ttftMs.map((one, i) => one + 190 * (series.tpotMs[i] ?? 0))), queue_ms: latency(series.ttftMs.map((one) => one / 9)) },
    throughput: { requests_s: 4.17, input_tok_s: 16_691, output_tok_s: 808.6, total_tok_s: 17_499, tok_s_per_gpu: 101.1, tok_s_per_user: 46.8 },
    goodput: { requests: 1874, ratio: 0.935, rps: 3.9, tok_s: 757 },
    slo: { met: true, at: 'p90', margins: { ttft: (1000 - ttft.p90!) / 1000, itl: (30 - tpot.p90!) / 30 } },
    cache: { prefix_hit_ratio: 0.389, first_admission_hit_ratio: 0.385, hit_blocks: { gpu: 48_760 }, evicted: 1203, transfer_ms: 0 },
    load: { ratio: 0.81, kv_peak_ratio: 0.74, preemptions: 3 },
    gpu: { peak: 8, hours: 1.067 },
    cost: { currency: '$', total: 3.73, per_m_output: 9.62, per_m_total: 0.44 },
    pools: [{ name: 'agg', role: 'agg', shape: 'tp2', replicas: { start: 4, min: 4, max: 4, end: 4 }, gpus_per_worker: 2, kv_blocks: 14_302, busy_ratio: 0.81, saturation: 0.81 }],
    warnings: [{ code: 'W-EXTRAPOLATED', path: 'timing', message: '12 passes lie outside the calibrated range' }],
  };
}

const ADVICE = {
  rule: { verdict: 'disagg', because: 'prompts reach 4,000 tokens' }, simulated: { verdict: 'agg', because: 'it is 6 % ahead', agg: null, disagg: null }, differs: true, arithmetic: null,
  sentences: ['Rule of thumb: disaggregate, prompts reach 4,000 tokens.', 'Simulated: aggregate, it is 6 % ahead.'],
} as const;

/** The scenario is not read by the report room. */
const SCENARIO = {} as Scenario;

/** `count` candidates over mode × layout × router; those above 45 ms TPOT miss the SLO, one fails outright. */
export function fakeSweep(count = 24, rename: (text: string) => string = (text) => text): SweepResult {
  const stream = randomStream(3, 'sweep');
  const layouts = { agg: ['8×tp1', '4×tp2', '2×tp4', '1×tp8'], disagg: ['4×tp1 + 2×tp2', '2×tp2 + 1×tp4', '2×tp1 + 3×tp2', '6×tp1 + 1×tp2'] } as const;
  const raw = Array.from({ length: count }, (_, i) => {
    const mode = i % 3 === 2 ? 'disagg' : 'agg';
    const layout = layouts[mode][Math.floor(i / 6) % 4]!;
    const user = 18 + 60 * stream.next();
    const gpu = (mode === 'disagg' ? 3400 : 3000) / (user + 8) + 18 * stream.next();
    const failed = i === count - 1 && count > 4;
    const tpot = 1000 / user;
    return {
      candidate: { id: `c-${(0x1000000000 + i * 7919).toString(16).slice(-10)}`, dimensions: { mode, layout: rename(layout), 'router.policy': rename(i % 2 === 0 ? 'kv' : 'round_robin') }, scenario: SCENARIO },
      status: failed ? ('failed' as const) : ('completed' as const),
      reason: failed ? rename('out of KV blocks') : '',
      report: null,
      metrics: (failed ? {} : { tok_s_per_gpu: gpu, tok_s_per_user: user, gpus: 8, goodput_ratio: Math.min(1, 0.5 + user / 120), prefix_hit_ratio: i % 2 === 0 ? 0.41 : 0.22, 'ttft_ms.p99': 300 + 900 * stream.next(), 'tpot_ms.mean': tpot }) as Readonly<Record<string, number>>,
      feasible: !failed && tpot <= 45,
      margins: failed ? [] : [{ constraint: rename('tpot_ms.mean <= 45 ms'), margin: (45 - tpot) / 45, met: tpot <= 45, value: tpot, bound: 45 }],
    };
  });
  const beats = (a: (typeof raw)[number], b: (typeof raw)[number]): boolean =>
    a.metrics.tok_s_per_gpu! > b.metrics.tok_s_per_gpu! && a.metrics.tok_s_per_user! > b.metrics.tok_s_per_user!;
  const order = [...raw].sort((a, b) => Number(b.feasible) - Number(a.feasible) || (b.metrics.tok_s_per_gpu ?? 0) - (a.metrics.tok_s_per_gpu ?? 0));
  const candidates: CandidateResult[] = raw.map((one) => ({ ...one, onFront: one.feasible && !raw.some((other) => other.feasible && beats(other, one)), rank: order.indexOf(one) + 1 }));
  candidates.sort((a, b) => (a.candidate.id < b.candidate.id ? -1 : 1));
  const front = candidates.filter((one) => one.onFront).sort((a, b) => a.rank - b.rank);
  const recommendations = front.slice(0, 3).map((candidate, i) => ({
    candidate,
    label: ['best-tok_s_per_gpu', 'knee', 'best-tok_s_per_user'][i]!,
    reasons: [rename('Highest tok/s/GPU of all feasible candidates.'), rename('Every constraint is met; the tightest is tpot_ms.mean <= 45 ms.')],
    tiedWith: i === 0 && front.length > 3 ? [front[3]!.candidate.id] : [],
    ...(i === 0 ? { advice: { ...ADVICE, sentences: ADVICE.sentences.map(rename) } } : {}),
  }));
  const nothing = front.length === 0;
  return {
    sweep: { name: rename('quickstart'), counts: { product: count + 10, merged: 6, illegal: 4, toRun: count }, illegal: [{ dimensions: { mode: 'agg', layout: '16×tp½' }, reason: rename('weights do not fit') }], top: 5, search: { method: 'grid', trials: 10_000 } },
    objectives: [{ direction: 'max', metric: 'tok_s_per_gpu' }, { direction: 'max', metric: 'tok_s_per_user' }],
    constraints: [{ kind: 'compare', text: rename('tpot_ms.mean <= 45 ms'), op: '<=', left: { terms: [{ metric: 'tpot_ms.mean', factor: 1 }], constant: 0 }, right: { terms: [], constant: 45 } }],
    candidates, front, recommendations,
    nearestMisses: nothing ? candidates.slice(0, 3) : [],
    bindingConstraint: nothing ? 'tpot_ms.mean <= 45 ms' : null,
  };
}
