import { InputError } from '../core/problem.js';
import type { EngineName, RouterSpec } from '../scenario/scenario.js';
import type { EngineConfig, EngineContext, EngineCore } from './engine.js';
import type { Semantics } from './semantics.js';
import { SglangCore } from './sglang.js';
import { TrtllmCore } from './trtllm.js';
import { VllmCore } from './vllm.js';

export type EngineFactory = (config: EngineConfig, context: EngineContext) => EngineCore;

/** One engine flavour: its core, and what the rest of a simulation must know of it. */
interface Flavour {
  readonly create: EngineFactory;
  /** A handoff reserves its destination before the prompt is computed. */
  readonly reservesFirst?: boolean;
  /** What the polynomial's decode term counts, where no profile changes it (compat B1). */
  readonly decodeBy?: Semantics['decodeBy'];
  /** When its cache changes show, where no profile changes it (compat C3). */
  readonly indexVisible?: RouterSpec['indexVisible'];
}

/** One line per engine flavour. */
const ENGINES: Readonly<Partial<Record<EngineName, Flavour>>> = {
  vllm: { create: (config, context) => new VllmCore(config, context) },
  trtllm: { create: (config, context) => new TrtllmCore(config, context) },
  sglang: { create: (config, context) => new SglangCore(config, context), reservesFirst: true, decodeBy: 'tokens', indexVisible: 'pass_end' },
};

/** Throws `E-UNSUPPORTED` for a flavour that is not built. */
export function engineFlavour(name: EngineName): Flavour {
  const flavour = ENGINES[name];
  if (!flavour) throw new InputError({ code: 'E-UNSUPPORTED', path: 'deployment.engine', what: `the ${name} engine is not supported yet`, hint: "use 'vllm'" });
  return flavour;
}

/** The simulated engine of one worker. Throws `E-UNSUPPORTED` for a flavour that is not built. */
export function createEngine(config: EngineConfig, context: EngineContext): EngineCore {
  return engineFlavour(config.engine.name).create(config, context);
}
