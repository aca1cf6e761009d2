import type { RouterSpec } from './router-spec.js';
import type { WorkerTraits } from './worker-traits.js';

export * from './router-spec.js';
export type { WorkerTraits } from './worker-traits.js';

/**
 * A resolved scenario: every default filled in, every quantity in base units (ms, bytes, bytes/s,
 * tokens). Plain JSON data, so that it travels to sweep threads and hashes canonically.
 */
export type Fidelity = 'realistic' | 'dynosim' | 'aisimulate';

/** How a length in tokens is drawn. */
export type Distribution =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number; readonly min?: number; readonly max?: number }
  | { readonly kind: 'lognormal'; readonly median: number; readonly sigma: number; readonly min?: number; readonly max?: number }
  | { readonly kind: 'uniform'; readonly from: number; readonly to: number; readonly min?: number; readonly max?: number }
  | { readonly kind: 'exponential'; readonly mean: number; readonly min?: number; readonly max?: number };

export type WorkloadSource =
  /** Trace file; path absolute or relative to the current folder, resolved by the loader. */
  | { readonly kind: 'trace'; readonly path: string }
  | {
      readonly kind: 'synthetic';
      readonly isl: Distribution;
      readonly osl: Distribution;
      /** Leading blocks shared inside a group: share of the prompt's blocks, or tokens. */
      readonly sharedPrefix: { readonly ratio?: number; readonly tokens?: number; readonly groups: number } | null;
      /** Requests per session, the next two beside it; absent = 1. */
      readonly turns?: number;
      /** Wait between the end of a turn and the next; `exponential` draws it with this mean. */
      readonly thinkTimeMs?: { readonly kind: 'constant' | 'exponential'; readonly ms: number };
      /** `cumulative`: a turn's prompt is the session so far and `isl` new tokens; `fresh`: `isl` tokens alone. */
      readonly history?: 'cumulative' | 'fresh';
    }
  | { readonly kind: 'generate'; readonly like: 'conversation' | 'document_qa' | 'tool_agent'; readonly durationMs: number; readonly scale: number };

export type Load =
  /** Closed loop: this many sessions in flight. */
  | { readonly kind: 'concurrency'; readonly concurrency: number }
  /** Open loop over drawn arrivals. */
  | {
      readonly kind: 'rate';
      /** Sessions per second where they have several turns. */
      readonly requestsPerSecond: number;
      readonly arrivals: 'poisson' | 'constant' | 'gamma' | 'burst';
      /** Gamma shape k (CV² = 1/k); 1 otherwise. */
      readonly smoothness: number;
      readonly seed: number;
    }
  /** Open loop over the trace's own timestamps divided by this; `lanes`: plays of an agentic trace at a time, at most. */
  | { readonly kind: 'speedup'; readonly speedup: number; readonly lanes?: number };

/** Trace formats by name (spec: workload section 1.1). */
export type TraceFormatName = (typeof TRACE_FORMAT_NAMES)[number];
export const TRACE_FORMAT_NAMES = ['mooncake', 'mooncake-delta', 'agentic_mooncake', 'applied_compute_agentic', 'dynamo', 'weka', 'bailian', 'burstgpt'] as const;

export interface WorkloadSpec {
  readonly source: WorkloadSource;
  readonly format: 'auto' | TraceFormatName;
  /** Tokens per hash id of the trace; null = what the file says, else its format's own. */
  readonly traceBlockTokens: number | null;
  /** Times inside the sub-agents of a weka trace; absent = found from them. */
  readonly nestedTimestamps?: 'relative' | 'absolute';
  readonly load: Load;
  /** First N requests; null = all (trace, generate). Synthetic: the requests of all sessions. */
  readonly requests: number | null;
}

/** Every engine knob of one pool. */
export type EngineName = 'vllm' | 'sglang' | 'trtllm';

/** Knobs that only SGLang's scheduler reads. */
export interface SglangSpec {
  readonly schedulePolicy: 'fifo' | 'lpm';
  /** Prompt tokens of one prefill batch at most. */
  readonly maxPrefillTokens: number;
  /** Tokens of one prompt chunk. */
  readonly chunkedPrefillSize: number;
  /** Output tokens reserved per running request at most. */
  readonly clipMaxNewTokens: number;
  /** 0…1: share of the reserved output that counts at first. */
  readonly scheduleConservativeness: number;
  /** Decode rounds between two prefill batches. */
  readonly decodeInterval: number;
  /** Decode passes from one look at new requests to the next; absent = 1. */
  readonly receiveInterval?: number;
}

/** Multi-token prediction. */
export interface SpeculativeSpec {
  /** Draft tokens per pass, 1…5. */
  readonly tokens: number;
  /** Conditional acceptance probability of each draft; missing ones are 0. */
  readonly accept: readonly number[];
  readonly seed: number;
}

export interface EngineSpec {
  readonly name: EngineName;
  readonly version: string;
  readonly blockTokens: number;
  /** Running requests at most. */
  readonly maxNumSeqs: number;
  /** Token budget of a pass. */
  readonly maxNumBatchedTokens: number;
  readonly prefixCaching: boolean;
  readonly chunkedPrefill: boolean;
  /** Longest prompt + output in tokens; null = unlimited. */
  readonly contextTokens: number | null;
  readonly memoryFraction: number;
  readonly preemption: 'lifo' | 'fifo';
  readonly speculative?: SpeculativeSpec;
  /** GPU block manager: `kvbm` keeps one copy per content and evicts leaves; default `native`. */
  readonly blockManager?: 'native' | 'kvbm';
  /** Data-parallel ranks per worker; default 1. */
  readonly ranks?: number;
  /** A new request meets the pass after the next one: schedules are made a pass ahead; absent = the next pass. */
  readonly admission?: 'next_pass';
  /** Present for SGLang only. */
  readonly sglang?: SglangSpec;
}

/** Precisions by the names of the operator tables (spec: perf-model section 2.1). */
export type QuantMode = (typeof QUANT_MODES)[number];
export const QUANT_MODES = ['bf16', 'int8_wo', 'int4_wo', 'fp8', 'fp8_static', 'fp8_block', 'fp8_ootb', 'sq', 'nvfp4', 'nvfp4_wo', 'w4afp8', 'w4a16_mxfp4', 'w4a8_mxfp4_mxfp8'] as const;

/** Precision of each part of a model. */
export interface Quant {
  /** Linear layers but the experts and the logits. */
  readonly weights: QuantMode;
  readonly moe: QuantMode;
  /** Arithmetic of the prompt attention. */
  readonly attention: (typeof ATTENTION_MODES)[number];
  readonly kv: (typeof KV_MODES)[number];
}
export const ATTENTION_MODES = ['bf16', 'fp8'] as const;
export const KV_MODES = ['bf16', 'fp8', 'int8'] as const;

export interface PoolSpec {
  readonly role: 'agg' | 'prefill' | 'decode';
  readonly replicas: number;
  readonly tp: number;
  /** Pipeline stages; absent = 1. */
  readonly pp?: number;
  /** GPUs that split each expert, and groups that hold different experts; absent = no experts. */
  readonly moeTp?: number;
  readonly moeEp?: number;
  /** Where the scenario sets a precision; absent = the checkpoint's own, as the engine runs it. */
  readonly quant?: Quant;
  readonly engine: EngineSpec;
  /** KV blocks per worker; per rank where it has several. */
  readonly kvBlocks: number;
  /** True when `kvBlocks` comes from the memory model. */
  readonly kvBlocksEstimated: boolean;
  /** Bytes per GPU kept free of KV blocks; only where estimated and not 0. */
  readonly kvReserveBytes?: number;
  /** What sets some workers apart from the others; absent = all are equal. */
  readonly workers?: readonly WorkerTraits[];
}

export interface KvTransferSpec {
  /** Bytes per second; null = instant. */
  readonly bytesPerSecond: number | null;
  readonly latencyMs: number;
  /** Tokens charged: those missing at the destination (whole blocks), or the full prompt. */
  readonly charge: 'missing' | 'full';
  /** `fair`: simultaneous transfers share each worker's link. */
  readonly contention: 'none' | 'fair';
  readonly bytesPerToken: number;
  readonly bytesPerRequest: number;
}

export interface DeploymentSpec {
  /** Hugging Face name; null only where nothing needs one. */
  readonly model: string | null;
  readonly hardware: string | null;
  readonly mode: 'agg' | 'disagg';
  /** One pool (`agg`), or prefill then decode. */
  readonly pools: readonly PoolSpec[];
  /** Read in `disagg` only; null in `agg`. */
  readonly kvTransfer: KvTransferSpec | null;
}

export interface TimingSpec {
  readonly source: 'polynomial' | 'fixed' | 'fitted' | 'profile' | 'tables' | 'roofline' | 'measured';
  /** `fixed` only, ms. */
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** `profile`, `tables` and `measured`: file or folder, absolute or relative to the current folder. */
  readonly path?: string;
  /** `tables`, `roofline` and `measured`: host time of every pass, ms; null or absent = what measured serving shows (`realistic`) or the profile's own, else none. */
  readonly overheadMs?: number | null;
  /** `measured`: what happens with passes far beyond those measured, absent = error. `tables`: where they lack an operator; absent = estimate with the tables that ship, error with a folder's. */
  readonly miss?: 'error' | 'estimate';
  /** `measured`: takes profiles of another engine, their host times too, or of no GPU. */
  readonly allow?: readonly ('engine' | 'host' | 'synthetic')[];
  readonly speedup: number;
  readonly decodeSpeedup: number;
}

/** What a request passes before a router sees it. */
export interface FrontendSpec {
  /** Preprocessing on one of `cores`, in order of arrival: base + prompt tokens / rate; null = tokens take no time. */
  readonly baseMs: number;
  readonly tokensPerSecond: number | null;
  readonly cores: number;
  /** Then a hop in which nobody waits for another. */
  readonly dispatchMs: number;
}

/** Several replicas of the frontend, each with routers of its own. */
export interface ReplicasSpec {
  readonly count: number;
  /** Which one a request goes to: in turn, drawn, or that of the session's first one, which goes in turn. */
  readonly balance: 'round_robin' | 'random' | 'session';
  /** What each books reaches the others after so long, ms; absent = each knows of its own requests alone. */
  readonly syncMs?: number;
}

export interface SloSpec {
  readonly ttftMs: number | null;
  readonly itlMs: number | null;
  readonly e2eMs: number | null;
  /** Which figure of the distribution must meet the bound. */
  readonly at: 'mean' | 'p50' | 'p75' | 'p90' | 'p95' | 'p99' | 'max';
}

export interface RunSpec {
  readonly seed: number;
  readonly fidelity: Fidelity;
  /** Virtual time at which everything stops; null = when all is done. */
  readonly maxTimeMs: number | null;
  readonly capture: readonly ('requests' | 'timeline')[];
  /** Closed forms instead of a simulation; absent = simulate. */
  readonly estimator?: 'analytic';
}

export interface ReportSpec {
  /** First requests of the workload that no latency counts; absent = none. */
  readonly warmupRequests?: number;
  /** Width of a timeline bucket, ms. */
  readonly intervalMs: number;
  readonly formats: readonly ('json' | 'csv' | 'jsonl' | 'html' | 'aiperf')[];
  /** Also say how far the timing's own uncertainty spreads the means; absent = no. */
  readonly uncertainty?: true;
}

export interface Scenario {
  readonly name: string;
  readonly workload: WorkloadSpec;
  readonly deployment: DeploymentSpec;
  readonly router: RouterSpec;
  /** Absent = requests reach the router at once. */
  readonly frontend?: FrontendSpec;
  /** Absent = one frontend. */
  readonly frontendReplicas?: ReplicasSpec;
  readonly timing: TimingSpec;
  readonly slo: SloSpec | null;
  /** Currency units per GPU and hour; null = no money metrics. */
  readonly gpuHourPrice: number | null;
  readonly run: RunSpec;
  readonly report: ReportSpec;
}

/** `max tok_s_per_gpu` */
export interface Objective {
  readonly direction: 'max' | 'min';
  readonly metric: string;
}

/** `ttft_ms.p99 <= 2 s`, or `slo`. Sides are linear expressions over metrics: Σ factor·metric + constant (ms, bytes, …). */
export type Constraint =
  | { readonly kind: 'slo'; readonly text: string }
  | { readonly kind: 'compare'; readonly text: string; readonly op: '<=' | '>=' | '<' | '>' | '=='; readonly left: LinearExpression; readonly right: LinearExpression };
export interface LinearExpression {
  readonly terms: readonly { readonly metric: string; readonly factor: number }[];
  readonly constant: number;
}

/** A sweep: its candidates (already resolved and merged) and how to judge them. */
export interface Sweep {
  readonly name: string;
  /** Counts printed first. */
  readonly counts: { readonly product: number; readonly merged: number; readonly illegal: number; readonly toRun: number };
  readonly candidates: readonly Candidate[];
  /** Combinations that are not legal, with the reason (a model that does not fit, …). */
  readonly illegal: readonly { readonly dimensions: Readonly<Record<string, unknown>>; readonly reason: string }[];
  readonly objectives: readonly Objective[];
  readonly constraints: readonly Constraint[];
  /** Recommendations wanted. */
  readonly top: number;
  readonly search: { readonly method: 'grid'; readonly trials: number };
}

export interface Candidate {
  /** `c-` + 10 hex digits of SHA-256 of the canonical resolved scenario. */
  readonly id: string;
  /** The values of its dimensions, inert ones left out; topology dimensions are `mode` and `layout` (such as `2×tp2`, `1×tp2 + 3×tp1`). */
  readonly dimensions: Readonly<Record<string, unknown>>;
  readonly scenario: Scenario;
}
