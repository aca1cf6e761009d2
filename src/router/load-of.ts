import { ActiveLoad, type PrefillOutlook } from './active-load.js';
import { OutputLoad } from './output-load.js';
import type { RequestSpecs } from './request-specs.js';
import type { RouterSetup } from './router.js';
import type { WorkerView } from './worker-view.js';

/** The load tracking that a router's settings, as its role and requests change them, ask for. */
export function activeLoad(setup: RouterSetup, specs: RequestSpecs): ActiveLoad {
  const { table, maxWorkers, promptTokens, view } = setup;
  const spec = specs.own;
  const countsTime = spec.trackPrefillTokens && spec.prefillLoadModel === 'timing';
  const countsOutput = spec.trackActiveBlocks && spec.outputBlocks !== undefined;
  if (!countsTime && !countsOutput) return new ActiveLoad(table, maxWorkers, specs);
  if (!view) throw new Error('invariant broken: this load needs a view of the workers');
  const prefill = countsTime ? prefillOutlook(promptTokens, view) : undefined;
  if (!countsOutput) return new ActiveLoad(table, maxWorkers, specs, prefill);
  const expected = spec.outputBlocks === 'fading' ? { expectedTokens: expectedTokens(setup, view) } : {};
  return new OutputLoad(table, maxWorkers, specs, { promptTokens, eachProgress: (worker, see) => view.eachProgress(worker, see), ...expected }, prefill);
}

/** Output tokens that each request is expected to get: those it says, else its most. Source: spec router section 4.4. */
function expectedTokens({ asked }: RouterSetup, { outputTokens }: WorkerView): Int32Array {
  const said = [...(asked?.hints ?? [])].filter(([, { expectedOutputTokens }]) => expectedOutputTokens !== undefined);
  if (said.length === 0) return outputTokens;
  const expected = outputTokens.slice();
  for (const [request, { expectedOutputTokens }] of said) expected[request] = expectedOutputTokens!;
  return expected;
}

/** One prompt in a pass of its own. */
function prefillOutlook(promptTokens: Int32Array, view: WorkerView): PrefillOutlook {
  const starts = new Float64Array(1);
  const ends = new Float64Array(1);
  return {
    now: () => view.now(),
    durationMs: (request, tokens, worker) => {
      if (tokens === 0) return 0;
      ends[0] = promptTokens[request]!;
      starts[0] = promptTokens[request]! - tokens;
      return view.promptMs(starts, ends, 1, worker);
    },
  };
}
