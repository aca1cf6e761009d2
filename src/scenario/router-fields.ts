import { atLeast, bool, choice, choiceOrFile, count, field, LIMITS, map, quantity, ratio } from './field-kinds.js';
import { MODULE_PATH } from './paths.js';
import { TOPOLOGY_FIELD } from './resolve-topology.js';
import { CONDITIONAL_DISAGG_POLICIES, ORACLE_GOALS } from './router-spec.js';

/** Read by policy kv only. */
export const KV_ROUTER_FIELDS = [
  'overlap_score_credit', 'overlap_score_credit_decay', 'prefill_load_scale', 'decode_active_request_weight', 'temperature',
  'track_active_blocks', 'track_prefill_tokens', 'assume_kv_reuse', 'index',
  'load_aware', 'overlap_score_weight', 'selection', 'track_output_blocks', 'output_decay', 'prefill_load_model',
] as const;

/** Fields of `router`. */
export const ROUTER_FIELDS = map(
  {
    policy: field(choiceOrFile(['round_robin', 'random', 'least_loaded', 'kv', 'power_of_two', 'least_tokens', 'prefix_hash', 'cache_aware', 'scorers', 'oracle'], [], MODULE_PATH, ['exec', 'recorded', 'direct', 'device_aware']), 'Which worker a request goes to; or the path of a JavaScript or TypeScript module that says it, relative to this file', 'round_robin'),
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
    device_ratio: field(count(1, LIMITS.requests), 'Requests in flight that a GPU worker takes for each of a CPU worker; policy device_aware', '8'),
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
        max_tree_size: field(count(1), 'Prompt tokens remembered of each worker; above it the longest unused are forgotten (SGLang counts characters, some four to a token)', '67108864'),
        eviction_interval: field(quantity('time', { positive: true, words: ['none'] }), 'Time between two looks for workers with more; none = nothing is forgotten', '60 s'),
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
          max_blocks: field({ type: 'number', rule: { integer: true, min: 1, cap: LIMITS.blocks }, words: ['none'] }, 'Blocks kept of all workers together, before the first to be forgotten go; releases of Dynamo that have this begin with 1048576, newer ones have none; approximate, policy ttl', 'none'),
          prune_to: field(ratio, 'Share of max_blocks that is kept when it is passed; approximate, policy ttl', '80%'),
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
            classes: field({ type: 'path', example: 'classes.yaml' }, "Instead of both: YAML of policy classes as Dynamo's --router-policy-config takes it, relative to this file; `policy_class` of a trace names a family or a class, uncached prompt tokens choose the bucket, and classes take turns by their quanta"),
          },
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
        by: field(choice(['session', 'sibling_group']), 'What stays together: the requests of a session, or also the sessions of an agentic trace whose first requests wait for the same ones', 'session'),
        soft: field(bool, 'A session leaves its worker rather than wait for it or be rejected', 'false'),
      }),
      'Requests of a session go to the worker of its first one',
    ),
    conditional_disagg: field(
      map(
        {
          policy: field(choice(CONDITIONAL_DISAGG_POLICIES), 'When a decode worker takes a request whole: little of its prompt is to be computed there, the prefill worker is busy, or either', 'isl_bounding'),
          isl: field(count(1, LIMITS.tokens), 'Prompt tokens that the decode worker does not cache must be fewer than this …; isl_bounding, isl_or_load', '2048'),
          ratio: field(ratio, '… and a smaller share of the prompt than this; isl_bounding, isl_or_load', '0.7'),
          prefill_busy_threshold: field(atLeast(0), "A prefill worker with more prompt tokens to compute than this share of a pass's token budget is busy; prefill_load, isl_or_load; default queue.threshold"),
          decode_busy_threshold: field(atLeast(0), "A decode worker takes no request that would bring its active blocks above this share of its blocks"),
        },
        { main: ['policy'] },
      ),
      'Requests that skip the prefill workers; with prefill and decode pools and policy kv',
      'off',
    ),
    topology: TOPOLOGY_FIELD,
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
      'front',
    ],
  },
);
