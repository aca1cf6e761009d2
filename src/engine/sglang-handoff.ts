import type { SglangPages } from './sglang-pages.js';
import type { SglangSequence } from './sglang-sequence.js';

/**
 * The two ends of a handoff on one engine: finished prompts whose cache is still being copied away
 * (prefill role), and room set aside for prompts to come (decode role). Source: spec engine section 8.
 */
export class SglangHandoffs {
  private readonly held = new Map<number, SglangSequence>();
  private readonly reserved = new Map<number, SglangSequence>();
  /** Counts what may have freed pages: a refused reservation is not tried again before. */
  private releases = 0;
  private refused = { request: -1, releases: -1 };

  constructor(private readonly pages: SglangPages) {}

  get reservations(): number {
    return this.reserved.size;
  }

  /** Prompts that someone outside will release or activate. */
  get size(): number {
    return this.held.size + this.reserved.size;
  }

  /** Finished prompts that are still being copied away, and prompts to come. For checks. */
  get sources(): Iterable<SglangSequence> {
    return this.held.values();
  }

  get destinations(): Iterable<SglangSequence> {
    return this.reserved.values();
  }

  /** Pages may have become free. */
  noteRelease(): void {
    this.releases++;
  }

  hold(sequence: SglangSequence): void {
    this.held.set(sequence.request, sequence);
  }

  release(request: number): void {
    this.pages.finish(remove(this.held, request, 'held'));
    this.releases++;
  }

  /** Sets pages aside for a whole prompt; false when there is no room. */
  reserve(sequence: SglangSequence): boolean {
    const { request } = sequence;
    if (this.refused.request === request && this.refused.releases === this.releases) return false;
    if (!this.pages.acquire(sequence, sequence.prompt, sequence.prompt)) {
      this.refused = { request, releases: this.releases };
      return false;
    }
    this.reserved.set(request, sequence);
    return true;
  }

  /** The prompt is here: what the cache has of it by now it shares. */
  activate(request: number): SglangSequence {
    const sequence = remove(this.reserved, request, 'reserved');
    const freeBefore = this.pages.radix.free;
    this.pages.cachePrefix(sequence);
    if (this.pages.radix.free > freeBefore) this.releases++;
    return sequence;
  }

  cancel(request: number): void {
    this.pages.drop(remove(this.reserved, request, 'reserved'));
    this.releases++;
  }
}

function remove(sequences: Map<number, SglangSequence>, request: number, state: string): SglangSequence {
  const sequence = sequences.get(request);
  if (!sequence) throw new Error(`invariant broken: request ${request} is not ${state}`);
  sequences.delete(request);
  return sequence;
}
