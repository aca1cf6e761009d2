/** Checkpoints of one architecture that go by several names, under the name that measured rows mostly give them. */
const ONE_ARCHITECTURE: readonly (readonly [RegExp, string])[] = [
  [/^DeepSeek-(V3|V3\.1|R1)(-\d{4}|-Terminus)?$/, 'DeepSeek-R1'],
  [/^(Meta-)?Llama-3\.[13]-70B$/, 'Llama-3.1-70B'],
  [/^(Meta-)?Llama-3\.1-8B$/, 'Llama-3.1-8B'],
  [/^MiniMax-M2(\.\d)?$/, 'MiniMax-M2.5'],
  [/^Kimi-K2(\.5|-Thinking|-\d{4})?$/, 'Kimi-K2.5'],
];

/**
 * What deployments of a model share: its name without owner and precision, and of several names of one architecture one. Measured
 * rows of one are listed under the others, too. Source: spec accuracy section 1.
 */
export function familyOf(model: string): string {
  const name = model.slice(model.lastIndexOf('/') + 1).replace(/(-(NVFP4|FP4|FP8|BF16|INT4|Instruct|v2))+(?=-|$)/gi, '');
  return ONE_ARCHITECTURE.find(([pattern]) => pattern.test(name))?.[1] ?? name;
}
