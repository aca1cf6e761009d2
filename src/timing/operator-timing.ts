import { InputError } from '../core/problem.js';
import type { EngineSpec, Quant, TimingSpec } from '../scenario/scenario.js';
import { judge, physicalOf, type Evidence, type Judgement, type Target } from './calibration/calibration.js';
import { CASE_BACKENDS, type CaseBackend } from './calibration/effects.js';
import { familyOf } from './calibration/family.js';
import { TABLES_ONLY, type Physical } from './calibration/physical.js';
import { loadRealisticProfile, type RealisticProfile } from './calibration/profile.js';
import { requireHardware, requireModel, type Model } from './catalogue.js';
import { extrapolates } from './measured-sizes.js';
import { createForwardModel, MissingOperator } from './forward-model.js';
import { inferQuant } from './infer-quant.js';
import type { Layout } from './layout.js';
import type { OperatorBasis, SharedPasses } from './operator-basis.js';
import { DATASHEET, layeredSource, tablesFolder, type OperatorSource } from './operator-sources.js';
import { realisticModel, type RealisticModel } from './realistic-model.js';
import { realisticTiming } from './realistic.js';
import { IDEAL, RooflineOperators } from './roofline-operators.js';
import { CompiledModel } from './compiled-model.js';
import { LayeredOperators } from './layered-operators.js';
import { staticTiming } from './static-tables.js';
import { createStepTimes } from './step-times.js';
import type { CreatedTiming, TimingDescription, TimingRules } from './timing.js';

/** What operator times need to know of a pool, and of its load where that is known. */
export interface OperatorTimedPool {
  readonly model: string;
  readonly hardware: string;
  readonly engine: EngineSpec;
  readonly layout: Layout;
  /** Absent = the checkpoint's own. */
  readonly quant?: Quant | undefined;
  readonly role: 'agg' | 'prefill' | 'decode';
  /** Mean lengths in tokens and requests in flight per worker, where the workload says so. */
  readonly load?: { readonly isl: number; readonly osl: number; readonly concurrency: number } | undefined;
}

type Kind = Extract<TimingSpec['source'], 'tables' | 'roofline'>;

/**
 * Pass times summed from operator times (perf-model section 2): measured tables, or the datasheet alone. The references add
 * prefill and decode one after the other; `realistic` shares a pass's matrices and, with `overhead: calibrated`, adds what measured
 * serving shows beyond the kernels (accuracy sections 3 and 4). Throws InputError where operators are missing.
 */
export function operatorTiming(kind: Kind, spec: TimingSpec, pool: OperatorTimedPool, rules: TimingRules): CreatedTiming {
  const model = requireModel(pool.model);
  const quant = pool.quant ?? inferQuant(model, requireHardware(pool.hardware), pool.engine.name);
  const drafts = pool.engine.speculative?.tokens ?? 0;
  try {
    if (rules.passes === 'static') return staticPasses(kind, spec, pool, model, quant, drafts, rules);
    const passes = realisticPasses(kind, spec, pool, model, quant);
    return calibratedTiming(passes, kind, spec, pool, model, drafts);
  } catch (error) {
    if (error instanceof MissingOperator) throw new InputError({ code: 'E-HARDWARE', what: `${error.message} for ${pool.engine.name} on ${pool.hardware}`, hint: "set 'timing: {source: tables, miss: estimate}' to estimate it from the datasheet" });
    throw error;
  }
}

function staticPasses(kind: Kind, spec: Pick<TimingSpec, 'path' | 'miss'>, pool: OperatorTimedPool, model: Model, quant: Quant, drafts: number, rules: TimingRules): CreatedTiming {
  const source = kind === 'roofline' ? roofline(pool.hardware) : layeredSource({ hardware: pool.hardware, engine: pool.engine.name, version: pool.engine.version, folder: tablesFolder(spec.path), exact: true, miss: spec.miss });
  const worker = { model, engine: pool.engine.name, layout: pool.layout, quant };
  const forward = createForwardModel(worker, source.times);
  return {
    operators: { worker, times: source.times, drafts, passes: { kind: 'static', lengthOffset: rules.decodeLengthOffset } },
    timing: { ...staticTiming(createStepTimes(forward, drafts), rules.decodeLengthOffset), extrapolates },
    description: { source: kind, calibration: sourceText(kind, source.name, borrowedText(source), pool, quant), errorPct: { ttft: null, tpot: null }, interval: null, evidence: null },
  };
}

function roofline(hardware: string): OperatorSource {
  const gpu = requireHardware(hardware);
  return { times: new LayeredOperators(gpu, [{ name: DATASHEET, times: new RooflineOperators(gpu, IDEAL) }]), name: `datasheet of ${hardware}`, own: true };
}

function borrowedText({ times }: OperatorSource): readonly string[] {
  return [...new Set(times.borrowed.map(({ operator, from }) => `${operator} from ${from}`))];
}

function realisticPasses(kind: Kind, { path, miss }: Pick<TimingSpec, 'path' | 'miss'>, pool: OperatorTimedPool, model: Model, quant: Quant): RealisticModel & { readonly quant: Quant } {
  const { hardware, engine, layout } = pool;
  if (kind === 'tables') {
    return { ...realisticModel({ model, hardware, engine: engine.name, version: engine.version, layout, quant, folder: tablesFolder(path), miss }), quant };
  }
  const source = roofline(hardware);
  const forward = createForwardModel({ model, engine: engine.name, layout, quant }, source.times);
  return { compiled: new CompiledModel(forward), forward, times: source.times, tables: source.name, borrowed: [], ownTables: false, quant };
}

function calibratedTiming(passes: RealisticModel & { readonly quant: Quant }, kind: Kind, spec: Pick<TimingSpec, 'overheadMs'>, pool: OperatorTimedPool, model: Model, drafts: number): CreatedTiming {
  const { engine } = pool;
  const backend = CASE_BACKENDS.find((name) => name === engine.name);
  const basisOf = (physical: Physical, factors: SharedPasses['factors']): OperatorBasis => ({ worker: passes.forward.worker, times: passes.times, drafts, passes: { kind: 'shared', physical, factors } });
  const text = sourceText(kind, passes.tables, passes.borrowed, pool, passes.quant);
  if (kind === 'roofline' || spec.overheadMs != null || backend === undefined) {
    const physical: Physical = { ...TABLES_ONLY, hostMs: spec.overheadMs ?? 0 };
    const overhead = `${spec.overheadMs ?? 0} ms host time per pass, not calibrated`;
    return {
      timing: realisticTiming(passes.compiled, physical, drafts),
      description: { source: kind, calibration: `${text}; ${overhead}`, errorPct: { ttft: null, tpot: null }, interval: null, evidence: null },
      operators: basisOf(physical, { prefill: 1, decode: 1 }),
    };
  }
  const profile = loadRealisticProfile();
  const target = targetOf(pool, backend, passes.quant, model);
  const physical = physicalOf(profile.calibration, target);
  const judgement = judge(profile.calibration, target, passes.ownTables);
  const factors = { prefill: Math.exp(judgement.ttft.ln), decode: Math.exp(judgement.tpot.ln) };
  return {
    timing: realisticTiming(passes.compiled, physical, drafts, factors),
    operators: basisOf(physical, factors),
    description: describe(kind, text, pool, profile, target, judgement),
    frontend: { fixedMs: physical.fixedMs, serialMsPerKiloToken: physical.serialMsPerKiloToken },
  };
}

/** Load that was not measured counts as the middle of those that were. */
const MIDDLE = { isl: 2 ** 11.5, osl: 0, concurrency: 32 } as const;

function targetOf({ model: name, hardware, engine, layout, role, load = MIDDLE }: OperatorTimedPool, backend: CaseBackend, quant: Quant, model: Model): Target {
  const family = familyOf(name);
  if (role !== 'agg' || layout.pp > 1) return { backend, family, features: null };
  const { tp, attentionDp, moeEp } = layout;
  const { isl, osl, concurrency } = load;
  return { backend, family, features: { backend, family, system: hardware, precision: precisionOf(model, quant), version: engine.version, warm: true, tp, attentionDp, moeEp, isl: Math.round(isl), osl: Math.round(osl), concurrency } };
}

/** As the measured rows name it. */
function precisionOf({ family }: Model, { weights, moe }: Quant): string {
  const mode = family === 'dense' ? weights : moe;
  if (mode.includes('fp4')) return 'fp4';
  if (mode.startsWith('fp8')) return 'fp8';
  return mode === 'int4_wo' ? 'int4' : 'bf16';
}

const EVIDENCE_TEXT: Readonly<Record<Evidence, string>> = {
  measured_group: 'served times of this engine, model and GPU',
  other_system: 'served times of this engine and model on other GPUs',
  backend_mean: 'served times of this engine with other models',
  borrowed_tables: 'served times of other combinations, over borrowed kernels',
};

function describe(kind: Kind, text: string, { engine, hardware }: OperatorTimedPool, { errors, provenance }: RealisticProfile, { backend, family }: Target, judgement: Judgement): TimingDescription {
  const { evidence, modelKnown, tpot, ttft } = judgement;
  const found = errors.find((entry) => entry.backend === backend && entry.family === family);
  const held = evidence === 'measured_group' ? found?.folds : modelKnown ? found?.unseen : leftOutModels(errors.filter((entry) => entry.backend === backend));
  const percent = (value: number | undefined): number | null => (value === undefined ? null : Number((value * 100).toPrecision(3)));
  const measured = provenance.measured === null ? '' : `, measured ${provenance.measured.join(' to ')}`;
  return {
    source: kind,
    calibration: `${text}; calibrated on ${EVIDENCE_TEXT[evidence]} (${provenance.distinct_usable} rows${measured})`,
    errorPct: { ttft: percent(held?.ttft.median), tpot: percent(held?.tpot.median) },
    interval: { ttftLn: ttft.halfWidthLn, tpotLn: tpot.halfWidthLn },
    evidence,
    group: `${engine.name} ${family} ${hardware}`,
  };
}

/** Errors of an engine's models where left out, by their rows: what to expect of one that was never measured. */
function leftOutModels(errors: RealisticProfile['errors']): { readonly ttft: { readonly median: number }; readonly tpot: { readonly median: number } } | undefined {
  const unseen = errors.flatMap((entry) => (entry.unseen === null ? [] : [entry.unseen]));
  if (unseen.length === 0) return undefined;
  const mean = (metric: 'ttft' | 'tpot'): { median: number } => ({ median: unseen.reduce((sum, each) => sum + each[metric].median * each[metric].n, 0) / unseen.reduce((sum, each) => sum + each[metric].n, 0) });
  return { ttft: mean('ttft'), tpot: mean('tpot') };
}

function sourceText(kind: Kind, tables: string, borrowed: readonly string[], { hardware, engine, layout }: OperatorTimedPool, quant: Quant): string {
  const of = kind === 'roofline' ? `bounds from the ${tables}` : `kernel tables of ${tables} for ${engine.name} ${engine.version} on ${hardware}`;
  const experts = layout.moeTp * layout.moeEp > 1 ? `, experts tp ${layout.moeTp} ep ${layout.moeEp}` : '';
  const ranks = layout.attentionDp > 1 ? `, dp ${layout.attentionDp}` : '';
  const stages = layout.pp > 1 ? `, pp ${layout.pp}` : '';
  return [`${of}, tp ${layout.tp}${stages}${ranks}${experts}, ${quant.weights} weights, ${quant.kv} KV`, ...(borrowed.length > 0 ? [`borrowed: ${borrowed.join(', ')}`] : [])].join('; ');
}
