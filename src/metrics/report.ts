import type { MeasuredEvidence, TimingDescription } from '../timing/timing.js';
import type { Uncertain } from './uncertainty.js';

/** Nearest-rank distribution; null where there is no sample. */
export interface Latency {
  readonly mean: number | null;
  readonly std: number | null;
  readonly min: number | null;
  readonly p50: number | null;
  readonly p75: number | null;
  readonly p90: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
  readonly count: number;
}

/** How the passes of a pool were timed, and how far off that may be. */
export interface TimingReport extends Partial<MeasuredEvidence> {
  readonly pool: string;
  readonly source: string;
  readonly calibration: string;
  readonly error_pct: TimingDescription['errorPct'];
  /** Half-width of the central 90 % interval of the mean latency, in ln; null = unknown. */
  readonly interval_ln: { readonly ttft: number; readonly tpot: number } | null;
  readonly evidence: string | null;
  /** Equal for sources that share most of their error. */
  readonly group?: string;
  /** Null where no pass ran. */
  readonly extrapolated_passes: number | null;
  /** Share of the time inside passes that these took, 0…1. */
  readonly extrapolated_time_ratio: number | null;
  /** All passes of the pool; of measured profiles only. */
  readonly passes?: number | null;
}

/** report.json (`dynotwin.report/1`), key order as here. */
export interface Report {
  readonly schema: 'dynotwin.report/1';
  readonly scenario: { readonly name: string; readonly sha256: string; readonly fidelity: string; readonly seed: number; /** Closed forms instead of a simulation; absent = simulated. */ readonly estimator?: 'analytic' };
  readonly timing: readonly TimingReport[];
  readonly requests: { readonly total: number; readonly completed: number; readonly rejected: number; readonly cancelled: number; readonly failed: number; readonly unfinished: number };
  readonly tokens: { readonly input: number; readonly output: number; readonly reused: number };
  readonly duration_ms: number;
  readonly latency: { readonly ttft_ms: Latency; readonly ttst_ms: Latency; readonly tpot_ms: Latency; readonly itl_ms: Latency; readonly e2e_ms: Latency; readonly queue_ms: Latency };
  /** What the router held back, turned away, or sent whole to a decode worker; only where it may. Its wait is inside `latency.ttft_ms` and `queue_ms`, its rejections inside `requests.rejected`. */
  readonly router?: { /** Of completed requests, 0 for those that did not wait. */ readonly queue_ms?: Latency; readonly queued?: number; readonly overloaded?: number; /** Found no worker that they may go to. */ readonly no_worker?: number; /** As many requests, prompt tokens or cached tokens of their class waited as may. */ readonly queue_requests?: number; readonly queue_tokens?: number; readonly queue_cached_tokens?: number; readonly bypassed?: number };
  /** Quantiles of the means under the timing's own uncertainty; only when asked for. */
  readonly uncertainty?: { readonly ttft_ms: Uncertain; readonly tpot_ms: Uncertain; readonly output_tok_s: Uncertain };
  readonly throughput: {
    readonly requests_s: number;
    readonly input_tok_s: number;
    readonly output_tok_s: number;
    readonly total_tok_s: number;
    readonly tok_s_per_gpu: number;
    readonly tok_s_per_user: number | null;
  };
  readonly goodput?: { readonly requests: number; readonly ratio: number; readonly rps: number; readonly tok_s: number };
  /** `margins`: bound name → (bound − measured) / bound; negative = missed. */
  readonly slo?: { readonly met: boolean; readonly at: string; readonly margins: Readonly<Record<string, number | null>> };
  readonly cache: {
    readonly prefix_hit_ratio: number;
    readonly first_admission_hit_ratio: number;
    readonly hit_blocks: { readonly gpu: number };
    /** Null, like other figures below, where closed forms do not know it. */
    readonly evicted: number | null;
    readonly transfer_ms: number | null;
  };
  readonly load: { readonly ratio: number; readonly kv_peak_ratio: number | null; readonly preemptions: number | null };
  readonly gpu: { readonly peak: number; readonly hours: number };
  readonly cost?: { readonly currency: string; readonly total: number; readonly per_m_output: number | null; readonly per_m_total: number | null };
  readonly pools: readonly {
    readonly name: string;
    readonly role: string;
    readonly shape: string;
    readonly replicas: { readonly start: number; readonly min: number; readonly max: number; readonly end: number };
    readonly gpus_per_worker: number;
    readonly kv_blocks: number;
    readonly busy_ratio: number;
    /** Offered load as a share of what the pool can do, 0…1. */
    readonly saturation: number;
  }[];
  readonly warnings: readonly { readonly code: string; readonly path?: string; readonly message: string }[];
}
