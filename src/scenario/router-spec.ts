/** How requests find a worker, resolved. */

/** Requests wait while every worker has more prompt tokens to compute than `threshold` · the token budget of a pass. Source: spec router section 5. */
export interface QueueSpec {
  readonly policy: 'fcfs' | 'wspt' | 'lcfs';
  readonly threshold: number;
}

/** Classes of requests that wait apart from each other. Source: spec router section 5.4. */
export interface QueueClasses {
  /** The file, relative to the current folder; its content counts. */
  readonly path: string;
  /** Of requests that name none; absent = each must name a class. */
  readonly defaultFamily?: string;
  /** By uncached prompt tokens, ascending from 0. */
  readonly buckets: readonly { readonly minTokens: number; readonly bucket: string }[];
  readonly classes: readonly QueueClass[];
}

export interface QueueClass {
  readonly name: string;
  /** For requests of this family and bucket; without both for requests that name the class. */
  readonly family?: string;
  readonly bucket?: string;
  readonly policy: QueueSpec['policy'];
  /** Uncached prompt tokens that it may send per round. */
  readonly quantum: number;
  /** A worker with more prompt tokens to compute than either is busy, the second as a share of the token budget of a pass; without both nobody waits. */
  readonly busyTokens?: number;
  readonly busyFraction?: number;
  /** Share of the workers that are busy from which on requests wait; absent = all of them. */
  readonly busyRatio?: number;
  readonly limits: QueueLimits;
}

/** What may wait in a class, per worker: a request is refused where that much waits already. */
export interface QueueLimits {
  readonly requests?: number;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
}

/** Limits of a rank; absent = none. */
export interface OverloadSpec {
  /** Blocks of its active requests, as a share of its blocks. */
  readonly decodeBlocks?: number;
  /** Prompt tokens still to compute, and the same as a share of a pass's token budget. */
  readonly prefillTokens?: number;
  readonly prefillFraction?: number;
}

/** Which requests of a disaggregated deployment skip the prefill workers. Source: spec router section 7.2. */
export interface ConditionalDisaggSpec {
  /** By what is to be computed of the prompt, by the load of the prefill worker, or by either. */
  readonly policy: (typeof CONDITIONAL_DISAGG_POLICIES)[number];
  /** Uncached prompt tokens, and their share of the prompt, must be below these. */
  readonly islTokens: number;
  readonly ratio: number;
  /** Share of a pass's token budget above which a prefill worker is busy; the policies that look at its load have one. */
  readonly prefillBusy?: number;
  /** Share of a decode worker's blocks above which it takes no prompts; absent = it always does. */
  readonly decodeBusy?: number;
}
export const CONDITIONAL_DISAGG_POLICIES = ['isl_bounding', 'prefill_load', 'isl_or_load'] as const;

/** Decode workers are chosen by the topology domains of the prefill worker: they must share them, or (`weight`) had better. Source: spec router section 7.3. */
export interface TopologySpec {
  readonly domains: readonly string[];
  /** 0 to 1; absent = required. */
  readonly weight?: number;
}

/** Policies that people compare with (`src/router`). */
export type OtherPolicy = 'power_of_two' | 'least_tokens' | 'prefix_hash' | 'cache_aware' | 'scorers' | 'oracle' | 'device_aware';

/** CPU workers that a GPU worker counts as, where nothing says otherwise. Source: spec router section 1.1. */
export const DEVICE_RATIO = 8;

/** What the oracle minimises, ms: the predicted time to this request's first token, to its end, or that and the delay of those already there. */
export type OracleGoal = (typeof ORACLE_GOALS)[number];
export const ORACLE_GOALS = ['ttft', 'e2e', 'total'] as const;

/** What policy cache_aware remembers of a worker, tokens, and how often it looks whether that is passed, ms. Source: arguments of SGLang's router (2^26 and, up to late 2025, 120 s). */
export const CACHE_AWARE_TREE_TOKENS = 67_108_864;
export const CACHE_AWARE_EVICTION_MS = 60_000;

export type ScorerName = (typeof SCORER_NAMES)[number];
export const SCORER_NAMES = ['prefix', 'queue', 'running', 'kv_usage', 'load_aware', 'active_requests', 'session'] as const;

export interface RouterSpec {
  readonly policy: 'round_robin' | 'random' | 'least_loaded' | 'direct' | 'kv' | 'module' | 'exec' | 'recorded' | OtherPolicy;
  /** Policy `module` (a file's name in `router.policy`): JavaScript or TypeScript. Paths here are absolute or relative to the current folder; a file's content counts by its SHA-256. */
  readonly module?: { readonly path: string; readonly sha256: string };
  /** Policy `exec`: program and arguments, what the files named there hold, and how long an answer may take, ms of real time. */
  readonly exec?: { readonly command: readonly string[]; readonly sha256: readonly string[]; readonly timeoutMs: number };
  /** Policy `recorded`: log of choices. */
  readonly routes?: { readonly path: string; readonly sha256: string };
  /** Policy `prefix_hash`: leading tokens that are hashed, bound on a worker's share of the requests in flight (times the mean), points of each worker on the ring. */
  readonly prefixHash?: { readonly tokens: number; readonly loadFactor: number; readonly virtualNodes: number };
  /** Policy `cache_aware`: share of the prompt that must match, and when loads are out of balance (requests; ratio); tokens it remembers of a worker, and how often it forgets what is more, ms (null = never): absent = as SGLang's router does. */
  readonly cacheAware?: { readonly cacheThreshold: number; readonly balanceAbsThreshold: number; readonly balanceRelThreshold: number; readonly maxTreeTokens?: number; readonly evictionMs?: number | null };
  /** Policy `device_aware`: how many CPU workers a GPU worker counts as. */
  readonly deviceRatio?: number;
  /** Policy `oracle`. */
  readonly oracle?: { readonly minimise: OracleGoal };
  /** Policy `scorers`: weights above 0. */
  readonly scorers?: Readonly<Partial<Record<ScorerName, number>>>;
  readonly overlapScoreCredit: number;
  readonly overlapScoreCreditDecay: number;
  readonly prefillLoadScale: number;
  readonly decodeActiveRequestWeight: number;
  readonly temperature: number;
  readonly trackActiveBlocks: boolean;
  readonly trackPrefillTokens: boolean;
  readonly assumeKvReuse: boolean;
  /** When a worker's new blocks become routable. */
  readonly indexVisible: 'pass_start' | 'pass_end';
  /** Requests wait at the router while every worker has more prompt tokens to compute than this share of a pass's token budget; absent = never. */
  readonly queue?: QueueSpec;
  /** The same with a threshold and an order for each class; then `queue` is absent. */
  readonly queueClasses?: QueueClasses;
  /** Workers above any of these get no requests; without any other worker a request is rejected. */
  readonly overload?: OverloadSpec;
  /** Sessions stay on their worker until they have been idle so long; `soft`: unless it is overloaded. Absent = every request is routed anew. */
  readonly affinity?: { readonly ttlMs: number; readonly soft: boolean; /** Sessions that one request has spawned stay together; absent = each by itself. */ readonly by?: 'sibling_group' };
  /** Absent = a KV transfer may go anywhere. Needs prefill and decode pools. */
  readonly topology?: TopologySpec;
  /** Requests that a decode worker takes whole; absent = none. Needs prefill and decode pools. */
  readonly conditionalDisagg?: ConditionalDisaggSpec;
  /** How a KV router knows what workers cache; absent = from their events, all of them and without delay. */
  readonly index?: RouterIndexSpec;
  /** What a KV router adds the parts of a cost up to; absent = their weighted sum. */
  readonly selection?: 'lmetric';
  /** A KV router counts generated blocks, too: in full, or (`fading`) ever less as the request nears its end; absent = prompt blocks only. */
  readonly outputBlocks?: 'full' | 'fading';
  /** Prompt work that a KV router counts fades as time goes by, at the pace of the pool's timing; absent = it counts in full up to the first token. */
  readonly prefillLoadModel?: 'timing';
}

/** What a KV router knows of caches (spec: router section 6). */
export type RouterIndexSpec =
  /** Events: late by `delayMs`, a share `loss` of them never; in addition its own choices for `predictedMs` (null = not). */
  | { readonly mode: 'events'; readonly delayMs: number; readonly loss: number; readonly predictedMs: number | null }
  /** Its own choices: each for `ttlMs` (null = for ever; with `cap` above `maxBlocks` on all workers together the first to be forgotten go, down to `pruneTo` of them), or as long as it thinks that the worker has room. */
  | { readonly mode: 'approximate'; readonly policy: 'ttl'; readonly ttlMs: number | null; readonly cap?: { readonly maxBlocks: number; readonly pruneTo: number } }
  | { readonly mode: 'approximate'; readonly policy: 'lru' }
  | { readonly mode: 'none' };
