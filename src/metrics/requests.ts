import type { RouterSpec } from '../scenario/scenario.js';
import type { GapStatistics, Observations, RequestColumns } from './observations.js';

/**
 * Columns for `count` requests in which nothing has happened yet: times NaN, indices and optional
 * counts -1, lengths and totals 0, status unfinished.
 *
 * @param mayRefuse routers may refuse requests
 */
export function createRequestColumns(count: number, router: Pick<RouterSpec, 'queue' | 'queueClasses' | 'conditionalDisagg'> = {}, mayRefuse = false): RequestColumns {
  const times = (): Float64Array => new Float64Array(count).fill(NaN);
  const counts = (): Int32Array => new Int32Array(count);
  const indices = (): Int32Array => new Int32Array(count).fill(-1);
  return {
    count,
    arrivalMs: times(),
    routerMs: times(),
    dispatchMs: times(),
    admitMs: times(),
    firstTokenMs: times(),
    secondTokenMs: times(),
    lastTokenMs: times(),
    endMs: times(),
    status: new Uint8Array(count),
    promptTokens: counts(),
    requestedOutputTokens: counts(),
    outputTokens: counts(),
    reusedTokens: counts(),
    firstReusedTokens: counts(),
    admissions: counts(),
    preemptions: counts(),
    prefillWorker: indices(),
    decodeWorker: indices(),
    prefillRouteOverlapTokens: indices(),
    decodeRouteOverlapTokens: indices(),
    prefillAdmitMs: times(),
    sourceHeldMs: times(),
    destinationReservedMs: times(),
    destinationActivatedMs: times(),
    decodeAdmitMs: times(),
    sourceReleasedMs: times(),
    decodeReusedTokens: indices(),
    session: indices(),
    turn: indices(),
    ...(router.queue || router.queueClasses ? { routerQueueMs: new Float64Array(count) } : {}),
    ...(mayRefuse ? { refused: new Uint8Array(count) } : {}),
    ...(router.conditionalDisagg ? { bypassed: new Uint8Array(count) } : {}),
  };
}

const NO_GAPS: GapStatistics = { count: 0, mean: 0, std: 0, min: 0, max: 0, percentile: () => 0 };

/** What was seen where nothing was simulated. */
export function noObservations(): Observations {
  return { requests: createRequestColumns(0), gaps: NO_GAPS, gapRates: NO_GAPS, pools: [], transferMs: 0, transfers: 0, endMs: 0, warnings: [] };
}
