import type { AttentionOperator, ForwardModel, PassOperator } from './forward-model.js';
import { contextRest, generationRest } from './step-times.js';

/** Token counts up to this are remembered one by one; larger ones are computed each time. */
const REMEMBERED = 32768;
const REMEMBERED_LENGTH = 131072;
/** Lengths at which decode attention is computed: so many to a doubling, linear between. */
const KNOTS = 4;
const OCTAVES = 24;

/**
 * A forward model as dense tables, filled as they are asked for: pass times by token count, attention
 * of one prompt by length, decode attention by batch over length. Milliseconds. One instance serves every worker, candidate
 * and parameter set of its shape.
 */
export class CompiledModel {
  private readonly context = new Remembered(REMEMBERED, (tokens) => contextRest(this.parts.rank, tokens) + this.projections(tokens));
  private readonly generation = new Remembered(REMEMBERED, (tokens) => generationRest(this.parts.rank, tokens));
  private readonly groupContext = new Remembered(REMEMBERED, (tokens) => contextRest(this.parts.group, tokens / this.ranks));
  private readonly groupGeneration = new Remembered(REMEMBERED, (tokens) => generationRest(this.parts.group, tokens / this.ranks));
  private readonly logits: Remembered;
  private readonly prompt: Remembered;
  private readonly parts: { readonly rank: readonly PassOperator[]; readonly group: readonly PassOperator[] };
  private readonly ranks: number;
  private readonly extra: number;
  /** By batch: decode attention at the knots. */
  private readonly decode: (Float64Array | undefined)[] = [];
  readonly layers: number;

  constructor(private readonly model: ForwardModel) {
    const { worker, operators, attention } = model;
    this.ranks = worker.layout.attentionDp;
    this.layers = worker.model.layers;
    const shared = (operator: PassOperator): boolean => this.ranks > 1 && operator.path === 'routed';
    this.parts = { rank: operators.filter((operator) => !shared(operator)), group: operators.filter(shared) };
    this.logits = new Remembered(REMEMBERED, model.logits);
    this.prompt = new Remembered(REMEMBERED_LENGTH, (length) => attention.reduce((sum, operator) => sum + operator.layers * wholePrompt(operator, length), 0));
    this.extra = attention.reduce((sum, { layers, contextExtra }) => sum + layers * contextExtra, 0);
  }

  /** Everything but attention and logits in a pass with prompts: tokens of this rank, and of all ranks together. */
  contextMs(tokens: number, groupTokens: number): number {
    const own = this.context.at(tokens) + this.extra;
    return this.ranks === 1 ? own : own + this.groupContext.at(groupTokens);
  }

  /** The same in a decode pass. */
  generationMs(tokens: number, groupTokens: number): number {
    const own = this.generation.at(tokens);
    return this.ranks === 1 ? own : own + this.groupGeneration.at(groupTokens);
  }

  logitsMs(rows: number): number {
    return this.logits.at(rows);
  }

  /** Attention of one prompt from `start` to `end`. */
  chunkMs(start: number, end: number): number {
    return this.prompt.at(end) * (1 - (start / end) ** 2);
  }

  /** Attention of one decode step of b requests at a mean length of s tokens. */
  decodeAttentionMs(b: number, s: number): number {
    const row = (this.decode[b] ??= new Float64Array(KNOTS * OCTAVES).fill(NaN));
    const whole = s < 1 ? 1 : Math.floor(s);
    const octave = 31 - Math.clz32(whole);
    const step = 2 ** octave / KNOTS;
    const quarter = Math.floor((s - 2 ** octave) / step);
    const from = 2 ** octave + quarter * step;
    const low = this.knot(row, b, KNOTS * octave + quarter, from);
    return low + ((this.knot(row, b, KNOTS * octave + quarter + 1, from + step) - low) * (s - from)) / step;
  }

  private projections(tokens: number): number {
    return this.model.attention.reduce((sum, { layers, projections }) => sum + layers * (projections?.(tokens) ?? 0), 0);
  }

  private knot(row: Float64Array, b: number, index: number, s: number): number {
    const known = row[index]!;
    if (!Number.isNaN(known)) return known;
    return (row[index] = this.model.attention.reduce((sum, { layers, generation }) => sum + layers * around(generation, b, s), 0));
  }
}

/** The mean over lengths from 0.9 s to 1.1 s (perf-model section 2.4). */
function around(generation: AttentionOperator['generation'], b: number, s: number): number {
  const low = Math.max(1, Math.floor(0.9 * s));
  const high = Math.floor(1.1 * s);
  let sum = 0;
  for (let i = 0; i < 5; i++) sum += generation(b, low + Math.floor(((high - low) * i) / 4));
  return sum / 5;
}

/** One layer's attention over one whole prompt, without projections that go by the pass's tokens. */
function wholePrompt({ context, projections }: AttentionOperator, length: number): number {
  const whole = context(1, length);
  return projections === undefined ? whole : Math.max(whole - projections(length), LEAST_ATTENTION * whole);
}

/** Share of a measured attention block that is attention at least. */
const LEAST_ATTENTION = 0.1;

class Remembered {
  private readonly values: Float64Array;

  constructor(
    private readonly largest: number,
    private readonly compute: (x: number) => number,
  ) {
    this.values = new Float64Array(largest + 1).fill(NaN);
  }

  at(x: number): number {
    if (x > this.largest || !Number.isInteger(x)) return this.compute(x);
    const known = this.values[x]!;
    return Number.isNaN(known) ? (this.values[x] = this.compute(x)) : known;
  }
}
