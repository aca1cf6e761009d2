import type { Hardware } from '../../src/timing/catalogue.js';
import { requireHardware } from '../../src/timing/catalogue.js';
import type { OperatorTimes } from '../../src/timing/operator-times.js';

/** Operator times that know nothing but what is given. */
export function onlyKnowing(known: Partial<OperatorTimes>, gpu: Hardware = requireHardware('h200_sxm')): OperatorTimes {
  const nothing = (): null => null;
  return {
    gpu, gemm: nothing, contextAttention: nothing, generationAttention: nothing, contextLatentBlock: nothing, generationLatentBlock: nothing, contextLatent: nothing,
    generationLatent: nothing, latentProjection: nothing, experts: nothing, allReduce: nothing, collective: nothing, quantize: nothing, ...known,
  };
}
