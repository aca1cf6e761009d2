import type { RouterSpec } from '../scenario/scenario.js';
import { ActiveLoad, type PrefillOutlook } from './active-load.js';
import { OutputLoad } from './output-load.js';
import type { RouterSetup } from './router.js';
import type { WorkerView } from './worker-view.js';

/** The load tracking that a router's settings, as its role changes them, ask for. */
export function activeLoad(setup: RouterSetup, spec: RouterSpec): ActiveLoad {
  const { table, maxWorkers, promptTokens, view } = setup;
  const countsTime = spec.trackPrefillTokens && spec.prefillLoadModel === 'timing';
  const countsOutput = spec.trackActiveBlocks && spec.outputBlocks !== undefined;
  if (!countsTime && !countsOutput) return new ActiveLoad(table, maxWorkers, spec);
  if (!view) throw new Error('invariant broken: this load needs a view of the workers');
  const prefill = countsTime ? prefillOutlook(promptTokens, view) : undefined;
  if (!countsOutput) return new ActiveLoad(table, maxWorkers, spec, prefill);
  const expected = spec.outputBlocks === 'fading' ? { expectedTokens: view.outputTokens } : {};
  return new OutputLoad(table, maxWorkers, spec, { promptTokens, eachProgress: (worker, see) => view.eachProgress(worker, see), ...expected }, prefill);
}

/** One prompt in a pass of its own. */
function prefillOutlook(promptTokens: Int32Array, view: WorkerView): PrefillOutlook {
  const starts = new Float64Array(1);
  const ends = new Float64Array(1);
  return {
    now: () => view.now(),
    durationMs: (request, tokens) => {
      if (tokens === 0) return 0;
      ends[0] = promptTokens[request]!;
      starts[0] = promptTokens[request]! - tokens;
      return view.promptMs(starts, ends, 1);
    },
  };
}
