import { formatQuantity } from '../core/units.js';
import { conditionalDisaggData } from './resolve-conditional-disagg.js';
import { topologyData } from './resolve-topology.js';
import type { RouterSpec } from './scenario.js';

type Data = Readonly<Record<string, unknown>>;

/** The fields of a KV router but its policy, as a scenario file has them: those without effect are left out, so that it reads back equal. */
export function kvRouterData(router: RouterSpec): Data {
  return {
    ...(router.index?.mode === 'none' ? {} : { overlap_score_credit: router.overlapScoreCredit, overlap_score_credit_decay: router.overlapScoreCreditDecay }),
    ...(router.selection ? { selection: router.selection } : { prefill_load_scale: router.prefillLoadScale, decode_active_request_weight: router.decodeActiveRequestWeight }),
    // Recorded choices are not drawn.
    ...(router.routes ? {} : { temperature: router.temperature }),
    track_active_blocks: router.trackActiveBlocks,
    track_prefill_tokens: router.trackPrefillTokens,
    assume_kv_reuse: router.assumeKvReuse,
    ...(router.outputBlocks ? { track_output_blocks: true, output_decay: router.outputBlocks === 'fading' } : {}),
    ...(router.prefillLoadModel ? { prefill_load_model: router.prefillLoadModel } : {}),
    ...conditionalDisaggData(router),
    ...topologyData(router),
    index: indexData(router),
  };
}

function indexData({ index, indexVisible }: RouterSpec): Data {
  if (index === undefined) return { visible: indexVisible };
  const time = (ms: number): string => formatQuantity(ms, 'time');
  switch (index.mode) {
    case 'none':
      return { mode: index.mode };
    case 'approximate':
      return { mode: index.mode, policy: index.policy, ...(index.policy === 'ttl' ? { ttl: index.ttlMs === null ? 'none' : time(index.ttlMs), ...(index.cap ? { max_blocks: index.cap.maxBlocks, prune_to: index.cap.pruneTo } : {}) } : {}) };
    case 'events':
      return { visible: indexVisible, event_delay: time(index.delayMs), event_loss: index.loss, ...(index.predictedMs === null ? {} : { predicted_ttl: time(index.predictedMs) }) };
  }
}
