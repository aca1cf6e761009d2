import type { RouterSpec } from '../scenario/scenario.js';
import { atLeast, type DynamoVersion } from './dynamo.js';
import { FrontendFlags, type TooOld } from './frontend-flags.js';

/** Longer than anything runs, s. */
const FOR_EVER = '1000000000';

/**
 * Frontend flags for what a KV router knows of caches and counts as load, where that is not the default (spec: router
 * sections 2.1, 2.2). Delays and losses of events are the cluster's own. `tooOld` words what a release cannot be given.
 */
export function kvRouterFlags({ index, outputBlocks, prefillLoadModel, selection }: RouterSpec, version: DynamoVersion, tooOld: TooOld): Pick<FrontendFlags, 'args' | 'problems'> {
  const flags = new FrontendFlags(version, tooOld);
  const { args, problems } = flags;
  if (index !== undefined && index.mode !== 'events') args.push(atLeast(version, '1.0') ? '--no-router-kv-events' : '--no-kv-events');
  if (index?.mode === 'approximate' && index.policy === 'ttl') flags.add('router.index.ttl', 'a time to live', '1.0', ['--router-ttl-secs', index.ttlMs === null ? FOR_EVER : String(index.ttlMs / 1000)]);
  if (index?.mode === 'approximate' && index.policy === 'lru') flags.add('router.index.policy', 'policy lru', '1.4', ['--router-approximate-cache-policy', 'lru']);
  if (index?.mode === 'events' && index.predictedMs !== null) flags.add('router.index.predicted_ttl', 'predictions', '1.2', ['--router-predicted-ttl-secs', String(index.predictedMs / 1000)]);
  if (outputBlocks !== undefined) flags.add('router.track_output_blocks', 'output blocks', '1.2', ['--router-track-output-blocks']);
  if (outputBlocks === 'fading') problems.push({ code: 'W-COMPAT', path: 'router.output_decay', what: 'blocks fade only for requests whose agent hints tell their output length (osl)' });
  const unsupported = (path: string, what: string, hint: string): void => void problems.push({ code: 'E-UNSUPPORTED', path, what, hint });
  if (index?.mode === 'approximate' && index.policy === 'ttl' && index.cap) unsupported('router.index.max_blocks', 'the newest releases keep no such bound, and which older ones take one is not known', 'deploy with max_blocks: none');
  if (prefillLoadModel !== undefined) unsupported('router.prefill_load_model', 'no manifest carries the performance model of a frontend', 'deploy with prefill_load_model: none');
  if (selection !== undefined) unsupported('router.selection', `the flag that selects ${selection} is not known`, 'deploy with selection: cost');
  return flags;
}
