import type { RouterSpec } from '../scenario/scenario.js';
export const DEFAULT_ROUTER: RouterSpec = { policy: 'round_robin', overlapScoreCredit: 1, overlapScoreCreditDecay: 0, prefillLoadScale: 1, decodeActiveRequestWeight: 0, temperature: 0, trackActiveBlocks: true, trackPrefillTokens: true, assumeKvReuse: true, indexVisible: 'pass_end' };
