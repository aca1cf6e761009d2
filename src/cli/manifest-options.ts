import type { DgdOptions } from '../deploy/dgd.js';
import type { Environment } from '../scenario/environment.js';
import type { Scenario } from '../scenario/scenario.js';

/** What a scenario's manifest depends on in the catalogues. */
export function manifestOptions({ deployment: { model, hardware, pools } }: Scenario, environment: Environment): Pick<DgdOptions, 'gpusPerNode' | 'kvElementBytes' | 'checkpointQuant'> {
  const quant = model === null || hardware === null || pools[0] === undefined ? null : environment.quant({ model, hardware, engine: pools[0].engine.name, wish: {} });
  return {
    gpusPerNode: hardware === null ? undefined : environment.gpusPerNode(hardware),
    kvElementBytes: model === null ? undefined : environment.kvElementBytes(model),
    checkpointQuant: quant?.ok ? quant.value : undefined,
  };
}
