import { randomStream, type RandomStream } from '../core/random.js';
import type { SpeculativeSpec } from '../scenario/scenario.js';

/**
 * Multi-token prediction: how many tokens a request gets per pass. Draft i is accepted with the i-th
 * conditional probability; the first rejection ends the burst. Source: spec engine section 6.6.
 */
export class Speculation {
  /** Tokens of the longest burst. */
  readonly longest: number;
  private readonly accept: readonly number[];
  private readonly random: RandomStream;

  constructor(spec: SpeculativeSpec, worker: number) {
    this.longest = spec.tokens + 1;
    this.accept = Array.from({ length: spec.tokens }, (_, draft) => spec.accept[draft] ?? 0);
    this.random = randomStream(spec.seed, `engine/speculation/${worker}`);
  }

  /** Tokens of one burst for a request with `remaining` > 0 to go. */
  draw(remaining: number): number {
    let burst = 1;
    for (const probability of this.accept) {
      if (this.random.next() >= probability) break;
      burst++;
    }
    return Math.min(burst, remaining);
  }
}
