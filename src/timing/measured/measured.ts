import { InputError } from '../../core/problem.js';
import type { TimingSpec } from '../../scenario/scenario.js';
import { requireHardware, requireModel } from '../catalogue.js';
import type { CreatedTiming, MeasuredEvidence, PassTiming, TimingRules } from '../timing.js';
import { communicationOf } from './communication.js';
import type { Geometry } from './geometry.js';
import { measuredBreakdown } from './explain.js';
import { passOperators, type HostTimes, type PassOperators } from './law.js';
import { MeasuredTiming, type MeasuredPasses } from './measured-timing.js';
import { modelGeometry } from './model-geometry.js';
import { HOST_IN_PASSES, reducesText, type MeasuredProfile } from './profile-schema.js';
import { checkProfile, findProfile, type FoundProfile, type MeasuredQuestion } from './profiles.js';
import { ratesOf, shareOf } from './share.js';

/** What a timing remembers serves every pool and every candidate of a sweep. */
const created = new WeakMap<MeasuredProfile, Map<string, PassTiming>>();

/**
 * Pass times of a measured profile: of `timing.path`, else of those that ship. Throws `InputError` where none serves the worker
 * (`E-PROFILE-…`, `E-HARDWARE`).
 */
export function measuredTiming(spec: Pick<TimingSpec, 'path' | 'overheadMs' | 'miss'>, question: MeasuredQuestion, rules: Pick<TimingRules, 'passes'>): CreatedTiming {
  const found = requireProfile(spec.path, question);
  const { profile, proxy } = found;
  const keepsHost = !proxy || question.allow.includes('host');
  const key = JSON.stringify([question.engine.name, question.engine.version, spec.overheadMs, spec.miss, keepsHost, rules.passes]);
  const operators = operatorsOf(profile, question);
  const passes = passesOf(profile, operators.operators, hostOf(profile, spec.overheadMs, keepsHost), spec.miss === 'estimate');
  let known = created.get(profile);
  if (known === undefined) created.set(profile, (known = new Map()));
  let timing = known.get(key);
  if (timing === undefined) {
    timing = new MeasuredTiming(passes, rules.passes === 'static');
    known.set(key, timing);
  }
  const evidence = evidenceOf(found, question, operators.communication, spec.overheadMs, keepsHost);
  return { timing, breakdown: measuredBreakdown(passes, `${profile.identity.engine.name} ${profile.identity.engine.version}`), description: { source: 'measured', calibration: calibrationText(profile, evidence), errorPct: { ttft: heldOutPct(profile, ['prefill', 'mixed']), tpot: heldOutPct(profile, ['decode']) }, interval: null, evidence: 'measured passes', group: `measured ${profile.name}`, measured: evidence } };
}

function requireProfile(path: string | undefined, question: MeasuredQuestion): FoundProfile {
  if (path !== undefined) {
    const answer = checkProfile(path, question);
    if (answer.ok) return answer.value;
    const { field, ...problem } = answer.problem;
    throw new InputError({ ...problem, path: field });
  }
  const found = findProfile(question, false) ?? findProfile(question, true);
  if (found !== null) return found.found;
  throw new InputError({ code: 'E-HARDWARE', path: 'timing.source', what: `no measured profile of ${question.model} on ${question.hardware} with tp ${question.layout.tp} ships with the project`, hint: "measure one: 'dynotwin calibrate plan', and name its folder: 'timing: {source: measured, path: DIR}'" });
}

function operatorsOf(profile: MeasuredProfile, { model, hardware, engine, layout }: MeasuredQuestion): { readonly operators: PassOperators; readonly communication: string | null } {
  const gpu = requireHardware(hardware);
  const { geometry } = modelGeometry(requireModel(model)) as { readonly geometry: Geometry };
  const share = shareOf(geometry, layout.tp, profile.identity.dtype);
  // An import's passes were fitted with the curve of their own engine taken off.
  const communication = communicationOf(gpu, profile.provenance.kind === 'import' ? profile.identity.engine : engine, layout.tp, share);
  if (communication === null) throw new InputError({ code: 'E-HARDWARE', path: 'deployment', what: `no measured all-reduce over ${layout.tp} GPUs on ${hardware}`, hint: "use another tp, or 'timing: roofline'" });
  return { operators: passOperators(profile, ratesOf(gpu), share, communication.us), communication: layout.tp === 1 ? null : communication.source };
}

function passesOf({ structure, identity, domain }: MeasuredProfile, operators: PassOperators, host: HostTimes, estimates: boolean): MeasuredPasses {
  const { rho, kappa, lambda, g_layer_us, g_pass_us } = structure;
  return {
    operators,
    structure: { rho: rho.value, kappa: kappa.value, lambda: lambda.value, gLayerUs: g_layer_us.value, gPassUs: g_pass_us.value },
    host, graphs: identity.graphs, domain, estimates,
  };
}

/** The profile's own host, none where its engine is another, or what the scenario says. */
function hostOf({ host }: MeasuredProfile, overheadMs: number | null | undefined, keeps: boolean): HostTimes {
  if (overheadMs == null && keeps) return { h0Ms: host.h0_ms.value, h1Ms: host.h1_ms.value, h2Ms: host.h2_ms.value, launchUs: host.launch_us.value, graphUs: host.graph_us.value };
  return { h0Ms: overheadMs ?? 0, h1Ms: 0, h2Ms: 0, launchUs: 0, graphUs: 0 };
}

function evidenceOf({ profile, proxy }: FoundProfile, { engine }: MeasuredQuestion, communication: string | null, overheadMs: number | null | undefined, keepsHost: boolean): MeasuredEvidence {
  const { identity, provenance, errors } = profile;
  const own = `${identity.engine.name} ${identity.engine.version}`;
  return {
    profile: profile.name,
    data_sha256: provenance.data_sha256,
    errors: errors.holdout,
    accepted: profile.accepted,
    measured: provenance.kind === 'fake' ? [] : ['compute', ...(profile.links.length > 0 ? ['copies'] : [])],
    modelled: [...(provenance.kind === 'fake' ? ['everything: synthetic'] : []), ...(communication === null ? [] : [reducesText(communication, profile)])],
    host: hostText(profile, own, overheadMs, keepsHost),
    clocks: provenance.clocks,
    proxy: proxy ? `${own} for ${engine.name} ${engine.version}` : null,
  };
}

/** The largest held-out p90 of some families, percent (spec calibration 7.3); null = unknown: none was judged, or no GPU was measured. */
function heldOutPct({ errors, provenance }: MeasuredProfile, families: readonly string[]): number | null {
  const found = provenance.kind === 'fake' ? [] : families.flatMap((family) => errors.holdout[family]?.p90 ?? []);
  return found.length === 0 ? null : Number(Math.max(...found).toFixed(2));
}

function hostText({ host }: MeasuredProfile, own: string, overheadMs: number | null | undefined, keeps: boolean): string {
  const set = overheadMs == null ? '' : `${overheadMs} ms a pass, as set`;
  if (host.source === 'in passes') return set === '' ? HOST_IN_PASSES : `${HOST_IN_PASSES}, and ${set}`;
  return set !== '' ? set : host.source === 'none' || !keeps ? 'none (optimistic)' : own;
}

function calibrationText({ name, identity, provenance, accepted, errors }: MeasuredProfile, { modelled, measured, host, clocks, proxy }: MeasuredEvidence): string {
  const percent = (value: number): string => `${Number(value.toFixed(1))}`;
  const families = ['decode', 'prefill', 'mixed'].flatMap((family) => {
    const found = errors.holdout[family];
    return found === undefined ? [] : [`${family} ${percent(found.median)} % (p90 ${percent(found.p90)}, bias ${found.signed < 0 ? '' : '+'}${percent(found.signed)})`];
  });
  return [
    `${name} (${identity.engine.name} ${identity.engine.version}, ${provenance.date.slice(0, 10)}, data ${provenance.data_sha256.slice(0, 4)}…) ${accepted ? 'accepted' : 'not accepted'}`,
    ...(proxy === null ? [] : [`kernels of ${proxy}`]),
    `held-out: ${families.length === 0 ? 'unknown' : families.join(', ')}`,
    `measured: ${measured.join(', ') || 'nothing'}`,
    `modelled: ${modelled.join(', ') || 'nothing'}`,
    `host: ${host}`,
    `clocks ${clocks}`,
  ].join('; ');
}
