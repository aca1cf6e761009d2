import { engineFlavour } from '../engine/registry.js';
import { semanticsOf } from '../engine/semantics.js';
import type { EngineName, Fidelity } from '../scenario/scenario.js';
import type { TimingRules } from '../timing/timing.js';

/** How a fidelity times an engine. The replay of 1.4 lets no decode step be shorter than 1 ms (spec engine section 6.2). */
export function timingRules(fidelity: Fidelity, engine: EngineName): TimingRules {
  const passes = fidelity === 'realistic' ? 'shared' : 'static';
  // The core of 0.13 prices a step at the mean length, the replay of 1.4 one token on (spec compat part 2).
  const decodeLengthOffset = fidelity === 'dynosim' ? 1 : 0;
  return { passes, decodeLengthOffset, decodeBy: engineFlavour(engine).decodeBy ?? semanticsOf(fidelity).decodeBy, leastDecodeMs: fidelity === 'dynosim' ? 1 : 0 };
}
