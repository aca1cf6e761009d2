import type { Dimension, NumberRule } from '../core/units.js';
import { ATTENTION_MODES, KV_MODES, ORACLE_GOALS, QUANT_MODES, TRACE_FORMAT_NAMES } from './scenario.js';
import { MODULE_PATH } from './paths.js';
import { SHAPE_PATTERN } from './shape.js';

/**
 * Every field of a scenario or sweep file: its type, limits, documentation and default. Checks,
 * scalar shorthands, suggestions and the JSON Schema derive from this one table
 * (spec: scenario sections 2.2 and 3).
 */
export type Kind =
  | MapKind
  | { readonly type: 'quantity'; readonly dimension: Dimension; /** Named values such as presets. */ readonly words?: readonly string[]; readonly positive?: boolean; /** Also taken; its values are read with `Reader.other`. */ readonly other?: Dimension }
  | { readonly type: 'number'; readonly rule: NumberRule; readonly words?: readonly string[] }
  | { readonly type: 'boolean' }
  | { readonly type: 'enum'; readonly values: readonly string[]; /** Known to the format and not built yet. */ readonly later?: readonly string[]; /** The path of a file is taken, too: what it must look like. */ readonly file?: RegExp; /** Values that mean nothing without another field: auto leaves them out. */ readonly needing?: readonly string[] }
  | { readonly type: 'text'; readonly pattern?: RegExp; readonly example: string }
  /** Text naming a file, relative to the file it stands in. */
  | { readonly type: 'path'; readonly example: string }
  | { readonly type: 'list'; readonly of: Kind; readonly length?: number }
  /** A scalar of one kind, or a mapping. */
  | { readonly type: 'either'; readonly scalar: ScalarKind; readonly map: MapKind }
  /** One text or a list of them. */
  | { readonly type: 'texts'; readonly example: string }
  /** Read by the sweep or the gate reader itself; `takes` says what is written there. */
  | { readonly type: 'space'; readonly takes?: string };

export type ScalarKind = Exclude<Kind, { type: 'map' | 'list' | 'either' | 'space' }>;

export interface MapKind {
  readonly type: 'map';
  readonly fields: Readonly<Record<string, Field>>;
  /** A scalar stands for the mapping with this field; a second field takes what follows `@`. */
  readonly main?: readonly [string, string?];
  /** Fields of features that are not built yet. */
  readonly later?: readonly string[];
}

export interface Field {
  readonly kind: Kind;
  readonly doc: string;
  /** As shown to users; absent = required or off. */
  readonly default?: string;
}

const quantity = (dimension: Dimension, extra: { words?: readonly string[]; positive?: boolean; other?: Dimension } = {}): ScalarKind => ({ type: 'quantity', dimension, ...extra });
const count = (min = 1, cap?: number): ScalarKind => ({ type: 'number', rule: { integer: true, min, ...(cap === undefined ? {} : { cap }) } });
const atLeast = (min: number): Kind => ({ type: 'number', rule: { min } });
const above = (limit: number): Kind => ({ type: 'number', rule: { above: limit } });
const ratio: Kind = { type: 'number', rule: { min: 0, max: 1, percent: true } };
const bool: Kind = { type: 'boolean' };
const choice = (values: readonly string[], later: readonly string[] = []): Kind => ({ type: 'enum', values, later });
const choiceOrFile = (values: readonly string[], later: readonly string[], file: RegExp, needing: readonly string[]): Kind => ({ type: 'enum', values: [...values, ...needing], later, file, needing });
const map = (fields: MapKind['fields'], extra: Pick<MapKind, 'main' | 'later'> = {}): MapKind => ({ type: 'map', fields, ...extra });
const field = (kind: Kind, doc: string, fallback?: string): Field => (fallback === undefined ? { kind, doc } : { kind, doc, default: fallback });

/** Link presets, bytes per second: the lower end of published ranges (spec: kvbm section 6.3). */
export const LINK_PRESETS: Readonly<Record<string, number>> = {
  nvlink: 450e9,
  ib_rdma_gdr: 20e9,
  roce_rdma_gdr: 10e9,
  efa_libfabric_gdr: 9.6e9,
  tcp: 1e9,
};

/** Far above what exists: larger counts are slips of the pen that would fill the memory. */
export const LIMITS = { tokens: 10_000_000, requests: 10_000_000, users: 1_000_000, workers: 10_000, ranks: 1000, stages: 1000, gpus: 10_000, blocks: 20_000_000, groups: 1_000_000, trafficHours: 48 } as const;

const tokenNumber: Kind = { type: 'number', rule: { above: 0, cap: LIMITS.tokens } };
const lengths = (doc: string): Field =>
  field(
    {
      type: 'either',
      scalar: count(1, LIMITS.tokens),
      map: map(
        {
          mean: field(tokenNumber, 'Mean of a normal distribution, tokens'),
          std: field(atLeast(0), 'Its standard deviation, tokens'),
          lognormal: field(map({ median: field(tokenNumber, 'Median, tokens'), sigma: field({ type: 'number', rule: { min: 0, max: 3 } }, 'Deviation of the logarithm') }), 'Lognormal distribution'),
          uniform: field({ type: 'list', of: count(1, LIMITS.tokens), length: 2 }, 'Uniform integers between two ends, both included'),
          exponential: field(tokenNumber, 'Mean of an exponential distribution, tokens'),
          min: field(count(1, LIMITS.tokens), 'Smallest value drawn, tokens'),
          max: field(count(1, LIMITS.tokens), 'Largest value drawn, tokens'),
        },
        { later: ['values'] },
      ),
    },
    doc,
  );

const workload = map(
  {
    trace: field({ type: 'path', example: '../traces/conversation_mini.jsonl' }, 'Trace file, relative to this file'),
    synthetic: field(
      map(
        {
          isl: lengths('Prompt length in tokens: a count or a distribution'),
          osl: lengths('Output length in tokens: a count or a distribution'),
          shared_prefix: field(
            map({
              ratio: field(ratio, 'Share of each prompt that its group has in common'),
              tokens: field(count(1, LIMITS.tokens), 'Leading tokens that a group has in common'),
              groups: field(count(1, LIMITS.groups), 'Number of groups', '1'),
            }),
            'Prompt prefix shared inside a group',
          ),
          turns: field(count(1, LIMITS.requests), 'Requests of a session, one after another', '1'),
          think_time: field({ type: 'either', scalar: quantity('time'), map: map({ mean: field(quantity('time'), 'Mean of an exponential distribution') }) }, 'Wait between a turn and the next', '0 ms'),
          history: field(choice(['cumulative', 'fresh']), 'Prompt of a later turn: the session so far and isl new tokens, or isl tokens alone', 'cumulative; fresh for dynosim and aisimulate'),
        },
        { later: ['media'] },
      ),
      'Requests drawn from distributions',
    ),
    generate: field(
      map(
        {
          like: field(choice(['conversation', 'document_qa', 'tool_agent']), 'Public trace to resemble'),
          duration: field(quantity('time', { positive: true }), 'Length of the generated trace', '59 min'),
          scale: field(above(0), 'Multiplies the arrival rate', '1'),
        },
        { main: ['like'] },
      ),
      'Requests drawn to resemble a public trace',
    ),
    format: field(choice(['auto', ...TRACE_FORMAT_NAMES]), 'Trace format; auto looks at the first rows, mooncake-delta must be named', 'auto'),
    block_size: field(count(1, LIMITS.tokens), 'Tokens per hash id of the trace', 'what the trace says, else 512; 16 for bailian'),
    nested_timestamps: field(choice(['auto', 'relative', 'absolute']), 'Times inside a sub-agent of a weka trace: counted from its own start (relative) or from the play (absolute); auto looks at them', 'auto'),
    load: field(
      map(
        {
          concurrency: field(count(1, LIMITS.users), 'Closed loop: sessions in flight'),
          rate: field(quantity('request rate', { positive: true, other: 'session rate' }), 'Open loop: mean arrival rate (synthetic); sessions/s where they have several turns'),
          speedup: field(above(0), "Open loop: the trace's timestamps divided by this", '1 for trace and generate'),
          lanes: field(count(1, LIMITS.users), 'Agentic traces: plays at a time, at most', 'no limit'),
          arrivals: field(choice(['poisson', 'constant', 'gamma', 'burst']), 'How arrivals are drawn, with rate', 'poisson'),
          smoothness: field(above(0), 'Shape of gamma arrivals (squared variation 1/shape)', '1'),
          seed: field(count(0), 'Seed of the arrivals', 'run.seed'),
        },
        { later: ['kv_fraction', 'profile'] },
      ),
      'How requests arrive',
    ),
    requests: field(count(1, LIMITS.requests), 'Use the first N requests', 'all of a trace'),
    sessions: field(count(1, LIMITS.requests), 'Synthetic sessions, where they have several turns'),
    rounds: field(count(1, LIMITS.requests), 'Synthetic requests (sessions, with turns) per unit of load', '10'),
  },
  { later: ['trace_shared_prefix', 'client'] },
);

/** Read by SGLang only. */
export const SGLANG_FIELDS = ['schedule_policy', 'max_prefill_tokens', 'chunked_prefill_size', 'clip_max_new_tokens', 'schedule_conservativeness', 'decode_interval', 'receive_interval'] as const;

const engineFields: MapKind['fields'] = {
  name: field(choice(['vllm', 'sglang', 'trtllm']), 'Engine', 'vllm'),
  version: field({ type: 'text', pattern: /^\d+\.\d+(\.\w+)*$/, example: '0.24.0' }, 'Engine version', 'the newest with timing data'),
  block_size: field(count(1, LIMITS.tokens), 'Tokens per KV block; at least 2 but for sglang', '64 for vllm, 1 for sglang, 32 for trtllm'),
  max_num_seqs: field(count(1, LIMITS.tokens), 'Requests running at once, at most', '256'),
  max_num_batched_tokens: field(count(1, LIMITS.tokens), 'Token budget of a pass; not sglang', '8192'),
  prefix_caching: field(bool, 'Reuse the KV blocks of equal prefixes', 'true'),
  chunked_prefill: field(bool, 'Split long prompts over passes; sglang always does', 'true'),
  context_length: field({ type: 'number', rule: { integer: true, min: 1, cap: LIMITS.tokens }, words: ['max'] }, "Longest prompt and output together, tokens; max = the model's", 'max'),
  memory_fraction: field({ type: 'number', rule: { above: 0, max: 1, percent: true } }, 'Share of GPU memory the engine may use; trtllm: of what the model leaves', '0.9; 0.88 for sglang'),
  preemption: field(choice(['lifo', 'fifo']), 'Which request gives way when KV blocks run out; vllm', 'lifo'),
  schedule_policy: field(choice(['fifo', 'lpm']), 'Order of the queue: arrival, or longest cached prefix first; sglang', 'fifo'),
  max_prefill_tokens: field(count(1, LIMITS.tokens), 'Prompt tokens of one prefill batch; sglang', '16384'),
  chunked_prefill_size: field(count(1, LIMITS.tokens), 'Tokens of one prompt chunk, a multiple of block_size; sglang', '8192'),
  clip_max_new_tokens: field(count(1, LIMITS.tokens), 'Output tokens set aside per request, at most; sglang', '4096'),
  schedule_conservativeness: field({ type: 'number', rule: { min: 0, max: 1 } }, 'Share of that output which admission counts; sglang', '1'),
  decode_interval: field(count(0, LIMITS.tokens), 'Decode passes between two prefill batches; sglang', '0'),
  admission: field(choice(['same_pass', 'next_pass']), 'A new request meets the next pass, or the one after it where schedules are made a pass ahead; agg, realistic', 'same_pass'),
  receive_interval: field(count(1, LIMITS.tokens), 'Decode passes from one look at new requests to the next; sglang, agg, realistic', '1'),
};
const engine = field(
  map(engineFields, {
    main: ['name', 'version'],
    later: ['prefill_interval'],
  }),
  'Engine and its settings; sglang or vllm@0.24.0 for short',
  'vllm',
);
const kv = field(
  map(
    {
      blocks: field({ type: 'number', rule: { integer: true, min: 1, cap: LIMITS.blocks }, words: ['auto'] }, 'KV blocks per worker, or per data-parallel rank; auto = what memory leaves', 'auto'),
      eviction: field(choice(['lru', 'lineage'], ['multi_lru']), 'Which cached block goes first: the oldest, or the oldest leaf with one copy per content; not sglang', 'lru'),
      reserve: field(quantity('size'), 'GPU memory kept free of KV blocks', '0 B'),
    },
    { later: ['bytes_per_token', 'tiers', 'offload', 'retention'] },
  ),
  'KV cache',
);
const startup = field(
  { type: 'either', scalar: quantity('time', { words: ['cold', 'snapshot'] }), map: map({}, { later: ['schedule', 'image', 'weights', 'init'] }) },
  'Time from the order of a worker to its readiness; no effect while nothing orders workers',
  '0 ms',
);
const quant = field(
  map(
    {
      weights: field(choice(['auto', ...QUANT_MODES]), 'Linear layers, and the experts where moe is not set', 'auto'),
      moe: field(choice(['auto', ...QUANT_MODES]), 'Experts', 'auto'),
      attention: field(choice(['auto', ...ATTENTION_MODES]), 'Arithmetic of the prompt attention', 'auto'),
      kv: field(choice(['auto', ...KV_MODES]), 'KV cache', 'auto'),
    },
    { main: ['weights'], later: ['comm'] },
  ),
  "Precision of the model's parts; auto = the checkpoint's own, as the engine runs it",
  'auto',
);
const pool = (doc: string): Field =>
  field(
    map(
      {
        replicas: field(count(1, LIMITS.workers), 'Workers', '1'),
        tp: field(count(), 'Tensor-parallel GPUs per worker', '1'),
        dp: field(count(1, LIMITS.ranks), 'Data-parallel ranks per worker, each with tp GPUs and KV blocks of its own', '1'),
        pp: field(count(1, LIMITS.stages), 'Pipeline stages per worker, each with tp GPUs of every rank', '1'),
        moe_tp: field(count(1, LIMITS.gpus), 'GPUs that split each expert; moe_tp · moe_ep = tp · dp', 'tp; 1 with dp'),
        moe_ep: field(count(1, LIMITS.gpus), 'Groups of GPUs that hold different experts', '1; tp · dp with dp'),
        shape: field({ type: 'text', pattern: SHAPE_PATTERN, example: 'tp4' }, 'tp4, tp4pp2, tp4dp2, tep8 (tp 8, experts over 8) or dep16 (dp 16, experts over 16) for short'),
        engine,
        kv,
        quant,
        startup,
      },
      { later: ['cp', 'hardware', 'timing'] },
    ),
    doc,
  );

const deployment = map(
  {
    model: field({ type: 'text', example: 'Qwen/Qwen3-32B' }, 'Hugging Face name, or path of a config.json'),
    hardware: field({ type: 'text', example: 'h200_sxm' }, 'GPU'),
    engine,
    kv,
    quant,
    speculative: field(
      map({
        method: field(choice(['mtp'], ['ngram']), 'How drafts are made', 'mtp'),
        tokens: field({ type: 'number', rule: { integer: true, min: 1, max: 5 } }, 'Draft tokens per pass'),
        accept: field({ type: 'list', of: ratio }, 'Probability that each draft is accepted after those before it; missing ones are 0', '[0.85, 0.3]'),
      }),
      'Speculative decoding',
    ),
    agg: pool('Workers that do prefill and decode'),
    prefill: pool('Workers that only prefill; with decode'),
    decode: pool('Workers that only decode; with prefill'),
    kv_transfer: field(
      map({
        bandwidth: field(quantity('bandwidth', { words: ['none', ...Object.keys(LINK_PRESETS)] }), 'Link of a worker (or rank) between prefill and decode, or a preset; none = instant', '64 GB/s'),
        latency: field(quantity('time'), 'Added to every transfer', '0 ms'),
        charge: field(choice(['missing', 'full']), 'Tokens sent: those the decode worker lacks, or the whole prompt', 'missing'),
        contention: field(choice(['none', 'fair']), "Whether simultaneous transfers share a worker's link", 'fair'),
        bytes_per_token: field(quantity('size', { words: ['auto'] }), "KV bytes per token; auto = the model's", 'auto'),
        bytes_per_request: field(quantity('size'), 'Constant bytes per request', '0 B'),
      }),
      'KV transfer from prefill to decode workers',
    ),
    startup,
  },
);

/** Read by policy kv only. */
export const KV_ROUTER_FIELDS = [
  'overlap_score_credit', 'overlap_score_credit_decay', 'prefill_load_scale', 'decode_active_request_weight', 'temperature',
  'track_active_blocks', 'track_prefill_tokens', 'assume_kv_reuse', 'index',
  'load_aware', 'overlap_score_weight', 'selection', 'track_output_blocks', 'output_decay', 'prefill_load_model',
] as const;

const router = map(
  {
    policy: field(choiceOrFile(['round_robin', 'random', 'least_loaded', 'kv', 'power_of_two', 'least_tokens', 'prefix_hash', 'cache_aware', 'scorers', 'oracle'], ['device_aware', 'direct'], MODULE_PATH, ['exec', 'recorded']), 'Which worker a request goes to; or the path of a JavaScript or TypeScript module that says it, relative to this file', 'round_robin'),
    overlap_score_credit: field(atLeast(0), 'Weight of cached prefix blocks', '1'),
    overlap_score_credit_decay: field(atLeast(0), 'How fast the credit fades with the backlog', '0'),
    prefill_load_scale: field(atLeast(0), 'Weight of prompt work', '1'),
    decode_active_request_weight: field(atLeast(0), 'Blocks counted per active request', '0'),
    temperature: field(atLeast(0), 'Softmax temperature; 0 = the cheapest worker', '0'),
    track_active_blocks: field(bool, 'Count blocks of running requests', 'true'),
    track_prefill_tokens: field(bool, 'Count prompt tokens still to compute', 'true'),
    assume_kv_reuse: field(bool, 'Equal blocks of running requests count once', 'true'),
    exec: field({ type: 'list', of: { type: 'text', example: './router.py' } }, 'Policy exec: a program and its arguments, which answers JSON lines; words that begin with ./ or ../ are paths relative to this file'),
    timeout: field(quantity('time', { positive: true }), 'Policy exec: real time it may take to answer', '5 s'),
    routes: field({ type: 'path', example: 'routes.json' }, 'Policy recorded: log of choices to follow, {columns: [line, decision, worker, dp_rank, cost], rows}, relative to this file'),
    prefix_hash: field(
      map({
        tokens: field(count(1, LIMITS.tokens), 'Leading prompt tokens that are hashed, in whole blocks', '256'),
        load_factor: field(atLeast(1), 'Requests in flight of a worker, at most, as a multiple of the mean', '1.25'),
        virtual_nodes: field(count(1, 10_000), 'Points of each worker on the ring', '160'),
      }),
      'Consistent hashing of the beginning of prompts, with bounded loads; with policy prefix_hash',
    ),
    cache_aware: field(
      map({
        cache_threshold: field(ratio, 'Share of the prompt that must have been sent to a worker before; else the one that was sent least', '0.3'),
        balance_abs_threshold: field(count(0), 'Out of balance: requests in flight differ by more than this …', '64'),
        balance_rel_threshold: field(atLeast(0), '… and the most are more than so many times the fewest; then the least loaded', '1.5'),
      }),
      "SGLang's cache-aware policy; with policy cache_aware",
    ),
    scorers: field(
      map({
        prefix: field(atLeast(0), 'Weight of the share of the prompt that is cached'),
        queue: field(atLeast(0), 'Weight of few waiting requests, from the most (0) to the fewest (1)'),
        running: field(atLeast(0), 'Weight of few running requests, likewise'),
        kv_usage: field(atLeast(0), 'Weight of the share of KV blocks not in use'),
        load_aware: field(atLeast(0), 'Weight of an empty queue (0.5), falling to 0 at 128 waiting requests'),
        active_requests: field(atLeast(0), 'Weight of few requests in flight, from the most (0) to none (1)'),
        session: field(atLeast(0), "Weight of the worker of the session's last request"),
      }),
      "Weighted scorers in the manner of llm-d; those left out count nothing; with policy scorers",
      '{prefix: 3, queue: 2, kv_usage: 2}',
    ),
    oracle: field(map({ minimise: field(choice(ORACLE_GOALS), "Predicted time to a request's first token, to its end, or that and the delay of those already there", 'ttft') }), 'Policy oracle: knows caches, remaining work and output lengths'),
    index: field(
      map(
        {
          mode: field(choice(['events', 'approximate', 'none']), "What it is made of: the workers' cache events, the router's own choices, or nothing", 'events'),
          visible: field(choice(['pass_start', 'pass_end']), "When a pass's new blocks become routable; events", 'pass_end'),
          event_delay: field(quantity('time'), 'Time an event takes to the router; events', '0 ms'),
          event_loss: field(ratio, 'Share of the events that never arrive; events', '0'),
          predicted_ttl: field(quantity('time', { positive: true }), "Time for which the router's own choices count as cached beside the events; events", 'off'),
          policy: field(choice(['ttl', 'lru']), 'What is forgotten: each choice after a time, or the longest unused when a worker is full; approximate', 'ttl'),
          ttl: field(quantity('time', { words: ['none'] }), 'Time after which a choice is forgotten, from the last one on; none = never; approximate', '120 s'),
        },
        { main: ['mode'] },
      ),
      'Index of the blocks each worker holds',
    ),
    queue: field(
      {
        type: 'either',
        scalar: { type: 'enum', values: ['off'] },
        map: map(
          {
            threshold: field(atLeast(0), "Share of a pass's token budget; requests wait while every worker has more prompt tokens to compute"),
            policy: field(choice(['fcfs', 'wspt', 'lcfs']), 'Who goes first, after strict_priority: the earliest (priority counts as seconds), the shortest uncached prompt (weighted by 1 + priority), or the latest', 'fcfs'),
          },
          { later: ['classes'] },
        ),
      },
      'Requests wait at a kv router while its workers have enough to compute; `priority` and `strict_priority` of a trace order them',
      'off',
    ),
    overload: field(
      map({
        decode_blocks: field(ratio, "Share of a worker's blocks in use"),
        prefill_tokens: field(count(0), 'Prompt tokens still to compute'),
        prefill_fraction: field(atLeast(0), "The same as a share of a pass's token budget"),
      }),
      'Workers above any of these limits get no request; a request is rejected when all are',
    ),
    affinity: field(
      map({
        ttl: field(quantity('time', { positive: true }), 'Idle time after which a session is free again'),
        by: field(choice(['session'], ['sibling_group']), 'What stays together', 'session'),
        soft: field(bool, 'A session leaves its worker rather than wait for it or be rejected', 'false'),
      }),
      'Requests of a session go to the worker of its first one',
    ),
    load_aware: field(bool, 'Policy kv that looks at loads alone: index none, nothing shared between running requests', 'false'),
    overlap_score_weight: field(atLeast(0), 'Older name of prefill_load_scale; 0 = no credit either'),
    selection: field(choice(['cost', 'lmetric']), 'Weighted sum of prompt work and load, or prompt work times (load + 1)', 'cost'),
    track_output_blocks: field(bool, 'Count blocks of generated tokens', 'false'),
    output_decay: field(bool, 'Blocks of a running request fade as its output nears its length; with track_output_blocks', 'true'),
    prefill_load_model: field(choice(['none', 'timing']), "Prompt tokens still to compute count in full up to the first token, or fade at the pace of the pool's timing", 'none'),
  },
  {
    main: ['policy'],
    later: [
      'host_cache_hit_weight', 'disk_cache_hit_weight', 'shared_cache_multiplier',
      'conditional_disagg', 'topology', 'front',
    ],
  },
);

const scenarioFields: MapKind['fields'] = {
  name: field({ type: 'text', pattern: /^[^\s./\\\p{Cc}][^/\\\p{Cc}]{0,199}$/u, example: 'first-run' }, 'Name in reports and of the output folder', 'the file name'),
  extends: field({ type: 'texts', example: 'base.yaml' }, 'Files this one builds on, relative to it; later ones win'),
  workload: field(workload, 'What arrives'),
  deployment: field(deployment, 'What serves it'),
  router: field(router, 'How requests find a worker', 'round_robin'),
  frontend: field(
    map(
      {
        preprocess: field(
          {
            type: 'either',
            scalar: quantity('time'),
            map: map({
              base: field(quantity('time'), 'Time per request', '0 ms'),
              rate: field(quantity('token rate', { positive: true }), 'Prompt tokens a core gets through', 'no limit'),
              cores: field(count(1, LIMITS.workers), 'Cores, each with one request at a time', '1'),
            }),
          },
          'Tokenisation and parsing, in order of arrival: a burst queues here',
          '0 ms',
        ),
        dispatch: field(quantity('time'), 'Hop to the router, the same for every request', '0 ms'),
      },
      { later: ['migration', 'detection', 'cancel', 'deadlines', 'retries', 'drain', 'admission', 'replicas', 'sync', 'route', 'gateway'] },
    ),
    'What a request passes before the router',
  ),
  timing: field(
    map(
      {
        source: field(choice(['auto', 'tables', 'measured', 'fitted', 'roofline', 'polynomial', 'fixed', 'profile']), 'Forward-pass times', 'auto'),
        path: field({ type: 'path', example: 'perf_data.npz' }, 'Planner profile (.npz, or a folder of the profiler), folder of operator tables, or folder of a measured profile, relative to this file; with profile, tables or measured'),
        prefill: field(quantity('time'), 'Duration of prefill work, with fixed'),
        decode: field(quantity('time'), 'Duration of a decode step, with fixed'),
        overhead: field(quantity('time', { words: ['calibrated'] }), "Host time of every pass, with tables, roofline or measured; calibrated = what measured serving shows beyond the kernels (tables, realistic), or the profile's own (measured)", 'calibrated'),
        miss: field(choice(['error', 'estimate']), 'Where tables lack an operator, or a pass lies more than twice beyond what was measured: an error, or an estimate', 'error with path or measured, else estimate'),
        allow: field({ type: 'list', of: choice(['engine', 'host', 'synthetic']) }, 'Measured profiles taken all the same: of another engine, its host times too, of no GPU', '[]'),
        speedup: field(atLeast(0), 'Divides every pass time; 0 = 1', '1'),
        decode_speedup: field(atLeast(0), 'Divides decode time as well; 0 = 1', '1'),
      },
      { main: ['source'] },
    ),
    'Where forward-pass times come from',
    'auto',
  ),
  slo: field(
    map({
      ttft: field(quantity('time', { positive: true }), 'Bound on the time to the first token'),
      itl: field(quantity('time', { positive: true }), "Bound on a request's mean gap between tokens"),
      e2e: field(quantity('time', { positive: true }), 'Bound on the whole request; excludes the others'),
      at: field(choice(['mean', 'p50', 'p75', 'p90', 'p95', 'p99', 'max']), 'Figure that must meet the bounds', 'p99'),
    }),
    'Service-level objective',
  ),
  cost: field(
    map({ gpu_hour: field(quantity('price', { words: ['default'] }), "Price of one GPU for one hour; default = the catalogue's figure for the hardware ('dynotwin explain presets')") }, { main: ['gpu_hour'], later: ['spot_discount', 'reserved_hour', 'power'] }),
    'Prices; without them there are no money metrics',
  ),
  run: field(
    map(
      {
        seed: field(count(0), 'Seed of every random draw', '42'),
        fidelity: field(choice(['realistic', 'dynosim', 'aisimulate']), 'Defaults of unset fields and engine rules', 'realistic'),
        max_time: field(quantity('time', { positive: true }), 'Virtual time at which everything stops'),
        capture: field({ type: 'list', of: choice(['requests', 'timeline'], ['events', 'passes', 'kv_events']) }, 'Tables to keep', '[]'),
        estimator: field(choice(['simulate', 'analytic']), 'Simulate, or answer by closed forms: means only, for synthetic loads of constant concurrency', 'simulate'),
      },
      { later: ['faults'] },
    ),
    'How to simulate',
  ),
  report: field(
    map(
      {
        warmup: field(count(0, LIMITS.requests), 'First N requests of the workload: served and counted, in no latency', '0'),
        interval: field(quantity('time', { positive: true }), 'Width of a timeline bucket', '10 s'),
        formats: field({ type: 'list', of: choice(['json', 'csv', 'jsonl', 'html', 'aiperf'], ['parquet', 'perfetto']) }, 'Files to write', '[json]'),
        uncertainty: field(bool, "Spread of mean latencies and throughput by the timing's own uncertainty", 'false'),
      },
      { later: ['percentiles', 'metrics'] },
    ),
    'What to write',
  ),
};

const laterBlocks = ['planner', 'cluster', 'rollout', 'media', 'lora', 'models'];

export const SCENARIO_FIELDS: MapKind = map(scenarioFields, { later: laterBlocks });

/** Keys that make a sweep of a scenario. */
export const SWEEP_KEYS = ['space', 'objectives', 'constraints', 'search', 'top'] as const;

export const TOPOLOGY_FIELDS: MapKind = map({
  modes: field({ type: 'list', of: choice(['agg', 'disagg']) }, 'Kinds of deployment', '[agg, disagg]'),
  gpus: field(count(1, LIMITS.gpus), 'GPUs to lay out, at most'),
  shapes: field({ type: 'space' }, 'Shapes of workers such as [tp1, tep8], or {prefill, decode} lists; auto = every one that the model and the engine allow', 'auto'),
  fill: field(choice(['max', 'any']), 'max drops layouts with room for another worker', 'max'),
});

export const SWEEP_FIELDS: MapKind = map(
  {
    ...scenarioFields,
    space: field({ type: 'space' }, 'Dimensions: a field path with a list or a range, topology, branches'),
    objectives: field({ type: 'list', of: { type: 'text', example: 'max tok_s_per_gpu' } }, 'What is better: max METRIC or min METRIC', '[max tok_s_per_gpu]'),
    constraints: field({ type: 'list', of: { type: 'text', example: 'ttft_ms.p99 <= 2 s' } }, 'What must hold', '[slo] if slo is set'),
    search: field(
      map(
        { method: field(choice(['grid'], ['random', 'halving', 'bayes', 'evolve']), 'How to search', 'grid'), trials: field(count(), 'Combinations at most', '10000') },
        { main: ['method'], later: ['seed', 'timeout', 'keep', 'rungs', 'refine'] },
      ),
      'Search method',
      'grid',
    ),
    top: field(count(), 'Recommendations', '5'),
  },
  { later: laterBlocks },
);

/** Metrics of a baseline whose gate names none. */
export const GATE_METRICS = ['e2e_ms.mean', 'failed', 'output_tok_s', 'prefix_hit_ratio', 'rejected', 'tpot_ms.mean', 'ttft_ms.mean', 'ttft_ms.p90', 'unfinished'] as const;

const expressions = (example: string): Kind => ({ type: 'list', of: { type: 'text', example } });

/** A gate file: a scenario, the cases that differ from it and what they are held to. */
export const GATE_FIELDS: MapKind = map(
  {
    ...scenarioFields,
    gate: field(
      map({
        cases: field({ type: 'space', takes: 'a mapping of case names to {PATH: value}' }, 'What runs: each case is the scenario with the fields it names'),
        checks: field(expressions('kv.ttft_ms.mean <= 0.8 * rr.ttft_ms.mean'), 'What must hold, over CASE.METRIC; of the mean over repeats', '[]'),
        baseline: field({ type: 'path', example: 'baselines/router.json' }, "Figures no case may be worse than; written by 'dynotwin regress --update', relative to this file"),
        metrics: field(expressions('ttft_ms.p90'), 'What the baseline holds: METRIC, or max METRIC or min METRIC for another direction; hash demands identical reports', GATE_METRICS.join(', ')),
        tolerance: field({ type: 'space', takes: 'a percentage, or a mapping of metrics (and default) to percentages' }, 'How much worse than the baseline a metric may be', '0%'),
        repeats: field(count(1, 1000), 'Seeds per case, from run.seed on; with three or more a change within the noise over seeds is no regression', '1'),
        sources: field({ type: 'texts', example: '../src/router' }, 'Further files and folders that regress --changed counts as part of the gate'),
      }),
      'What a change may not make worse',
    ),
  },
  { later: laterBlocks },
);

/** The kind of the field at a dotted path, or undefined when there is none. */
export function kindAt(path: readonly string[], root: MapKind = SCENARIO_FIELDS): Kind | undefined {
  let kind: Kind | undefined = root;
  for (const name of path) {
    const fields: MapKind | undefined = kind?.type === 'map' ? kind : kind?.type === 'either' ? kind.map : undefined;
    kind = fields && Object.hasOwn(fields.fields, name) ? fields.fields[name]!.kind : undefined;
  }
  return kind;
}
