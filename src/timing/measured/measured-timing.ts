import { InputError } from '../../core/problem.js';
import { CountTable } from '../length-table.js';
import type { PassShape, PassTiming } from '../timing.js';
import { GenerationTable, PromptTable } from './attention-tables.js';
import { joined, type HostTimes, type PassOperators, type PassStructure } from './law.js';
import type { MeasuredProfile } from './profile-schema.js';

/** Token counts and batches up to these are remembered one by one. */
const REMEMBERED_TOKENS = 32768;

/** Beyond the measured sizes by more than this factor a pass is refused. */
const REACH = 2;

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
 * Pass times of a measured profile as dense tables, filled as they are asked for (spec calibration 6.3): everything but attention by
 * tokens, prompts by (new, past), decode attention by batch over context. A pass with prompts runs its matrices once over all its tokens
 * outside graphs, so all of it counts as prefill time; a decode pass runs in the next larger graph.
 *
 * Every prompt in a pass is taken to yield a token: schedulers do not say which chunks end a prompt.
 */
export class MeasuredTiming implements PassTiming {
  readonly readsLongest: boolean;
  private readonly linUs: CountTable;
  private readonly logitsUs: CountTable;
  private readonly prompts: PromptTable;
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
    this.prompts = new PromptTable((fresh, past) => operators.ctx([[fresh, past]]));
    this.generation = new GenerationTable(structure.lambda, (batch, sum, effective) => operators.gen(batch, sum, effective));
    this.readsLongest = structure.lambda > 0;
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
    const { prefillRequests } = shape;
    const decodeRequests = this.serial ? 0 : shape.decodeRequests;
    // A request in the pass runs at least its last token, even where the scheduler counts its prompt as cached whole.
    const tokens = Math.max(shape.prefillEndTokens - shape.prefillStartTokens, prefillRequests) + decodeRequests;
    const ctx = shape.prefillChunksMs * 1000 - (prefillRequests - 1) * this.passes.operators.ctxOnce;
    const gen = decodeRequests === 0 ? 0 : this.generation.at(decodeRequests, shape.decodeContextTokens, shape.decodeLongestTokens);
    return this.passMs(tokens, prefillRequests + decodeRequests, joined(ctx, gen, this.passes.structure.kappa), this.eagerUs, prefillRequests + decodeRequests, tokens);
  }

  decodeMs(shape: PassShape): number {
    if (shape.prefillRequests > 0 && !this.serial) return 0;
    const batch = shape.decodeRequests;
    const inGraph = batch <= this.largestGraph;
    const tokens = inGraph ? this.padded[batch]! : batch;
    const gen = this.generation.at(batch, shape.decodeContextTokens, shape.decodeLongestTokens);
    return this.passMs(tokens, tokens, gen, inGraph ? this.passes.host.graphUs : this.eagerUs, batch, batch);
  }

  chunkMs(startTokens: number, endTokens: number): number {
    // The last token is computed even where all of a prompt is cached.
    const fresh = Math.max(1, endTokens - startTokens);
    return this.prompts.at(fresh, endTokens - fresh) / 1000;
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
    if (prefillRequests > 0) {
      factor = Math.max((shape.prefillEndTokens - shape.prefillStartTokens) / prefill_tokens[1], shape.prefillStartTokens / prefillRequests / Math.max(past[1], 1));
    }
    if (decodeRequests > 0) factor = Math.max(factor, decodeRequests / batch[1], shape.decodeContextTokens / decodeRequests / context[1]);
    return factor;
  }

  private outside(shape: PassShape, factor: number): InputError {
    const { prefillRequests, decodeRequests } = shape;
    const { prefill_tokens, past, batch, context } = this.passes.domain;
    const prompts = prefillRequests === 0 ? '' : `${shape.prefillEndTokens - shape.prefillStartTokens} prompt tokens after ${Math.round(shape.prefillStartTokens / prefillRequests)}`;
    const decodes = decodeRequests === 0 ? '' : `${decodeRequests} decodes at ${Math.round(shape.decodeContextTokens / decodeRequests)} tokens`;
    return new InputError({
      code: 'E-DOMAIN',
      path: 'timing.source',
      what: `a pass of ${[prompts, decodes].filter(Boolean).join(' and ')} is ${factor.toFixed(1)} times beyond what was measured (${prefill_tokens[1]} prompt tokens after ${past[1]}, ${batch[1]} decodes at ${context[1]} tokens)`,
      hint: "measure a larger plan, or set 'timing: {source: measured, miss: estimate}'",
    });
  }
}
