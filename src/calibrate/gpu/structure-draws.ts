import type { RandomStream } from '../../core/random.js';
import type { PassOperators } from '../../timing/measured/law.js';
import { coefficientIntervals, RESAMPLES, resample, type Resamples } from './bootstrap.js';
import type { FitPoint } from './fit-points.js';
import { MEMORY_KINDS } from './forms.js';
import type { FitTarget, Operators } from './operator-fit.js';
import { fitStructure, type StructureFit } from './pass-fit.js';
import { compileOperators } from './predict.js';

/** How sure the pass model is: resamples of it rest on resampled operators, one on one, as errors of these are errors of passes. */

/** Operators as one resample has them. */
export interface DrawnOperators {
  readonly operators: Operators;
  readonly compiled: PassOperators;
}

/** Operators of every resample, their forms with the coefficients drawn; ratios of single shapes stay. */
export function drawOperators(operators: Operators, draws: ReadonlyMap<string, Resamples>, target: FitTarget): DrawnOperators[] {
  const { forms } = operators;
  return Array.from({ length: RESAMPLES }, (_, i) => {
    const drawn = (name: string, p: readonly number[]): number[] => [...(draws.get(name)?.[i] ?? p)];
    const memory = MEMORY_KINDS.map((kind) => {
      const [a_us, e] = drawn(kind, [forms[kind].a_us, forms[kind].e]) as [number, number];
      return [kind, { a_us, e }] as const;
    });
    const one: Operators = {
      ...operators,
      forms: {
        ...forms,
        ...Object.fromEntries(memory),
        gemm: Object.fromEntries(Object.entries(forms.gemm).map(([type, form]) => [type, { ...form, p: drawn(`gemm ${type}`, form.p) }])),
        ctx: { ...forms.ctx, p: drawn('ctx', forms.ctx.p) },
        gen: { ...forms.gen, p: drawn('gen', forms.gen.p) },
      },
    };
    return { operators: one, compiled: compileOperators(one, target) };
  });
}

/** The pass model, with its parameters in every resample. */
export interface DrawnStructure {
  readonly structure: StructureFit;
  readonly draws: Resamples;
}

/** Fits the pass model. Parameters that turn out not to be identified take their defaults, and the others are fitted again. */
export function identifyStructure(points: readonly FitPoint[], operators: Operators, target: FitTarget, drawn: readonly DrawnOperators[], random: () => RandomStream): DrawnStructure {
  const compiled = compileOperators(operators, target);
  let structure = fitStructure(points, operators, compiled, target);
  for (;;) {
    const { found, free, problemOver } = structure;
    if (found === null) return { structure, draws: [] };
    const draws = resample(found, random(), (i) => problemOver(drawn[i]!.operators, drawn[i]!.compiled));
    const intervals = coefficientIntervals(found, draws);
    if (!intervals.includes(null)) return { structure, draws };
    structure = fitStructure(points, operators, compiled, target, undefined, free.filter((_, i) => intervals[i] !== null));
  }
}
