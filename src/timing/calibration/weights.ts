import { z } from 'zod';
import { CASE_BACKENDS } from './effects.js';
import type { Weight } from './factors.js';

/**
 * Weights of training rows as JSON: names once, then a row of numbers each: indices of backend, family, system, precision and
 * version, then warm, tp, attention-DP, EP, prompt, output, concurrency, weights of TPOT and TTFT.
 */
export const weightsSchema = z.strictObject({
  schema: z.literal('dynotwin.weights/1'),
  names: z.array(z.string()),
  rows: z.array(z.tuple([...(Array(12).fill(z.number().int().min(0)) as [z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber, z.ZodNumber]), z.number().nullable(), z.number().nullable()])),
});

export function packWeights(weights: readonly Weight[]): string {
  const names = new Map<string, number>();
  const nameIndex = (name: string): number => {
    const index = names.get(name) ?? names.size;
    names.set(name, index);
    return index;
  };
  const digits = (value: number | null): string => (value === null ? 'null' : String(Number(value.toPrecision(7))));
  const rows = weights.map(({ features: f, alpha }) => {
    const named = [f.backend, f.family, f.system, f.precision, f.version].map(nameIndex);
    return `[${[...named, Number(f.warm), f.tp, f.attentionDp, f.moeEp, f.isl, f.osl, f.concurrency, digits(alpha.tpot), digits(alpha.ttft)].join(',')}]`;
  });
  return `{"schema":"dynotwin.weights/1","names":${JSON.stringify([...names.keys()])},"rows":[\n${rows.join(',\n')}\n]}\n`;
}

/** Throws `RangeError` for a name that is not there. */
export function unpackWeights({ names, rows }: z.infer<typeof weightsSchema>): Weight[] {
  const nameAt = (index: number): string => {
    const name = names[index];
    if (name === undefined) throw new RangeError(`no name ${index} in the weights`);
    return name;
  };
  return rows.map(([backend, family, system, precision, version, warm, tp, attentionDp, moeEp, isl, osl, concurrency, tpot, ttft]) => {
    const known = CASE_BACKENDS.find((one) => one === nameAt(backend));
    if (known === undefined) throw new RangeError(`no backend ${nameAt(backend)}`);
    return {
      features: { backend: known, family: nameAt(family), system: nameAt(system), precision: nameAt(precision), version: nameAt(version), warm: warm === 1, tp, attentionDp, moeEp, isl, osl, concurrency },
      alpha: { tpot, ttft },
    };
  });
}
