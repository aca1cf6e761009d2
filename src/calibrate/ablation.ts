import { randomStream } from '../core/random.js';
import type { AggCase } from './case.js';
import { median, medianError } from './errors.js';
import { familyOf } from '../timing/calibration/family.js';
import { combinationOf, isClean } from './partitions.js';
import type { Physical } from '../timing/calibration/physical.js';
import { physicalFor, type PhysicalModel } from '../timing/calibration/physical-model.js';
import type { PhysicalData } from '../timing/calibration/effects.js';
import type { Measurement } from './silicon.js';
import type { Simulations } from './simulations.js';
import type { Simulation } from './simulation.js';

/** A change of the reference, to see what each part of it is worth. Fitted numbers stay. */
interface Variant {
  readonly name: string;
  readonly change: (one: AggCase, physical: Physical) => { readonly one: AggCase; readonly physical: Physical };
}

const onCase = (name: string, change: (one: AggCase) => Partial<AggCase>): Variant => ({ name, change: (one, physical) => ({ one: { ...one, ...change(one) }, physical }) });
const onPhysical = (name: string, change: (physical: Physical) => Partial<Physical>): Variant => ({ name, change: (one, physical) => ({ one, physical: { ...physical, ...change(physical) } }) });

const VARIANTS: readonly Variant[] = [
  { name: 'reference', change: (one, physical) => ({ one, physical }) },
  onCase('nominal lengths', () => ({ lengthLow: 1 })),
  onCase('fixed lengths, 0.9 nominal', (one) => ({ lengthLow: 1, isl: Math.max(1, Math.round(one.isl * 0.9)), osl: Math.max(1, Math.round(one.osl * 0.9)) })),
  onCase('receive interval 1', () => ({ receiveInterval: 1 })),
  onPhysical('no floor', () => ({ launchUs: 0 })),
  onPhysical('no host time', () => ({ hostMs: 0 })),
  onPhysical('no fixed and serial time', () => ({ fixedMs: 0, serialMsPerKiloToken: 0 })),
  onPhysical('table times as they are', () => ({ mDec: 1, mPre: 1, mGa: 1 })),
  onCase('vllm budget 2,048', (one) => (one.backend === 'vllm' ? { maxNumBatchedTokens: 2048 } : {})),
  onCase('vllm budget 8,192', (one) => (one.backend === 'vllm' ? { maxNumBatchedTokens: 8192 } : {})),
  onPhysical('tables only', () => ({ mDec: 1, mPre: 1, mGa: 1, hostMs: 0, launchUs: 0, fixedMs: 0, serialMsPerKiloToken: 0 })),
];

/** Rows an ablation looks at. */
const SAMPLE = 220;

/** Errors of one variant: medians of |ln error|, with their standard errors, and of the signed TTFT error, as ratios; with them the errors of each backend. */
export interface AblationRow {
  readonly variant: string;
  readonly backend: string;
  readonly n: number;
  readonly tpot: number | null;
  readonly ttft: number | null;
  readonly ttftBias: number | null;
  readonly tpotSe: number | null;
  readonly ttftSe: number | null;
}

/** Every variant on the same clean rows, spread evenly over the combinations. Source: spec accuracy section 5. */
export async function ablate(rows: readonly Measurement[], model: PhysicalModel, data: PhysicalData, simulations: Simulations): Promise<AblationRow[]> {
  const sample = sampleOf(rows);
  const wanted = VARIANTS.flatMap(({ change }) => sample.map(({ one }) => change(one, physicalFor(model, data, one.backend, familyOf(one.model)).physical)));
  const answers = await simulations.all(wanted);
  return VARIANTS.flatMap(({ name }, v) => {
    const mine = answers.slice(v * sample.length, (v + 1) * sample.length);
    return ['all', ...new Set(sample.map(({ one }) => one.backend))].map((backend) => rowOf(name, backend, sample, mine));
  });
}

function rowOf(variant: string, backend: string, sample: readonly (Measurement & { readonly one: AggCase })[], answers: readonly Simulation[]): AblationRow {
  const logs = sample.flatMap(({ one, ttftMs, tpotMs }, i) => {
    const answer = answers[i]!;
    return 'refused' in answer || (backend !== 'all' && one.backend !== backend) ? [] : [{ tpot: Math.log(answer.tpotMs / tpotMs), ttft: Math.log(answer.ttftMs / ttftMs) }];
  });
  const bias = median(logs.map(({ ttft }) => ttft));
  const absolute = { tpot: logs.map(({ tpot }) => Math.abs(tpot)), ttft: logs.map(({ ttft }) => Math.abs(ttft)) };
  // The same resamples for every variant of a backend.
  const errorOf = (values: readonly number[]): number | null => medianError(values, randomStream(0, `ablation/${backend}`));
  return {
    variant, backend, n: logs.length,
    tpot: median(absolute.tpot), ttft: median(absolute.ttft), ttftBias: bias === null ? null : Math.expm1(bias),
    tpotSe: errorOf(absolute.tpot), ttftSe: errorOf(absolute.ttft),
  };
}

function sampleOf(rows: readonly Measurement[]): (Measurement & { readonly one: AggCase })[] {
  const clean = rows.filter((row): row is Measurement & { readonly one: AggCase } => row.one.mode === 'agg' && isClean(row));
  const sorted = clean.map((row, index) => ({ row, index, name: combinationOf(row) })).sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.index - b.index));
  const step = Math.max(1, sorted.length / SAMPLE);
  return Array.from({ length: Math.min(SAMPLE, sorted.length) }, (_, i) => sorted[Math.floor(i * step)]!.row);
}
