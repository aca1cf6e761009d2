import type { Problem } from '../../core/problem.js';
import type { RouterSpec } from '../scenario.js';
import { JsonReader, boolean, number, oneOf, parseJsonObject } from './json-args.js';

const READ = [
  'overlap_score_credit', 'overlap_score_credit_decay', 'prefill_load_scale', 'decode_active_request_weight', 'overlap_score_weight', 'router_temperature',
  'router_track_active_blocks', 'router_track_prefill_tokens', 'router_assume_kv_reuse', 'router_track_output_blocks', 'router_prefill_load_model',
  'router_queue_threshold', 'router_queue_policy', 'shared_cache_multiplier', 'shared_cache_type', 'conditional_disagg_policy',
] as const;
/** Accepted by the reference and without effect in an offline replay. */
const WITHOUT_EFFECT = [
  'host_cache_hit_weight', 'disk_cache_hit_weight', 'use_kv_events', 'router_ttl_secs', 'router_approximate_cache_policy', 'router_predicted_ttl_secs',
  'router_policy_config', 'session_affinity_soft', 'router_event_threads', 'use_remote_indexer', 'serve_indexer', 'router_replica_sync', 'router_tracking_hash',
  'skip_initial_worker_wait',
] as const;

/** The KV router's defaults in a replay (spec router section 2.1). */
export const REPLAY_ROUTER: RouterSpec = {
  policy: 'kv',
  overlapScoreCredit: 1,
  overlapScoreCreditDecay: 0,
  prefillLoadScale: 1,
  decodeActiveRequestWeight: 0,
  temperature: 0,
  trackActiveBlocks: true,
  trackPrefillTokens: true,
  assumeKvReuse: true,
  indexVisible: 'pass_start',
};

/**
 * Parses `--router-config` of `dynamo.replay`. Throws `E-…` for unknown keys, wrong values and
 * features that are not built. Source: spec router section 2.1, compat C.
 */
export function parseRouterConfig(text: string, source: string): { readonly router: RouterSpec; readonly warnings: readonly Problem[] } {
  const reader = new JsonReader(parseJsonObject(text, source));
  reader.onlyKnown(READ, WITHOUT_EFFECT);
  for (const key of WITHOUT_EFFECT) if (reader.has(key)) reader.ignore(key, 'has no effect in a replay');
  if (reader.json.values['conditional_disagg_policy'] != null) reader.refuse('conditional_disagg_policy', 'conditional disaggregation in a replay is not supported yet', 'leave it out, or simulate a scenario with router.conditional_disagg');
  if (reader.get('router_track_output_blocks', boolean, false)) reader.refuse('router_track_output_blocks', 'tracking of output blocks is not supported yet', 'set it to false');
  if (reader.get('router_prefill_load_model', oneOf('none', 'aic'), 'none') !== 'none') reader.refuse('router_prefill_load_model', 'prefill-load estimation is not supported yet', "use 'none'");
  if (reader.get('shared_cache_type', oneOf('none', 'hicache'), 'none') !== 'none' || reader.get('shared_cache_multiplier', number(0), 0) > 0) {
    reader.refuse(reader.has('shared_cache_type') ? 'shared_cache_type' : 'shared_cache_multiplier', 'shared caches are not supported yet', 'leave it out');
  }
  const weight = reader.has('overlap_score_weight') ? reader.get('overlap_score_weight', number(0), 1) : null;
  const router: RouterSpec = {
    ...REPLAY_ROUTER,
    overlapScoreCredit: weight === 0 ? 0 : reader.get('overlap_score_credit', number(0), 1),
    overlapScoreCreditDecay: reader.get('overlap_score_credit_decay', number(0), 0),
    prefillLoadScale: weight ?? reader.get('prefill_load_scale', number(0), 1),
    decodeActiveRequestWeight: reader.get('decode_active_request_weight', number(0), 0),
    temperature: reader.get('router_temperature', number(0), 0),
    trackActiveBlocks: reader.get('router_track_active_blocks', boolean, true),
    trackPrefillTokens: reader.get('router_track_prefill_tokens', boolean, true),
    assumeKvReuse: reader.get('router_assume_kv_reuse', boolean, true),
  };
  const queue = queueOf(reader);
  reader.check();
  return { router: queue ? { ...router, queue } : router, warnings: reader.warnings };
}

/** Absent without a threshold: nothing waits then. */
function queueOf(reader: JsonReader): RouterSpec['queue'] {
  const hasThreshold = reader.json.values['router_queue_threshold'] != null;
  const policy = reader.get('router_queue_policy', oneOf('fcfs', 'wspt', 'lcfs'), 'fcfs');
  if (hasThreshold) return { policy, threshold: reader.get('router_queue_threshold', number(0), 0) };
  if (reader.has('router_queue_policy')) reader.ignore('router_queue_policy', 'has no effect without router_queue_threshold');
  return undefined;
}
