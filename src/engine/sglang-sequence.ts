import type { RadixNode } from '../kv/radix-cache.js';

/**
 * One request inside SGLang's scheduler. Tokens: prompt P, generated g, known L = P + g, materialised M
 * (their KV exists). Its pages hold M tokens; the first `cachedPages` of them belong to the radix cache.
 * While it runs, M = L, and these fields are as old as its group's last `update`.
 */
export class SglangSequence {
  generated = 0;
  materialised = 0;
  pages = 0;
  cachedPages = 0;
  /** Full pages that others have heard of. */
  announcedPages = 0;
  /** Where its cached prefix ends; null = it owns nothing. */
  node: RadixNode | null = null;
  /** Its token gaps are kept apart because it may not complete. */
  tracked = false;
  /** Its prompt is a prefill worker's work: what it computes of it here, after a retraction, is not charged for. */
  handedOver = false;
  /** It is one of those that run; its number in their order. */
  runs = false;
  order = 0;
  /** Ticks at which it joined, at which it had no output (or would have had), and at which it has all of it. */
  joinTick = 0;
  birthTick = 0;
  finishTick = 0;

  constructor(
    readonly request: number,
    readonly prompt: number,
    readonly output: number,
  ) {}

  get known(): number {
    return this.prompt + this.generated;
  }

  get remaining(): number {
    return this.output - this.generated;
  }
}

const NOBODY = new SglangSequence(-1, 0, 0);

/** An empty list that has held a request: what is compiled for one list then fits all. */
export function sequenceList(): SglangSequence[] {
  const list = [NOBODY];
  list.pop();
  return list;
}
