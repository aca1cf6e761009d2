import { InputError } from '../core/problem.js';
import type { EngineSpec, Quant, TimingSpec } from '../scenario/scenario.js';
import { requireHardware, requireModel } from './catalogue.js';
import { fittedTiming } from './fitted.js';
import { FIXED_DESCRIPTION, fixedTiming } from './fixed.js';
import { inferQuant } from './infer-quant.js';
import type { Layout } from './layout.js';
import { measuredTiming } from './measured/measured.js';
import type { MeasuredQuestion } from './measured/profiles.js';
import { POLYNOMIAL_DESCRIPTION, polynomialTiming } from './polynomial.js';
import { profileDescription, profileTiming } from './profile.js';
import { readProfile } from './profile-table.js';
import { operatorTiming, type OperatorTimedPool } from './operator-timing.js';
import type { CreatedTiming, TimingRules } from './timing.js';

/** What a timing source may ask about the workers it times. */
export interface TimedPool {
  readonly model: string | null;
  readonly hardware: string | null;
  readonly engine: EngineSpec;
  readonly tp: number;
  /** Absent = `tp` GPUs and no experts. */
  readonly layout?: Layout;
  /** Absent = the checkpoint's own. */
  readonly quant?: Quant | undefined;
  /** Absent = agg. */
  readonly role?: OperatorTimedPool['role'];
  readonly load?: OperatorTimedPool['load'];
}

type Create = (spec: TimingSpec, pool: TimedPool, rules: TimingRules) => CreatedTiming;

const sources: Readonly<Record<TimingSpec['source'], Create>> = {
  polynomial: (_spec, _pool, { decodeBy }) => ({ timing: polynomialTiming(decodeBy), description: POLYNOMIAL_DESCRIPTION }),
  fixed: (spec) => ({ timing: fixedTiming(spec.prefillMs, spec.decodeMs), description: FIXED_DESCRIPTION }),
  fitted: (_spec, pool) => createFitted(pool),
  profile: (spec, _pool, rules) => createProfile(spec.path, rules),
  tables: (spec, pool, rules) => operatorTiming('tables', spec, operatorPool(pool), rules),
  roofline: (spec, pool, rules) => operatorTiming('roofline', spec, operatorPool(pool), rules),
  measured: (spec, pool, rules) => measuredTiming(spec, measuredQuestion(spec, operatorPool(pool)), rules),
};

/**
 * The timing of one pool. Throws InputError where `fitted` does not cover the pool, or the file of `profile` cannot be read.
 */
export function createTiming(spec: TimingSpec, pool: TimedPool, rules: TimingRules): CreatedTiming {
  return sources[spec.source](spec, pool, rules);
}

/** What a pool asks of measured profiles. */
export function measuredQuestion({ allow = [] }: Pick<TimingSpec, 'allow'>, { model, hardware, engine, layout, quant }: OperatorTimedPool): MeasuredQuestion {
  return { model, hardware, engine, layout, quant: quant ?? inferQuant(requireModel(model), requireHardware(hardware), engine.name), allow };
}

function operatorPool({ model, hardware, engine, tp, layout, quant, role = 'agg', load }: TimedPool): OperatorTimedPool {
  if (model === null || hardware === null) throw new InputError({ code: 'E-MISSING', what: 'operator times need a model and hardware' });
  return { model, hardware, engine, layout: layout ?? { tp, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 }, quant, role, load };
}

const fittedTimings = new Map<string, CreatedTiming>();

/** One instance per worker shape: what it remembers serves every pool and every candidate of a sweep. */
function createFitted({ model, hardware, engine, tp }: TimedPool): CreatedTiming {
  if (model === null || hardware === null) throw new InputError({ code: 'E-MISSING', what: "timing 'fitted' needs a model and hardware" });
  const key = JSON.stringify([model, hardware, engine.name, engine.version, tp]);
  let created = fittedTimings.get(key);
  if (created === undefined) {
    created = fittedTiming({ model, hardware, engine: engine.name, engineVersion: engine.version, tp });
    fittedTimings.set(key, created);
  }
  return created;
}

function createProfile(path: string | undefined, rules: TimingRules): CreatedTiming {
  if (path === undefined) throw new InputError({ code: 'E-MISSING', path: 'timing.path', what: 'required by source profile', hint: "add 'path: perf_data.npz'" });
  const table = readProfile(path);
  return { timing: profileTiming(table, rules), description: profileDescription(table) };
}
