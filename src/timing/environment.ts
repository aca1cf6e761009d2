import { InputError } from '../core/problem.js';
import type { Checked, EngineDefaults, Environment, FieldProblem } from '../scenario/environment.js';
import type { Quant, TimingSpec } from '../scenario/scenario.js';
import { findHardware, findModel, gpusPerFabric, hardwareNames, modelNames, requireBackend, requireHardware, requireModel } from './catalogue.js';
import { kvTransferBytesPerToken } from './footprint.js';
import { inferQuant, resolveQuant } from './infer-quant.js';
import type { Layout } from './layout.js';
import { searchShapes } from './legal-layouts.js';
import { measuredTiming } from './measured/measured.js';
import { findProfile } from './measured/profiles.js';
import { fittedCoverage } from './fitted.js';
import { kvElementBytes } from './operators.js';
import { readProfile } from './profile-table.js';
import { kvBlocks } from './memory.js';
import { hasShippedTables, tablesFolder } from './operator-sources.js';
import { createTiming, measuredQuestion } from './registry.js';

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

/**
 * `auto`: the first of a measured profile of this engine, tables, a measured profile whose kernels stand in, fitted and roofline that covers
 * the shape; `dynosim` falls back to its polynomial.
 */
function timingSource(question: SourceQuestion): Checked<Source> {
  const { wanted, fidelity } = question;
  switch (wanted) {
    case 'polynomial':
    case 'fixed':
      return { ok: true, value: wanted };
    case 'profile':
      return profileSource(question.path);
    case 'fitted':
      return fittedSource(question);
    case 'tables':
    case 'roofline':
      return operatorSource(wanted, question);
    case 'measured':
      return measuredSource(question);
    case 'auto': {
      if (fidelity === 'realistic' && !question.closedForms && hasProfile(question, false)) return { ok: true, value: 'measured' };
      const tables = operatorSource('tables', question);
      if (tables.ok) return tables;
      if (fidelity === 'dynosim') return { ok: true, value: 'polynomial' };
      if (fidelity === 'realistic' && !question.closedForms && hasProfile(question, true)) return { ok: true, value: 'measured' };
      const fitted = fittedSource(question);
      if (fitted.ok) return fitted;
      const roofline = operatorSource('roofline', question);
      return roofline.ok ? roofline : tables;
    }
  }
}

/** True where a profile that ships serves the shape: of its own engine, or (`proxy`) of another. */
function hasProfile({ model, hardware, engine, tp, layout, quant }: SourceQuestion, proxy: boolean): boolean {
  if (model === null || hardware === null) return false;
  return findProfile(measuredQuestion({}, { model, hardware, engine, layout: layout ?? wholeLayout(tp), quant, role: 'agg' }), proxy) !== null;
}

/** A profile serves what it was measured for. */
function measuredSource({ model, hardware, engine, tp, layout, quant, path, allow = [] }: SourceQuestion): Checked<Source> {
  const missing = missingName(model, hardware);
  if (missing !== null) return { ok: false, problem: missing };
  const question = measuredQuestion({ allow }, { model: model!, hardware: hardware!, engine, layout: layout ?? wholeLayout(tp), quant, role: 'agg' });
  try {
    measuredTiming(path === undefined ? {} : { path }, question, { passes: 'shared' });
    return { ok: true, value: 'measured' };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, path: field = 'timing.source', what, hint } = error.problems[0]!;
    return { ok: false, problem: { code, field, what, ...(hint === undefined ? {} : { hint }) } };
  }
}

const wholeLayout = (tp: number): Layout => ({ tp, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 });

/** Operators cover what they can be put together for. */
function operatorSource(source: 'tables' | 'roofline', { model, hardware, engine, tp, layout, quant, path, miss, fidelity, closedForms = false }: SourceQuestion): Checked<Source> {
  const missing = missingName(model, hardware);
  if (missing !== null) return { ok: false, problem: missing };
  if ((layout?.pp ?? 1) > 1 && !closedForms) return { ok: false, problem: { code: 'E-HARDWARE', field: 'pp', what: 'pipeline stages are not simulated', hint: "remove it, or set 'run.estimator: analytic'" } };
  if (source === 'tables' && tablesFolder(path) === undefined && !hasShippedTables(hardware!)) {
    return { ok: false, problem: { code: 'E-HARDWARE', field: 'hardware', what: `no operator tables of ${hardware} ship with the project`, hint: `set 'timing: roofline', or 'timing.path' to a folder of tables; there are ${hardwareNames().filter(hasShippedTables).join(', ')}` } };
  }
  try {
    const rules = { decodeBy: 'tokens', passes: fidelity === 'realistic' && !closedForms ? 'shared' : 'static', decodeLengthOffset: 0, leastDecodeMs: 0 } as const;
    createTiming({ source, prefillMs: 0, decodeMs: 0, speedup: 1, decodeSpeedup: 1, ...(path === undefined ? {} : { path }), ...(miss === undefined ? {} : { miss }) }, { model, hardware, engine, tp, ...(layout ? { layout } : {}), quant }, rules);
    return { ok: true, value: source };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, file, what, hint } = error.problems[0]!;
    return { ok: false, problem: { code, field: file === undefined ? 'hardware' : 'timing.path', what: file === undefined ? what : `'${file}': ${what}`, ...(hint === undefined ? {} : { hint }) } };
  }
}

function missingName(model: string | null, hardware: string | null): FieldProblem | null {
  if (model !== null && hardware !== null) return null;
  const field = model === null ? 'model' : 'hardware';
  return { code: 'E-MISSING', field, what: `timing needs the ${field}`, hint: `set deployment.${field}, or 'timing: polynomial'` };
}

function fittedSource({ model, hardware, engine, tp, layout, quant }: SourceQuestion): Checked<Source> {
  const missing = missingName(model, hardware);
  if (missing !== null || model === null || hardware === null) return { ok: false, problem: missing! };
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
