import { above, atLeast, bool, choice, count, field, LIMITS, map, quantity, ratio, type Kind, type MapKind, type Field } from './field-kinds.js';
import { FRONTEND_FIELDS } from './frontend-fields.js';
import { ROUTER_FIELDS } from './router-fields.js';
import { ATTENTION_MODES, KV_MODES, QUANT_MODES, TRACE_FORMAT_NAMES } from './scenario.js';
import { SHAPE_PATTERN } from './shape.js';
import { WORKERS_FIELD } from './worker-traits.js';

/**
 * Every field of a scenario or sweep file: its type, limits, documentation and default. Checks,
 * scalar shorthands, suggestions and the JSON Schema derive from this one table
 * (spec: scenario sections 2.2 and 3).
 */

/** Link presets, bytes per second: the lower end of published ranges (spec: kvbm section 6.3). */
export const LINK_PRESETS: Readonly<Record<string, number>> = {
  nvlink: 450e9,
  ib_rdma_gdr: 20e9,
  roce_rdma_gdr: 10e9,
  efa_libfabric_gdr: 9.6e9,
  tcp: 1e9,
};

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
  map(engineFields, { main: ['name', 'version'], later: ['prefill_interval'] }),
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
        workers: WORKERS_FIELD,
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

const scenarioFields: MapKind['fields'] = {
  name: field({ type: 'text', pattern: /^[^\s./\\\p{Cc}][^/\\\p{Cc}]{0,199}$/u, example: 'first-run' }, 'Name in reports and of the output folder', 'the file name'),
  extends: field({ type: 'texts', example: 'base.yaml' }, 'Files this one builds on, relative to it; later ones win'),
  workload: field(workload, 'What arrives'),
  deployment: field(deployment, 'What serves it'),
  router: field(ROUTER_FIELDS, 'How requests find a worker', 'round_robin'),
  frontend: field(FRONTEND_FIELDS, 'What a request passes before the router'),
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
