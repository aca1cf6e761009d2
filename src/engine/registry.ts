import { InputError } from '../core/problem.js';
import type { EngineName } from '../scenario/scenario.js';
import type { EngineConfig, EngineContext, EngineCore } from './engine.js';
import { TrtllmCore } from './trtllm.js';
import { VllmCore } from './vllm.js';

export type EngineFactory = (config: EngineConfig, context: EngineContext) => EngineCore;

/** One line per engine flavour. */
const ENGINES: Readonly<Partial<Record<EngineName, EngineFactory>>> = {
  vllm: (config, context) => new VllmCore(config, context),
  trtllm: (config, context) => new TrtllmCore(config, context),
};

/** The simulated engine of one worker. Throws `E-UNSUPPORTED` for a flavour that is not built. */
export function createEngine(config: EngineConfig, context: EngineContext): EngineCore {
  const create = ENGINES[config.engine.name];
  if (!create) throw new InputError({ code: 'E-UNSUPPORTED', path: 'deployment.engine', what: `the ${config.engine.name} engine is not supported yet`, hint: "use 'vllm'" });
  return create(config, context);
}
