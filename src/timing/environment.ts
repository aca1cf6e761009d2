import type { Checked, EngineDefaults, Environment } from '../scenario/environment.js';
import { findHardware, findModel, hardwareNames, modelNames, requireBackend, requireHardware, requireModel } from './catalogue.js';
import { fittedCoverage } from './fitted.js';
import { kvElementBytes } from './operators.js';
import { kvBlocks, kvTransferBytesPerToken } from './memory.js';

type SourceQuestion = Parameters<Environment['timingSource']>[0];
type Source = 'polynomial' | 'fixed' | 'fitted';

/** What resolving a scenario asks about models, GPUs, memory and timing, answered from the catalogues. */
export function createEnvironment(): Environment {
  return {
    modelNames,
    hardwareNames,
    hasModel: (model) => findModel(model) !== null,
    hasHardware: (hardware) => findHardware(hardware) !== null,
    modelContextTokens: (model) => requireModel(model).context ?? null,
    gpusPerNode: (hardware) => requireHardware(hardware).gpus_per_node,
    kvElementBytes: (model) => kvElementBytes(requireModel(model).quant),
    engineDefaults,
    kvTransferBytesPerToken: (model, legacy) => kvTransferBytesPerToken(requireModel(model), legacy),
    kvBlocks,
    timingSource,
  };
}

function engineDefaults(engine: string): EngineDefaults {
  const { default_version, block_tokens, memory_fraction } = requireBackend(engine);
  return { version: default_version, blockTokens: block_tokens, memoryFraction: memory_fraction };
}

/** `auto`: fitted where it covers the shape; `dynosim` then falls back to its polynomial, the others to an error. */
function timingSource(question: SourceQuestion): Checked<Source> {
  const { wanted } = question;
  if (wanted === 'polynomial' || wanted === 'fixed') return { ok: true, value: wanted };
  const fitted = fittedSource(question);
  return !fitted.ok && wanted === 'auto' && question.fidelity === 'dynosim' ? { ok: true, value: 'polynomial' } : fitted;
}

function fittedSource({ model, hardware, engine, tp }: SourceQuestion): Checked<Source> {
  if (model === null || hardware === null) {
    const field = model === null ? 'model' : 'hardware';
    return { ok: false, problem: { code: 'E-MISSING', field, what: `timing needs the ${field}`, hint: `set deployment.${field}, or 'timing: polynomial'` } };
  }
  const coverage = fittedCoverage({ model, hardware, engine: engine.name, engineVersion: engine.version, tp });
  return coverage.ok ? { ok: true, value: 'fitted' } : coverage;
}
