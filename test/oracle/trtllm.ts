import { Stepper, type Verdict } from './stepper.js';
import type { Sequence } from './sequence.js';

/**
 * TensorRT-LLM, GUARANTEED_NO_EVICT: a request is admitted only when it can run to its end beside
 * those that run; nobody is ever preempted. Source: spec engine section 4, compat part 4 P3-P4.
 */
export class TrtllmStepper extends Stepper {
  /** Cut to what the whole cache holds, and to the context length. */
  protected outputLimit(prompt: number, output: number): number {
    const capacityTokens = this.cache.pool.capacity * this.config.engine.blockTokens;
    const fitting = prompt < capacityTokens ? Math.min(output, capacityTokens - prompt) : output;
    return prompt < this.maxLength ? Math.min(fitting, this.maxLength - prompt) : fitting;
  }

  protected admission(sequence: Sequence): Verdict {
    const { pool } = this.cache;
    if (sequence.prompt >= this.maxLength) return 'reject';
    if (this.toCompletion(sequence) > pool.capacity) return 'reject';
    this.cache.findHits(sequence, sequence.promptBlocks);
    if (this.toCompletion(sequence) - this.cache.hitsReferenced > this.available()) return 'wait';
    const uncachedPrompt = sequence.prompt - this.cache.hits.length * this.config.engine.blockTokens;
    const neverFits = !this.config.engine.chunkedPrefill && uncachedPrompt > this.maxTokens && this.running.length === 0;
    return neverFits ? 'reject' : 'admit';
  }

  protected victim(): undefined {
    return undefined;
  }

  protected destinationHits(): number {
    return 0;
  }

  protected destinationFits(sequence: Sequence): boolean {
    return this.toCompletion(sequence) <= this.available();
  }

  private toCompletion(sequence: Sequence): number {
    return this.cache.blocksFor(sequence.prompt + sequence.output);
  }

  /** Blocks neither in use nor promised to requests on their way to their end. */
  private available(): number {
    const { pool } = this.cache;
    let promised = 0;
    for (const sequence of this.running) promised += this.toCompletion(sequence) - sequence.blocks.length;
    for (const sequence of this.reserved.values()) promised += this.toCompletion(sequence) - sequence.blocks.length;
    for (const sequence of this.waiting) if (sequence.materialised) promised += this.toCompletion(sequence) - sequence.blocks.length;
    return pool.capacity - pool.active - promised;
  }
}
