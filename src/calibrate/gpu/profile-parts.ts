import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { coefficientIntervals, type ParameterFit, type Resamples } from './bootstrap.js';
import { ofKind, sizesOf, type FitPoint } from './fit-points.js';
import type { Draws } from './judge.js';
import type { FitTarget, Operators } from './operator-fit.js';
import { passesOf, STRUCTURE, waitedForLaunches, type HostFit, type StructureFit, type StructureName } from './pass-fit.js';
import { captureSizes } from './plan/target.js';
import { atBound } from './robust-fit.js';
import { rejections, type Selection } from './select.js';

/** The parts of a profile that say how sure it is and what it was measured on. */

type Fitted = MeasuredProfile['structure']['rho'];

/** Coefficients of all resampled fits. */
export interface AllDraws extends Draws {
  readonly host: Resamples;
}

/** Forms with the intervals of their coefficients. */
export function withIntervals({ forms, fits }: Operators, draws: ReadonlyMap<string, Resamples>): MeasuredProfile['forms'] {
  const intervals = (name: string): ([number, number] | null)[] => coefficientIntervals(fits.find((one) => one.name === name)!, draws.get(name)!);
  return {
    ...forms,
    gemm: Object.fromEntries(Object.entries(forms.gemm).map(([type, form]) => [type, { ...form, intervals: intervals(`gemm ${type}`) }])),
    ctx: { ...forms.ctx, intervals: intervals('ctx') },
    gen: { ...forms.gen, intervals: intervals('gen') },
  };
}

/** Pass model; what nothing identified is said in `warnings`. */
export function withStructure({ structure, free, found }: StructureFit, draws: Resamples, { geometry: { layers } }: FitTarget): { readonly values: MeasuredProfile['structure']; readonly warnings: string[] } {
  const intervals = found === null ? [] : coefficientIntervals(found, draws);
  const of = (name: StructureName, value: number): Fitted => ({ value, interval: free.includes(name) ? intervals[free.indexOf(name)]! : null });
  const { rho, kappa, lambda, gPassUs } = structure;
  const gap = of('gap', gPassUs);
  const assumed = (Object.keys(STRUCTURE) as StructureName[]).filter((name) => !free.includes(name)).map((name) => `${name}: nothing measured tells it, ${STRUCTURE[name].otherwise} is assumed`);
  const range = gap.interval === null ? '' : ` (${gap.interval.map(text).join(' to ')})`;
  const sum = free.includes('gap') ? [`g_layer_us and g_pass_us: only their sum over ${layers} layers is identified, ${text(gPassUs)} µs${range}; it stands in g_pass_us`] : [];
  return {
    values: { rho: of('rho', rho), kappa: of('kappa', kappa), lambda: of('lambda', lambda), g_layer_us: { value: 0, interval: null }, g_pass_us: { value: gPassUs, interval: null } },
    warnings: [...assumed, ...sum],
  };
}

/** Host times; of launches the spread over the passes that told them. */
export function withHost({ host, found, launch, graph, inPasses }: HostFit, draws: Resamples, served: boolean): MeasuredProfile['host'] {
  const intervals = found === null ? [] : coefficientIntervals(found, draws);
  const of = (value: number, index: number): Fitted => ({ value, interval: intervals[index] ?? null });
  return {
    source: inPasses ? 'in passes' : found === null ? 'none' : served ? 'served' : 'measured',
    h0_ms: of(host.h0Ms, 0), h1_ms: of(host.h1Ms, 1), h2_ms: of(host.h2Ms, 2),
    launch_us: { value: host.launchUs, interval: launch?.interval ?? null },
    graph_us: { value: host.graphUs, interval: graph?.interval ?? null },
  };
}

/** Smallest and largest sizes that passes had; without such passes, that attention had. */
export function domainOf(points: readonly FitPoint[], target: FitTarget): MeasuredProfile['domain'] {
  const passes = passesOf(points, target).map(({ point }) => point.seqs);
  const prompts = passes.map((seqs) => seqs.filter(([fresh]) => fresh > 1)).filter((seqs) => seqs.length > 0);
  const decodes = passes.map((seqs) => seqs.filter(([fresh]) => fresh === 1)).filter((seqs) => seqs.length > 0);
  const contexts = prompts.length > 0 ? prompts : ofKind(points, 'attn_ctx').map(({ point }) => point.seqs);
  const steps = decodes.length > 0 ? decodes : ofKind(points, 'attn_gen').map(({ point }) => point.seqs);
  const range = (values: readonly number[]): [number, number] => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  return {
    prefill_tokens: range(contexts.map((seqs) => sizesOf(seqs).tokens)),
    past: range(contexts.map((seqs) => seqs.reduce((sum, [, past]) => sum + past, 0) / seqs.length)),
    batch: range(steps.map((seqs) => seqs.length)),
    context: range(steps.map((seqs) => sizesOf(seqs).context)),
  };
}

/** Batches of decode graphs up to the largest measured: all that are captured by rule where those measured are among them, else the measured. */
export function graphsOf(points: readonly FitPoint[], target: FitTarget): number[] {
  const measured = [...new Set(passesOf(points, target).flatMap(({ point }) => point.pad_to ?? []))].sort((a, b) => a - b);
  const largest = measured.at(-1) ?? 0;
  const captured = captureSizes(largest, largest);
  return measured.every((size) => captured.includes(size)) ? captured : measured;
}

export function provenanceOf({ identity, points }: Selection, dataSha256: string): MeasuredProfile['provenance'] {
  const known = (value: string | null): string => value ?? 'unknown';
  const dates = points.flatMap(({ measured }) => measured.record.t_utc ?? []).sort();
  const read = points.some(({ measured }) => measured.record.clock_mhz !== null);
  return {
    worker: known(identity.worker),
    kind: identity.kind,
    gpu: known(identity.gpu), driver: known(identity.driver), cuda: known(identity.cuda), torch: known(identity.torch), triton: known(identity.triton),
    clocks: identity.kind === 'import' ? 'unknown' : read ? 'verified' : 'unverified',
    date: known(dates.at(-1) ?? null),
    plan_hash: identity.planHash,
    data_sha256: dataSha256,
  };
}

/** Coefficients at a bound, and those that the data do not identify. */
export function coefficientWarnings({ fits }: Operators, { free, found }: StructureFit, host: HostFit, draws: AllDraws): string[] {
  const of = (name: string, names: readonly string[], found: ParameterFit, resamples: Resamples): string[] => {
    const open = coefficientIntervals(found, resamples).flatMap((interval, i) => (interval === null ? [names[i]!] : []));
    const ends = found.fit.p.flatMap((value, i) => (atBound(value, found.problem.bounds[i]!) ? [`${name} ${names[i]} is at its bound: ${text(value)}`] : []));
    return [...ends, ...(open.length === 0 ? [] : [`${name}: ${open.join(', ')} not identified`])];
  };
  const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `p${i}`);
  return [
    ...fits.flatMap((one) => of(one.name, one.form === 'M' ? ['a_us', 'e'] : numbered(one.fit.p.length), one, draws.forms.get(one.name)!)),
    ...(found === null ? [] : of('structure', free.map((name) => (name === 'gap' ? 'g' : name)), found, draws.structure)),
    ...(host.found === null ? [] : of('host', ['h0_ms', 'h1_ms', 'h2_ms'], host.found, draws.host)),
  ];
}

/** How importers hold out (`holdOut`): what is left must not tell it by its nearest neighbour. */
const HELD_OUT_OF_IMPORTS = 'held out of imports: about a fifth, in whole blocks of neighbouring sizes of a matrix, cells of batch and context, and stretches of a log';

/** What was left out or assumed on the way. */
export function selectionWarnings({ points, rejected, others, target }: Selection, { assumed }: Operators, { found, launch, graph, inPasses }: HostFit): string[] {
  const flags = new Map<string, number>();
  for (const flag of points.flatMap(({ measured }) => measured.record.flags)) flags.set(flag, (flags.get(flag) ?? 0) + 1);
  const waited = passesOf(points, target).filter(waitedForLaunches).length;
  const unmeasured = [
    ...(found === null ? ['host time was not measured: passes have none'] : []),
    ...(launch === null ? ['launching a kernel was not measured: it takes no time'] : []),
    ...(graph === null ? ['launching a graph was not measured: it takes no time'] : []),
  ];
  return [
    ...assumed.map((kind) => `${kind} was not measured: the bandwidth of the datasheet stands in`),
    ...(target.imported ? [HELD_OUT_OF_IMPORTS] : []),
    ...(others.size === 0 ? [] : [`${others.size} imported operators are not the model's at tp ${target.tp}: left out`]),
    ...(inPasses ? ['passes were timed by the host: its time is in them'] : unmeasured),
    ...(waited === 0 ? [] : [`${waited} passes outside graphs waited for their launches: they are judged as whole passes`]),
    ...[...flags].sort().map(([flag, count]) => `${count} points are flagged ${flag}`),
    ...rejections(rejected),
  ];
}

function text(value: number): string {
  return String(Number(value.toPrecision(4)));
}
