import { requireBackend, requireModel } from './catalogue.js';
import { amountOf, compareVersions, type Load, type Recipe } from './recipe.js';

/** What a deployment is launched for. */
export interface RecipeQuestion extends Load {
  readonly model: string;
  readonly hardware: string;
  readonly tp: number;
}

/** Launch settings of one deployment under one load. */
export interface LaunchRecipe {
  readonly source: string;
  readonly maxNumBatchedTokens: number;
  /** Null = the engine's default. */
  readonly maxNumSeqs: number | null;
  readonly chunkedPrefill: boolean;
  readonly prefixCaching: boolean;
  readonly memoryFraction: number;
  /** Decode passes between two looks at the queue of new requests. */
  readonly receiveInterval: number;
  /** Largest batch with captured graphs; null = the engine's default. */
  readonly graphBatch: number | null;
}

/**
 * How public recipes launch an engine (accuracy section 1): the first entry of its file that is for this
 * version, model, GPU and degree. Null where there is none. Throws InputError for unknown names.
 */
export function launchRecipe(engine: string, version: string, question: RecipeQuestion): LaunchRecipe | null {
  const { recipes, memory_fraction: memoryFraction } = requireBackend(engine);
  const recipe = recipes.find((one) => serves(one, version, question));
  if (recipe === undefined) return null;
  const { concurrency } = question;
  const interval = recipe.receive_interval.find(({ below = Infinity }) => concurrency < below) ?? recipe.receive_interval.at(-1)!;
  return {
    source: recipe.source,
    maxNumBatchedTokens: amountOf(recipe.max_num_batched_tokens, question),
    maxNumSeqs: recipe.max_num_seqs === undefined ? null : amountOf(recipe.max_num_seqs, question),
    chunkedPrefill: recipe.chunked_prefill,
    prefixCaching: recipe.prefix_caching,
    memoryFraction: recipe.memory_fraction ?? memoryFraction,
    receiveInterval: interval.passes,
    graphBatch: recipe.graph_batch === undefined ? null : amountOf(recipe.graph_batch, question),
  };
}

function serves(recipe: Recipe, version: string, { model, hardware, tp }: RecipeQuestion): boolean {
  const { quant, name } = requireModel(model);
  const known = (recipe.from === undefined || compareVersions(version, recipe.from) >= 0) && (recipe.before === undefined || compareVersions(version, recipe.before) < 0);
  return (
    known &&
    (recipe.models?.some((part) => name.includes(part) || model.includes(part)) ?? true) &&
    (recipe.quant?.includes(quant) ?? true) &&
    (recipe.hardware?.includes(hardware) ?? true) &&
    (recipe.tp?.includes(tp) ?? true)
  );
}
