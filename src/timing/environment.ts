import { InputError } from '../core/problem.js';
import type { Checked, EngineDefaults, Environment } from '../scenario/environment.js';
import type { TimingSpec } from '../scenario/scenario.js';
import { findHardware, findModel, hardwareNames, modelNames, requireBackend, requireHardware, requireModel } from './catalogue.js';
import { fittedCoverage } from './fitted.js';
import { kvElementBytes } from './operators.js';
import { readProfile } from './profile-table.js';
import { kvBlocks, kvTransferBytesPerToken } from './memory.js';

type SourceQuestion = Parameters<Environment['timingSource']>[0];
type Source = TimingSpec['source'];

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
  if (wanted === 'profile') return profileSource(question.path);
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

/** A profile covers whatever it is used for; what is wrong is its file. */
function profileSource(path: string | undefined): Checked<Source> {
  if (path === undefined) return { ok: false, problem: { code: 'E-MISSING', field: 'timing.path', what: 'required by source profile', hint: "add 'path: perf_data.npz'" } };
  try {
    readProfile(path);
    return { ok: true, value: 'profile' };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, file, path: array, what, hint } = error.problems[0]!;
    return { ok: false, problem: { code, field: 'timing.path', what: `${[`'${file}'`, array].filter(Boolean).join(': ')}: ${what}`, hint } };
  }
}
