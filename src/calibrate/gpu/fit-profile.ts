import { InputError, RunError } from '../../core/problem.js';
import { randomStream, type RandomStream } from '../../core/random.js';
import { communicationOf } from '../../timing/measured/communication.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { errorReasons, errorsByFamily, modelReasons, neededFamilies, type Compared } from './acceptance.js';
import { resample } from './bootstrap.js';
import { fitCopies } from './copy-fit.js';
import { fitted, type FitPoint } from './fit-points.js';
import { catalogueName } from './geometry.js';
import { crossValidate } from './gpu-crossval.js';
import { comparisons, judgePoints, predictionSpreads, timesGpu, type JudgedPoint } from './judge.js';
import { readHostPasses } from './host-passes.js';
import { leftOutErrors } from './left-out.js';
import type { Measurements } from './measurements.js';
import { fitOperators, type FitTarget } from './operator-fit.js';
import { fitHost } from './pass-fit.js';
import { compileOperators, predictorOf } from './predict.js';
import { coefficientWarnings, domainOf, graphsOf, provenanceOf, selectionWarnings, withHost, withIntervals, withStructure } from './profile-parts.js';
import { selectPoints, type RejectedPoint, type Selection } from './select.js';
import { drawOperators, identifyStructure } from './structure-draws.js';

/** Measurements to a profile (spec calibration section 7): select, fit operators, passes and host, judge by what was held out. */

export interface FitOptions {
  /** Of the profile; needed where passes ran at several. */
  readonly tp?: number | undefined;
  /** requests.jsonl of a run of serve.py that host times are taken from; absent = the measured passes' own. */
  readonly host?: string | undefined;
  /** SHA-256 (hex) of the data. */
  readonly dataSha256: string;
}

export interface ProfileFit {
  readonly profile: MeasuredProfile;
  readonly target: FitTarget;
  readonly points: readonly JudgedPoint[];
  readonly rejected: readonly RejectedPoint[];
  /** Imported operators that the model does not run. */
  readonly others: Selection['others'];
}

/**
 * Fits and judges. Throws what `selectPoints` and `fitOperators` throw, `RunError` where no block-scaled product can be trusted, and `E-COMBINATION`
 * where host times are given for passes that hold theirs. The same measurements give the same profile to the byte.
 */
export function fitProfile(measurements: Measurements, options: FitOptions): ProfileFit {
  const selection = selectPoints(measurements, options.tp);
  const { target, points, rejected, others } = selection;
  requireBlockProducts(selection);
  const operators = fitOperators(points, target);
  const compiled = compileOperators(operators, target);
  const served = options.host === undefined ? [] : readHostPasses(options.host, selection);
  const host = fitHost(points, compiled, target, served);
  if (host.inPasses && options.host !== undefined) throw new InputError({ code: 'E-COMBINATION', path: '--host', what: 'these passes were timed by the host: its time is in them', hint: 'leave it out' });
  const links = fitCopies(fitted(points));
  const random = randomOf(options.dataSha256);
  const forms = new Map(operators.fits.map((one) => [one.name, resample(one, random(one.name))]));
  const drawn = drawOperators(operators, forms, target);
  const { structure, draws: structureDraws } = identifyStructure(points, operators, target, drawn, () => random('structure'));
  const draws = { forms, operators: drawn, structure: structureDraws, host: host.found === null ? [] : resample(host.found, random('host')) };
  const predictor = predictorOf({ forms: operators.forms, ratios: operators.ratios, links, structure: structure.structure, host: host.host }, target);
  const spreads = predictionSpreads(points, operators, structure, draws, target);
  const leftOut = leftOutErrors(operators, structure);
  const judged = judgePoints(points, predictor, target).map((one, index): JudgedPoint => {
    const [point, spread] = [points[index]!, spreads.get(points[index]!)];
    return { ...one, interval: one.predictedMs === null || spread === undefined ? null : [one.predictedMs * spread[0], one.predictedMs * spread[1]], leftOutPct: leftOut.get(point) ?? null };
  });
  const errors = {
    fit: errorsByFamily(comparisons(fitted(judged))),
    cv: errorsByFamily(leftOutComparisons(points, crossValidate(points, { operators, structure, host: host.host }, target))),
    holdout: errorsByFamily(comparisons(judged.filter(({ heldOut }) => heldOut))),
  };
  const domain = domainOf(points, target);
  const reasons = [...errorReasons(errors.holdout, 'held out', neededFamilies(points)), ...modelReasons(predictor, domain, target)];
  const comm = communicationSource(selection);
  const joined = withStructure(structure, draws.structure, target);
  const profile: MeasuredProfile = {
    schema: 'dynotwin.profile/1',
    ...headOf(selection, options.dataSha256),
    forms: withIntervals(operators, draws.forms),
    ratios: operators.ratios,
    structure: joined.values,
    host: withHost(host, draws.host, served.length > 0),
    comm,
    links, domain, errors,
    accepted: reasons.length === 0,
    reasons,
    warnings: [...(served.length === 0 ? [] : [`host times are those of ${served.length} served passes`]), ...coefficientWarnings(operators, structure, host, draws), ...joined.warnings, ...unknownReduces(target, comm), ...selectionWarnings(selection, operators, host)],
  };
  return { profile, target, points: judged, rejected, others };
}

function leftOutComparisons(points: readonly FitPoint[], predicted: ReadonlyMap<FitPoint, number>): Compared[] {
  return points.flatMap((one) => (predicted.has(one) && timesGpu(one) ? [{ family: one.family!, measured: one.us, predicted: predicted.get(one)! }] : []));
}

function headOf(selection: Selection, dataSha256: string): Pick<MeasuredProfile, 'name' | 'identity' | 'provenance'> {
  const { identity, model, target, points } = selection;
  const { tp, dtype, geometry } = target;
  const name = identity.model === null || identity.model === geometry.name ? catalogueName(geometry) : identity.model;
  return {
    name: [name.split('/').at(-1)!, identity.hardware, dtype.weights, ...(dtype.kv === 'fp8' ? ['kv8'] : []), `tp${tp}`].join('-').toLowerCase(),
    identity: {
      model: name, geometry_hash: model.geometryHash, hardware: identity.hardware, engine: identity.engine, tp, pp: 1, ep: 1, dtype,
      page: model.load?.limits.page ?? 16,
      graphs: graphsOf(points, target),
    },
    provenance: provenanceOf(selection, dataSha256),
  };
}

/** Where the all-reduces that passes of several GPUs make come from; null = there are none, or no curve. */
function communicationSource({ identity, target: { hardware, tp, share } }: Selection): MeasuredProfile['comm'] {
  const found = tp === 1 ? null : communicationOf(hardware, identity.engine, tp, share);
  return found === null ? null : { source: found.source, measured: false };
}

/** An import's passes hold their all-reduces: with no curve to tell them apart they end in the pass model. */
function unknownReduces({ imported, tp }: FitTarget, comm: MeasuredProfile['comm']): string[] {
  return imported && tp > 1 && comm === null ? [`no all-reduce over ${tp} of these GPUs is known: that of the passes is in rho and g, and no deployment can use the profile`] : [];
}

/** Draws depend on the data alone. */
function randomOf(dataSha256: string): (name: string) => RandomStream {
  const seed = Number.parseInt(dataSha256.slice(0, 8), 16);
  return (name) => randomStream(seed, `bootstrap/${name}`);
}

/** Where every product of the weights' type was rejected as timed outside graphs, that is the reason there is no profile. */
function requireBlockProducts({ target: { dtype }, identity: { engine }, points, rejected }: Selection): void {
  const eager = rejected.filter(({ measured: { record } }) => record.kind === 'gemm' && record.dtype === dtype.weights && record.flags.includes('maybe_eager')).length;
  if (eager === 0 || points.some(({ point }) => point.kind === 'gemm' && point.dtype === dtype.weights)) return;
  throw new RunError({
    code: 'E-FAILED',
    what: `gemm ${dtype.weights}: all ${eager} products of ${engine.name} ${engine.version} may hold launch overhead, as collected since vLLM 0.22 (maybe_eager): no profile`,
    hint: 'import tables and passes of vLLM before 0.22, such as 0.14.0, or of SGLang; or measure with the worker',
  });
}
