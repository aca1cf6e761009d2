import { InputError } from '../../core/problem.js';
import { CountTable } from '../length-table.js';
import type { PassShape, PassTiming } from '../timing.js';
import { GenerationTable } from './generation-table.js';
import { joined, type HostTimes, type PassOperators, type PassStructure, type PromptSums } from './law.js';
import type { MeasuredProfile } from './profile-schema.js';

/** Token counts and batches up to these are remembered one by one. */
const REMEMBERED_TOKENS = 32768;

/** Beyond the measured sizes by more than this factor a pass is refused. */
export const REACH = 2;

/** What a measured profile says of the passes of one worker. */
export interface MeasuredPasses {
  readonly operators: PassOperators;
  readonly structure: PassStructure;
  readonly host: HostTimes;
  /** Batch sizes of captured decode graphs, rising. */
  readonly graphs: readonly number[];
  readonly domain: MeasuredProfile['domain'];
  /** True: passes far beyond the domain are estimated; else they throw `E-DOMAIN`. */
  readonly estimates: boolean;
}

/**
 * Pass times of a measured profile (spec calibration 6.3, 7.2): all but attention as tables by tokens, decode attention by batch over context, filled as they
 * are asked for; attention over prompts from sums over them, as the fit has it. A pass with prompts runs its matrices once over all its tokens outside graphs,
 * so all of it counts as prefill time; a pass of single tokens runs in the next larger graph, those that end a cached prompt among them.
 *
 * Every prompt in a pass is taken to yield a token: schedulers do not say which chunks end a prompt.
 */
export class MeasuredTiming implements PassTiming {
  readonly readsLengths = true;
  private readonly linUs: CountTable;
  private readonly logitsUs: CountTable;
  /** Of the pass at hand, refilled each time. */
  private readonly prompts: PromptSums = { work: NaN, fresh: NaN, ends: NaN, longestFresh: 0, longestPast: 0 };
  private readonly generation: GenerationTable;
  private readonly eagerUs: number;
  private readonly fixedUs: number;
  private readonly largestGraph: number;
  /** By batch: the graph it runs in. */
  private readonly padded: Int32Array;

  /** @param serial prefill and decode work of a pass follow each other, as the references have it */
  constructor(
    private readonly passes: MeasuredPasses,
    private readonly serial = false,
  ) {
    const { operators, structure, host, graphs } = passes;
    this.linUs = new CountTable(REMEMBERED_TOKENS, (tokens) => operators.lin(tokens));
    this.logitsUs = new CountTable(REMEMBERED_TOKENS, (rows) => operators.logits(rows));
    this.generation = new GenerationTable(structure.lambda, (batch, sum, effective) => operators.gen(batch, sum, effective));
    this.eagerUs = operators.launches * host.launchUs;
    this.fixedUs = operators.layers * structure.gLayerUs + structure.gPassUs;
    this.largestGraph = graphs.at(-1) ?? 0;
    this.padded = new Int32Array(this.largestGraph + 1);
    for (let batch = 1, at = 0; batch <= this.largestGraph; batch++) {
      if (batch > graphs[at]!) at++;
      this.padded[batch] = graphs[at]!;
    }
  }

  prefillMs(shape: PassShape): number {
    const { prefillRequests, prefillSteps, prefillStepTokens } = shape;
    const decodes = this.serial ? 0 : shape.decodeRequests;
    const batch = decodes + prefillSteps;
    const context = prefillStepTokens + (decodes === 0 ? 0 : shape.decodeContextTokens);
    const longest = decodes === 0 ? shape.prefillStepLongest : Math.max(shape.prefillStepLongest, shape.decodeLongestTokens);
    if (shape.prefillLongestEnd === 0 && batch > 0) return this.stepMs(batch, context, longest);
    const { prompts, passes: { operators, structure } } = this;
    const fresh = shape.prefillEndTokens - shape.prefillStartTokens;
    prompts.work = shape.prefillAttentionTokens2 - (2 * prefillStepTokens - prefillSteps);
    prompts.fresh = fresh - prefillSteps;
    prompts.ends = shape.prefillEndTokens - prefillStepTokens;
    prompts.longestFresh = shape.prefillLongestEnd - shape.prefillLongestStart;
    prompts.longestPast = shape.prefillLongestStart;
    const ctx = shape.prefillLongestEnd === 0 ? 0 : operators.ctx(prompts);
    const gen = batch === 0 ? 0 : this.generation.at(batch, context, longest);
    // A request in the pass runs at least its last token, even where the scheduler counts its prompt as cached whole.
    const tokens = Math.max(fresh, prefillRequests) + decodes;
    const rows = prefillRequests + decodes;
    return this.passMs(tokens, rows, joined(ctx, gen, structure.kappa), this.eagerUs, rows, tokens);
  }

  decodeMs(shape: PassShape): number {
    if (shape.prefillRequests > 0 && !this.serial) return 0;
    return this.stepMs(shape.decodeRequests, shape.decodeContextTokens, shape.decodeLongestTokens);
  }

  /** A pass in which every sequence computes one token. */
  private stepMs(batch: number, context: number, longest: number): number {
    const inGraph = batch <= this.largestGraph;
    const tokens = inGraph ? this.padded[batch]! : batch;
    return this.passMs(tokens, tokens, this.generation.at(batch, context, longest), inGraph ? this.passes.host.graphUs : this.eagerUs, batch, batch);
  }

  /** Throws `InputError` (`E-DOMAIN`) for a pass further beyond the measured sizes than twice, unless they are to be estimated. */
  extrapolates(shape: PassShape): boolean {
    const beyond = this.beyond(shape);
    if (beyond > REACH && !this.passes.estimates) throw this.outside(shape, beyond);
    return beyond > 1;
  }

  private passMs(tokens: number, logitRows: number, attentionUs: number, issueUs: number, rows: number, fresh: number): number {
    const { structure, host } = this.passes;
    const gpuUs = structure.rho * (this.linUs.at(tokens) + this.logitsUs.at(logitRows)) + attentionUs + this.fixedUs;
    return Math.max(gpuUs, issueUs) / 1000 + host.h0Ms + host.h1Ms * rows + host.h2Ms * fresh;
  }

  /** The largest factor by which any size exceeds what was measured. */
  private beyond(shape: PassShape): number {
    const { prefill_tokens, past, batch, context } = this.passes.domain;
    const { prefillRequests, decodeRequests } = shape;
    let factor = 0;
    if (prefillRequests > 0) factor = Math.max((shape.prefillEndTokens - shape.prefillStartTokens) / prefill_tokens[1], shape.prefillLongestStart / Math.max(past[1], 1));
    if (decodeRequests > 0) factor = Math.max(factor, decodeRequests / batch[1], shape.decodeLongestTokens / context[1]);
    return factor;
  }

  private outside(shape: PassShape, factor: number): InputError {
    const { prefillRequests, decodeRequests } = shape;
    const { prefill_tokens, past, batch, context } = this.passes.domain;
    const prompts = prefillRequests === 0 ? '' : `${shape.prefillEndTokens - shape.prefillStartTokens} prompt tokens after up to ${shape.prefillLongestStart}`;
    const decodes = decodeRequests === 0 ? '' : `${decodeRequests} decodes at up to ${shape.decodeLongestTokens} tokens`;
    return new InputError({
      code: 'E-DOMAIN',
      path: 'timing.source',
      what: `a pass of ${[prompts, decodes].filter(Boolean).join(' and ')} is ${factor.toFixed(1)} times beyond what was measured (${prefill_tokens[1]} prompt tokens after ${past[1]}, ${batch[1]} decodes at ${context[1]} tokens)`,
      hint: "measure a larger plan, or set 'timing: {source: measured, miss: estimate}'",
    });
  }
}
