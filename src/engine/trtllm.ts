import { BlockCore } from './block-core.js';
import type { Verdict } from './block-state.js';

/**
 * TensorRT-LLM, GUARANTEED_NO_EVICT: a request is admitted only when it can run to its end beside
 * those that run; nobody is ever preempted. Source: spec engine section 4, compat part 4 P3-P4.
 */
export class TrtllmCore extends BlockCore {
  /** Cut to what the whole cache holds, and to the context length. */
  protected outputLimit(prompt: number, output: number): number {
    const capacityTokens = this.cache.pool.capacity * this.blockTokens;
    const fitting = prompt < capacityTokens ? Math.min(output, capacityTokens - prompt) : output;
    return prompt < this.maxLength ? Math.min(fitting, this.maxLength - prompt) : fitting;
  }

  protected admission(request: number): Verdict {
    const { cache, sequences } = this;
    const prompt = sequences.prompt[request]!;
    if (prompt >= this.maxLength) return 'reject';
    if (this.toCompletion(request) > cache.pool.capacity) return 'reject';
    cache.findHits(request, sequences.promptBlocks(request));
    if (this.toCompletion(request) - cache.hitsReferenced > this.available()) return 'wait';
    const uncachedPrompt = prompt - cache.hits * this.blockTokens;
    const neverFits = !this.chunking && uncachedPrompt > this.maxTokens && this.running.count === 0;
    return neverFits ? 'reject' : 'admit';
  }

  protected victim(): number {
    return -1;
  }

  protected destinationHits(): number {
    return 0;
  }

  protected destinationFits(request: number): boolean {
    return this.toCompletion(request) <= this.available();
  }

  private toCompletion(request: number): number {
    return this.cache.blocksFor(this.sequences.prompt[request]! + this.sequences.output[request]!);
  }

  /** Blocks neither in use nor promised to requests on their way to their end. */
  private available(): number {
    const { pool, owned } = this.cache;
    const { next } = this.running;
    let committed = 0;
    for (let request = this.running.first; request >= 0; request = next[request]!) committed += this.toCompletion(request);
    for (let request = this.reserved.first; request >= 0; request = next[request]!) committed += this.toCompletion(request);
    for (let request = this.waiting.first; request >= 0; request = next[request]!) if (this.sequences.materialised[request] === 1) committed += this.toCompletion(request);
    return pool.capacity - pool.active - (committed - owned);
  }
}
