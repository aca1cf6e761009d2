import { Stepper, type Verdict } from './stepper.js';
import type { Sequence } from './sequence.js';

/** vLLM (V1): whole-prompt admission, at least one token recomputed, preemption by recomputation. Source: spec engine section 2. */
export class VllmStepper extends Stepper {
  protected outputLimit(_prompt: number, output: number): number {
    return output;
  }

  protected admission(sequence: Sequence): Verdict {
    const { pool, hits } = this.cache;
    const blocks = this.cache.blocksFor(sequence.known);
    if (sequence.prompt >= this.maxLength) return 'reject';
    if (sequence.fresh && blocks > pool.capacity) return 'reject';
    // Alone it must get room for its longest burst, or it would be sent back for ever.
    if (this.speculation && this.cache.blocksFor(sequence.known + Math.min(this.speculation.longest, sequence.output - sequence.generated)) > pool.capacity) return 'reject';
    this.cache.findHits(sequence, Math.floor((sequence.known - 1) / this.config.engine.blockTokens));
    if (this.config.engine.speculative) this.cache.dropLastHit();
    if (blocks - this.cache.hitsReferenced > pool.capacity - pool.active) return blocks > pool.capacity ? 'reject' : 'wait';
    const uncachedPrompt = sequence.prompt - Math.min(sequence.prompt, hits.length * this.config.engine.blockTokens);
    const neverFits = !this.config.engine.chunkedPrefill && uncachedPrompt > this.maxTokens && this.running.length === 0;
    return neverFits ? 'reject' : 'admit';
  }

  protected victim(): Sequence | undefined {
    return this.config.engine.preemption === 'lifo' ? this.running[this.running.length - 1] : this.running[0];
  }

  protected destinationHits(sequence: Sequence): number {
    return sequence.promptBlocks;
  }

  protected destinationFits(): boolean {
    return true;
  }
}
