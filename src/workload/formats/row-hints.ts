import type { RequestHints, RouterOverride } from '../request-hints.js';
import type { RowFields } from './row-fields.js';

/** Fields of a row that hold hints. */
export const HINT_FIELDS: ReadonlySet<string> = new Set(['priority', 'strict_priority', 'policy_class', 'routing_constraints', 'nvext', 'router_config_override']);

/** What a row asks of routers and caches. */
export interface RowHints {
  readonly hints?: RequestHints;
  /** Seconds ahead of its time in a router's queue, and its tier there. */
  readonly priority?: number;
  readonly strictPriority?: number;
}

const MAX_WORKER = 2 ** 31 - 1;
/** Units of `ttl`, ms. */
const TTL_UNITS: Readonly<Record<string, number>> = { '': 1000, s: 1000, m: 60_000, h: 3_600_000 };
const DEFAULT_TTL_MS = 5 * 60_000;

/**
 * Reads the hints of a row: `policy_class` and `routing_constraints` as Dynamo's traces have them, `nvext` as its
 * requests carry it (its hints go before `priority` and `strict_priority` of the row), and `router_config_override`. Of `nvext` other fields are not looked at.
 * Throws `E-TRACE`, and `E-UNSUPPORTED` for prompts to be computed ahead. Source: spec router sections 2.2, 7.3 and 9, workload section 1.2, kvbm section 7.
 */
export function readRowHints(row: RowFields): RowHints {
  const nvext = row.object('nvext');
  const agent = nvext?.object('agent_hints');
  const constraints = row.object('routing_constraints');
  constraints?.onlyKnown(['required_taints', 'preferred_taints', 'allowed_worker_ids']);
  if (agent && agent.boolean('speculative_prefill') === true) throw agent.problem('speculative_prefill', 'is not simulated', 'leave it out', 'E-UNSUPPORTED');
  const name = nvext?.nameOf('decode_worker_id', 'backend_instance_id') ?? '';
  const hints: RequestHints = known({
    policyClass: row.text('policy_class'),
    requiredTaints: constraints?.items('required_taints', (list, index) => list.requiredText(index)),
    preferredTaints: constraints?.numbers('preferred_taints'),
    allowedWorkers: constraints?.items('allowed_worker_ids', (list, index) => list.requiredCount(index, 0, MAX_WORKER)),
    worker: nvext?.count(name, 0, MAX_WORKER),
    rank: nvext?.count('dp_rank'),
    prefillWorker: nvext?.count('prefill_worker_id', 0, MAX_WORKER),
    prefillRank: nvext?.count('prefill_dp_rank'),
    expectedOutputTokens: agent?.count('osl'),
    retainMs: nvext && retentionOf(nvext),
    override: overrideOf(row),
  });
  const from = (name: string): RowFields => (agent?.has(name) ? agent : row);
  return known({
    hints: Object.keys(hints).length > 0 ? hints : undefined,
    priority: from('priority').count('priority', -(2 ** 31)) ?? agent?.number('latency_sensitivity', 0),
    strictPriority: from('strict_priority').count('strict_priority', 0, 2 ** 32 - 1),
  });
}

/** The hints as fields of a row; `readRowHints` reads them back. */
export function rowHintsData({ hints = {}, priority, strictPriority }: RowHints): Record<string, unknown> {
  const { requiredTaints, preferredTaints, allowedWorkers, override, retainMs } = hints;
  const constraints = known({ required_taints: requiredTaints, preferred_taints: preferredTaints, allowed_worker_ids: allowedWorkers });
  const isWhole = Number.isInteger(priority ?? 0);
  const agent = known({ osl: hints.expectedOutputTokens, latency_sensitivity: isWhole ? undefined : priority });
  const nvext = known({
    agent_hints: filled(agent),
    backend_instance_id: hints.worker,
    dp_rank: hints.rank,
    prefill_worker_id: hints.prefillWorker,
    prefill_dp_rank: hints.prefillRank,
    cache_control: retainMs === undefined ? undefined : { type: 'ephemeral', ttl: retainMs / 1000 },
  });
  return known({
    priority: isWhole && priority !== 0 ? priority : undefined,
    strict_priority: strictPriority === 0 ? undefined : strictPriority,
    policy_class: hints.policyClass,
    routing_constraints: filled(constraints),
    nvext: filled(nvext),
    router_config_override:
      override &&
      known({
        overlap_score_credit: override.overlapScoreCredit,
        prefill_load_scale: override.prefillLoadScale,
        router_temperature: override.temperature,
        assume_kv_reuse: override.assumeKvReuse,
        track_prefill_tokens: override.trackPrefillTokens,
        shared_cache_multiplier: override.sharedCacheMultiplier,
      }),
  });
}

/** Nothing for an empty object. */
function filled(values: object): object | undefined {
  return Object.keys(values).length > 0 ? values : undefined;
}

function retentionOf(nvext: RowFields): number | undefined {
  const control = nvext.object('cache_control');
  if (!control) return undefined;
  control.onlyKnown(['type', 'ttl']);
  if (control.choice('type', ['ephemeral']) === undefined) control.missing('type');
  if (!control.has('ttl')) return DEFAULT_TTL_MS;
  const ttl = control.numberOrText('ttl');
  const [, count, unit] = /^([0-9]+)([smh]?)$/.exec(ttl) ?? [];
  if (count === undefined || Number(count) === 0) throw control.refused('ttl', 'is not a time', 'write 300, "300s", "5m" or "1h"');
  return Number(count) * TTL_UNITS[unit!]!;
}

function overrideOf(row: RowFields): RouterOverride | undefined {
  const fields = row.object('router_config_override');
  if (!fields) return undefined;
  fields.onlyKnown(['overlap_score_credit', 'prefill_load_scale', 'router_temperature', 'assume_kv_reuse', 'track_prefill_tokens', 'shared_cache_multiplier', 'overlap_score_weight']);
  const weight = fields.number('overlap_score_weight', 0);
  return known({
    overlapScoreCredit: weight === 0 ? 0 : fields.number('overlap_score_credit', 0),
    prefillLoadScale: weight ?? fields.number('prefill_load_scale', 0),
    temperature: fields.number('router_temperature', 0),
    assumeKvReuse: fields.boolean('assume_kv_reuse'),
    trackPrefillTokens: fields.boolean('track_prefill_tokens'),
    sharedCacheMultiplier: fields.number('shared_cache_multiplier', 0, 1),
  });
}

/** Without what is not there. */
function known<T extends object>(values: { [name in keyof T]: T[name] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
