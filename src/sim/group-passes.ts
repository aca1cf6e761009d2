import type { Worker, WorkerGroup } from './worker-pool.js';

/**
 * Starts a pass on every rank that can run; all end with the slowest. `together`: each is priced with the tokens of
 * all, which a mixture of experts computes in common. Source: spec engine section 7, accuracy section 2.
 *
 * @returns the end of the passes, ms; -1 when no rank can run
 */
export function beginRanks(ranks: readonly Worker[], nowMs: number, together: boolean): number {
  let endMs = -1;
  const running = ranks.filter(({ engine }) => {
    const end = engine.begin(nowMs, nowMs);
    endMs = Math.max(endMs, end);
    return end >= 0;
  });
  if (together && running.length > 1) {
    let prefillTokens = 0;
    let decodeRequests = 0;
    for (const { engine } of running) {
      prefillTokens += engine.shape.groupPrefillTokens;
      decodeRequests += engine.shape.groupDecodeRequests;
    }
    endMs = -1;
    for (const { engine } of running) endMs = Math.max(endMs, engine.reprice(prefillTokens, decodeRequests));
  }
  for (const { engine } of running) engine.settle(endMs);
  return endMs;
}

/**
 * Requests on the doorstep come in behind the pass that began now, or to an idle worker (`EngineSpec.admission`).
 *
 * @returns true when there were any
 */
export function letIn({ ranks }: WorkerGroup, nowMs: number): boolean {
  let came = false;
  for (const { engine, doorstep } of ranks) {
    for (const request of doorstep) engine.submit(request, nowMs, true);
    if (doorstep.length > 0) came = true;
    doorstep.length = 0;
  }
  return came;
}

/** End of what a worker has in flight, which a request may have cut short; ranks wait for the slowest. */
export function endOf({ ranks }: WorkerGroup, endMs: number): number {
  return ranks.length === 1 ? ranks[0]!.engine.nextChangeMs() : endMs;
}
