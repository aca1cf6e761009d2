import type { CacheListener } from '../kv/pool.js';

/** Cache changes on their way to the router: at once, or at the end of the pass that made them. */
export class CacheEvents implements CacheListener {
  /** Pairs: first block + 1 and count when stored, −(first block + 1) and count when removed. */
  private readonly buffer: number[] = [];
  constructor(
    private readonly target: CacheListener,
    private readonly immediate: boolean,
    private readonly sharedBlocks: number,
  ) {}

  stored(first: number, count: number): void {
    if (first >= this.sharedBlocks) return;
    if (this.immediate) this.target.stored(first, count);
    else this.buffer.push(first + 1, count);
  }

  removed(first: number, count: number): void {
    if (first >= this.sharedBlocks) return;
    if (this.immediate) this.target.removed(first, count);
    else this.buffer.push(-(first + 1), count);
  }

  flush(): void {
    const { buffer, target } = this;
    if (buffer.length === 0) return;
    for (let i = 0; i < buffer.length; i += 2) {
      const event = buffer[i]!;
      if (event > 0) target.stored(event - 1, buffer[i + 1]!);
      else target.removed(-event - 1, buffer[i + 1]!);
    }
    buffer.length = 0;
  }
}

/** Hears nothing. */
export const DEAF: CacheListener = { stored: () => undefined, removed: () => undefined };
