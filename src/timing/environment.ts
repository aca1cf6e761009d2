import { InputError } from '../core/problem.js';
import type { Checked, EngineDefaults, Environment, FieldProblem } from '../scenario/environment.js';
import type { Quant, TimingSpec } from '../scenario/scenario.js';
import { findHardware, findModel, gpusPerFabric, hardwareNames, modelNames, requireBackend, requireHardware, requireModel } from './catalogue.js';
import { kvTransferBytesPerToken } from './footprint.js';
import { inferQuant, resolveQuant } from './infer-quant.js';
import { searchShapes } from './legal-layouts.js';
import { fittedCoverage } from './fitted.js';
import { kvElementBytes } from './operators.js';
import { readProfile } from './profile-table.js';
import { kvBlocks } from './memory.js';

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
    hasExperts: (model) => requireModel(model).experts !== undefined,
    gpusPerFabric: (hardware) => gpusPerFabric(requireHardware(hardware)),
    gpuHourPrice: (hardware) => requireHardware(hardware).price_per_hour,
    quant: ({ model, hardware, engine, wish }) => resolveQuant(requireModel(model), requireHardware(hardware), engine, wish),
    shapes: ({ model, hardware, engine, gpus }) => searchShapes(requireModel(model), requireHardware(hardware), engine, gpus),
    gpusPerNode: (hardware) => requireHardware(hardware).gpus_per_node,
    kvElementBytes: (model) => kvElementBytes(requireModel(model).quant),
    engineDefaults,
    kvTransferBytesPerToken: (model, legacy, kv) => kvTransferBytesPerToken(requireModel(model), legacy, kv ?? (kvElementBytes(requireModel(model).quant) === 1 ? 'fp8' : 'bf16')),
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

function fittedSource({ model, hardware, engine, tp, layout, quant }: SourceQuestion): Checked<Source> {
  if (model === null || hardware === null) {
    const field = model === null ? 'model' : 'hardware';
    return { ok: false, problem: { code: 'E-MISSING', field, what: `timing needs the ${field}`, hint: `set deployment.${field}, or 'timing: polynomial'` } };
  }
  const gap = fittedGap(model, hardware, engine.name, layout?.pp ?? 1, quant);
  if (gap !== null) return { ok: false, problem: gap };
  const coverage = fittedCoverage({ model, hardware, engine: engine.name, engineVersion: engine.version, tp });
  return coverage.ok ? { ok: true, value: 'fitted' } : coverage;
}

/** What the fitted rows do not tell apart: pipeline stages, and precisions other than the checkpoint's own. */
function fittedGap(model: string, hardware: string, engine: string, pp: number, quant: Quant | undefined): FieldProblem | null {
  const hint = "remove it or set 'timing: polynomial'";
  if (pp > 1) return { code: 'E-HARDWARE', field: 'pp', what: 'no timing source covers this: pipeline stages', hint };
  if (quant === undefined) return null;
  const own = inferQuant(requireModel(model), requireHardware(hardware), engine);
  const other = (['weights', 'moe', 'attention', 'kv'] as const).find((part) => quant[part] !== own[part]);
  return other === undefined ? null : { code: 'E-HARDWARE', field: `quant.${other}`, what: `no timing source covers this: ${quant[other]} where the checkpoint runs at ${own[other]}`, hint };
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
