import type { CompiledModel } from './compiled-model.js';
import { extrapolates } from './measured-sizes.js';
import type { PassShape, PassTiming } from './timing.js';

/** What no kernel table holds (accuracy section 3). */
export interface PassParameters {
  /** Multiply table times: decode, decode attention within it, passes with prompts. */
  readonly mDec: number;
  readonly mGa: number;
  readonly mPre: number;
  /** Host time of a pass, ms. */
  readonly hostMs: number;
  /** Least time of a pass with prompts: µs for each kernel it launches. */
  readonly launchUs: number;
}

/**
 * Pass times of a real engine: kernels from the tables, each kind scaled, host time, and the floor of passes that run
 * outside full CUDA graphs (accuracy section 3). A pass with prompts runs its matrices once over all its tokens,
 * so all of it counts as prefill time.
 *
 * @param drafts tokens drafted per decode step: the matrices then run over `drafts + 1` tokens a request, and the drafting layers count
 */
export function realisticTiming(model: CompiledModel, parameters: PassParameters, drafts = 0, factors: PassFactors = NO_FACTORS): PassTiming {
  return new RealisticTiming(model, parameters, drafts, factors);
}

/** What multiplies whole passes: with prompts, and without. */
export interface PassFactors {
  readonly prefill: number;
  readonly decode: number;
}

const NO_FACTORS: PassFactors = { prefill: 1, decode: 1 };

class RealisticTiming implements PassTiming {
  private readonly floor: number;
  private readonly perRequest: number;
  /** On decode kernels, and on decode attention. */
  private readonly decodeScale: number;
  private readonly attentionScale: number;
  // Passes that follow each other mostly hold the same requests: what they take beside attention.
  private lastRequests = -1;
  private lastGroup = -1;
  private lastMs = NaN;
  private lineRequests = -1;
  private lineFrom = NaN;
  private lineTo = NaN;
  private lineMs = NaN;
  private linePerToken = NaN;

  constructor(
    private readonly model: CompiledModel,
    private readonly parameters: PassParameters,
    drafts: number,
    private readonly factors: PassFactors,
  ) {
    this.floor = (parameters.launchUs / 1000) * model.launches;
    this.perRequest = drafts + 1;
    this.decodeScale = (parameters.mDec * (model.layers + drafts)) / model.layers;
    this.attentionScale = this.decodeScale * parameters.mGa;
  }

  prefillMs(shape: PassShape): number {
    const { perRequest, model } = this;
    const { mPre, hostMs } = this.parameters;
    const { prefillRequests, decodeRequests } = shape;
    // A request in the pass runs at least its last token, even where the scheduler counts its prompt as cached whole.
    const tokens = Math.max(shape.prefillEndTokens - shape.prefillStartTokens, prefillRequests) + decodeRequests * perRequest;
    const group = Math.max(shape.groupPrefillTokens + shape.groupDecodeRequests * perRequest, tokens);
    const kernels = mPre * (model.contextMs(tokens, group) + model.logitsMs(prefillRequests + decodeRequests * perRequest) + shape.prefillChunksMs);
    return this.factors.prefill * (Math.max(decodeRequests > 0 ? kernels + this.attentionMs(shape) : kernels, this.floor) + hostMs);
  }

  decodeMs(shape: PassShape): number {
    if (shape.prefillRequests > 0) return 0;
    const { decodeRequests, groupDecodeRequests } = shape;
    if (decodeRequests !== this.lastRequests || groupDecodeRequests !== this.lastGroup) this.rememberRest(decodeRequests, groupDecodeRequests);
    return this.factors.decode * (this.lastMs + this.attentionMs(shape));
  }

  chunkMs(start: number, end: number): number {
    return this.model.chunkMs(start, end);
  }

  extrapolates(shape: PassShape): boolean {
    return extrapolates(shape);
  }

  private attentionMs({ decodeRequests, decodeContextTokens }: PassShape): number {
    if (decodeRequests !== this.lineRequests || decodeContextTokens < this.lineFrom || decodeContextTokens >= this.lineTo) this.findLine(decodeRequests, decodeContextTokens);
    return this.lineMs + this.linePerToken * decodeContextTokens;
  }

  /** Attention as a line over the cached tokens of all requests, as far as their mean length stays on one piece of the table. */
  private findLine(requests: number, contextTokens: number): void {
    const [from, to, ms, perToken] = this.model.decodeAttentionLine(requests, contextTokens / requests + 1) as unknown as [number, number, number, number];
    this.lineRequests = requests;
    this.lineFrom = (from - 1) * requests;
    this.lineTo = (to - 1) * requests;
    this.linePerToken = (this.attentionScale * perToken) / requests;
    this.lineMs = this.attentionScale * (ms + perToken * (1 - from));
  }

  private rememberRest(requests: number, group: number): void {
    const tokens = requests * this.perRequest;
    this.lastRequests = requests;
    this.lastGroup = group;
    this.lastMs = this.decodeScale * (this.model.generationMs(tokens, Math.max(group * this.perRequest, tokens)) + this.model.logitsMs(tokens)) + this.parameters.hostMs;
  }
}
