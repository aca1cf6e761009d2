import { BlockCore } from './block-core.js';
import type { Verdict } from './block-state.js';

/** vLLM (V1): whole-prompt admission, at least one token recomputed, preemption by recomputation. Source: spec engine section 2. */
export class VllmCore extends BlockCore {
  protected outputLimit(_prompt: number, output: number): number {
    return output;
  }

  protected admission(request: number): Verdict {
    const { cache, sequences } = this;
    const { pool } = cache;
    const prompt = sequences.prompt[request]!;
    const known = sequences.known(request);
    const blocks = cache.blocksFor(known);
    if (prompt >= this.maxLength) return 'reject';
    if (blocks > pool.capacity && sequences.fresh[request] === 1) return 'reject';
    // Alone it must get room for its longest burst, or it would be sent back for ever.
    if (this.speculation && cache.blocksFor(known + Math.min(this.speculation.longest, sequences.output[request]! - sequences.generated[request]!)) > pool.capacity) return 'reject';
    cache.findHits(request, Math.floor((known - 1) / this.blockTokens));
    if (this.config.engine.speculative) cache.dropLastHit(request);
    if (blocks - cache.hitsReferenced > pool.capacity - pool.active) return blocks > pool.capacity ? 'reject' : 'wait';
    const uncachedPrompt = prompt - Math.min(prompt, cache.hits * this.blockTokens);
    const neverFits = !this.chunking && uncachedPrompt > this.maxTokens && this.running.count === 0;
    return neverFits ? 'reject' : 'admit';
  }

  protected victim(): number {
    return this.config.engine.preemption === 'lifo' ? this.running.last : this.running.first;
  }

  protected destinationHits(request: number): number {
    return this.sequences.promptBlocks(request);
  }

  protected destinationFits(): boolean {
    return true;
  }
}
