import { z } from 'zod';

/** Launch settings as data: how public recipes start an engine, by version range, model and GPU. */

const count = z.number().int().positive();

/** A number, or max(at_least, isl·prompt tokens + concurrency·requests in flight + plus), at most `at_most`. */
const amount = z.union([count, z.strictObject({ at_least: count.optional(), isl: count.optional(), concurrency: count.optional(), plus: count.optional(), at_most: count.optional() })]);
export type Amount = z.infer<typeof amount>;

export const recipeSchema = z.strictObject({
  /** Where the settings were read. */
  source: z.string(),
  /** First engine version they are known of, and the first they no longer are. */
  from: z.string().optional(),
  before: z.string().optional(),
  /** Parts of model names, checkpoint precisions, GPUs and tensor-parallel degrees it is for; absent = all. */
  models: z.array(z.string()).optional(),
  quant: z.array(z.string()).optional(),
  hardware: z.array(z.string()).optional(),
  tp: z.array(count).optional(),
  max_num_batched_tokens: amount,
  max_num_seqs: amount.optional(),
  chunked_prefill: z.boolean(),
  prefix_caching: z.boolean(),
  /** Decode passes between two looks at the queue, by concurrency: the first whose bound is above it. */
  receive_interval: z.array(z.strictObject({ below: count.optional(), passes: count })).min(1),
  memory_fraction: z.number().positive().max(1).optional(),
  /** Largest batch with captured graphs. */
  graph_batch: amount.optional(),
});
export type Recipe = z.infer<typeof recipeSchema>;

export interface Load {
  /** Requests in flight, and prompt tokens. */
  readonly concurrency: number;
  readonly isl: number;
}

/** What an amount is under a load. */
export function amountOf(rule: Amount, { concurrency, isl }: Load): number {
  if (typeof rule === 'number') return rule;
  const sum = (rule.isl ?? 0) * isl + (rule.concurrency ?? 0) * concurrency + (rule.plus ?? 0);
  return Math.min(Math.max(rule.at_least ?? 1, sum), rule.at_most ?? Infinity);
}

/** An amount as text: `max(8192, isl + concurrency + 128)`. */
export function amountText(rule: Amount): string {
  if (typeof rule === 'number') return String(rule);
  const term = (factor: number | undefined, name: string): string[] => (factor === undefined ? [] : [factor === 1 ? name : `${factor}·${name}`]);
  const sum = [...term(rule.isl, 'isl'), ...term(rule.concurrency, 'concurrency'), ...(rule.plus === undefined ? [] : [String(rule.plus)])].join(' + ');
  const least = rule.at_least === undefined ? sum : `max(${rule.at_least}, ${sum})`;
  return rule.at_most === undefined ? least : `min(${rule.at_most}, ${least})`;
}

/** Versions by number, `rc` before the release, `post` after it. */
export function compareVersions(one: string, other: string): number {
  const parts = (version: string): number[] => {
    const match = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:[.-]?rc(\d+))?(?:\.?post(\d+))?/.exec(version);
    if (match === null) return [Infinity];
    const [, major, minor, patch, candidate, post] = match;
    return [major, minor ?? 0, patch ?? 0, candidate ?? Infinity, post ?? 0].map(Number);
  };
  const [a, b] = [parts(one), parts(other)];
  const index = a.findIndex((part, at) => part !== (b[at] ?? 0));
  return index < 0 ? 0 : a[index]! < (b[index] ?? 0) ? -1 : 1;
}
