import { aggregated } from '../analytic/aggregated.js';
import { InputError } from '../core/problem.js';
import { MissingOperator } from '../timing/forward-model.js';
import { createStepTimes } from '../timing/step-times.js';
import type { Case } from './case.js';
import { aggShape, caseWorker } from './case-worker.js';
import type { Simulation } from './simulation.js';

/**
 * AIConfigurator's estimate of a case: its closed form at nominal lengths, one prompt a step, over the shipped tables; nothing
 * calibrated, no drafts. Milliseconds. Source: spec perf-model section 4.1.
 */
export function closedForm(one: Case): Simulation {
  if (one.mode === 'disagg') return { refused: 'closed form of aggregated deployments only' };
  try {
    const { timing } = caseWorker(one, aggShape(one));
    const b = Math.max(1, Math.round(one.concurrency / (one.attentionDp * one.pp)));
    const { isl, osl, backend } = one;
    const { ttftMs, tpotMs } = aggregated(createStepTimes(timing.forward), { backend, b, contextTokens: isl, isl, osl, prefix: 0, layers: timing.forward.worker.model.layers, progress: 1 });
    if (!(ttftMs > 0 && tpotMs > 0 && Number.isFinite(ttftMs + tpotMs))) return { refused: 'no finite time came out' };
    return { ttftMs, tpotMs, ownTables: timing.ownTables };
  } catch (error) {
    if (error instanceof MissingOperator) return { refused: error.message };
    if (error instanceof InputError) return { refused: error.problems.map(({ what }) => what).join('; ') };
    throw error;
  }
}
