import type { AttentionOperator, ForwardModel, PassOperator } from './forward-model.js';
import { kernelFacts } from './kernel-facts.js';
import { CountTable, LengthTable } from './length-table.js';
import { contextRest, generationAttention, generationRest } from './step-times.js';

/** Token counts and prompt lengths up to these are remembered one by one. */
const REMEMBERED_TOKENS = 32768;
const REMEMBERED_LENGTH = 131072;

/**
 * A forward model as dense tables, filled as they are asked for: pass times by token count, attention
 * of one prompt by length, decode attention by batch over length. Milliseconds. One instance serves every worker, candidate
 * and parameter set of its shape.
 */
export class CompiledModel {
  readonly layers: number;
  /** Kernels that a pass with prompts launches. */
  readonly launches: number;
  private readonly context: CountTable;
  private readonly generation: CountTable;
  /** What runs over the tokens of all data-parallel ranks together. */
  private readonly groupContext: CountTable | null;
  private readonly groupGeneration: CountTable | null;
  private readonly logits: CountTable;
  private readonly prompt: CountTable;
  private readonly decode: LengthTable;

  constructor(model: ForwardModel) {
    const { worker, operators, attention } = model;
    const ranks = worker.layout.attentionDp;
    const isGroup = (operator: PassOperator): boolean => ranks > 1 && operator.path === 'routed';
    const own = operators.filter((operator) => !isGroup(operator));
    const group = operators.filter(isGroup);
    const perPass = attention.reduce((sum, { layers, contextExtra }) => sum + layers * contextExtra, 0);
    const projections = (tokens: number): number => attention.reduce((sum, operator) => sum + operator.layers * (operator.projections?.(tokens) ?? 0), 0);
    this.layers = worker.model.layers;
    this.launches = launchesOf(model);
    this.context = new CountTable(REMEMBERED_TOKENS, (tokens) => contextRest(own, tokens) + projections(tokens) + perPass);
    this.generation = new CountTable(REMEMBERED_TOKENS, (tokens) => generationRest(own, tokens));
    this.groupContext = ranks > 1 ? new CountTable(REMEMBERED_TOKENS, (tokens) => contextRest(group, tokens / ranks)) : null;
    this.groupGeneration = ranks > 1 ? new CountTable(REMEMBERED_TOKENS, (tokens) => generationRest(group, tokens / ranks)) : null;
    this.logits = new CountTable(REMEMBERED_TOKENS, model.logits);
    this.prompt = new CountTable(REMEMBERED_LENGTH, (length) => attention.reduce((sum, operator) => sum + operator.layers * promptAttention(operator, length), 0));
    this.decode = new LengthTable((b, s) => generationAttention(model, b, s));
  }

  /** Everything but attention and logits in a pass with prompts: tokens of this rank, and of all ranks together. */
  contextMs(tokens: number, groupTokens: number): number {
    const own = this.context.at(tokens);
    return this.groupContext === null ? own : own + this.groupContext.at(groupTokens);
  }

  /** The same in a decode pass. */
  generationMs(tokens: number, groupTokens: number): number {
    const own = this.generation.at(tokens);
    return this.groupGeneration === null ? own : own + this.groupGeneration.at(groupTokens);
  }

  logitsMs(rows: number): number {
    return this.logits.at(rows);
  }

  /** Attention of one prompt from `start` to `end`. */
  chunkMs(start: number, end: number): number {
    return this.prompt.at(end) * (1 - (start / end) ** 2);
  }

  /** Attention of one decode step of b requests about a mean length of s tokens: as `LengthTable.lineAt`. */
  decodeAttentionLine(b: number, s: number): Readonly<Float64Array> {
    return this.decode.lineAt(b, s);
  }
}

/** One layer's attention over one whole prompt, without projections that go by the pass's tokens. */
export function promptAttention({ context, projections }: AttentionOperator, length: number): number {
  const whole = context(1, length);
  return projections === undefined ? whole : Math.max(whole - projections(length), kernelFacts().least_attention_share * whole);
}

/** Kernels of one pass with prompts; a product over quantised activations launches their quantisation as well. */
export function launchesOf({ operators, attention, worker }: ForwardModel): number {
  const { weights } = worker.quant;
  const kernels = kernelFacts().launches;
  const quantised = weights === 'bf16' || weights.endsWith('_wo') ? 1 : 2;
  const of = (name: string): number => kernels[name] ?? (name.endsWith('_gemm') ? quantised : 1);
  const qkNorm = worker.model.qk_norm ? 2 : 0;
  const attending = attention.reduce((sum, { name, layers }) => sum + layers * (of(name) + qkNorm), 0);
  return attending + operators.reduce((sum, { name, layers, context }) => sum + (context === null ? 0 : layers * of(name)), 0);
}
