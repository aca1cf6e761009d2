import type { EngineSpec } from '../../src/scenario/scenario.js';
import type { LiteralRequest } from './simulate.js';

interface Copy {
  /** What the block holds with everything before it; null = not known to others. */
  key: string | null;
  references: number;
}

interface Item {
  readonly request: number;
  readonly ids: readonly number[];
  readonly output: number;
  made: number;
  computed: number;
  blocks: Copy[];
  /** This pass: tokens, and [start, end] of its prompt part. */
  used: number;
  promptPart: readonly [number, number];
}

export interface PlainPass {
  readonly startMs: number;
  readonly endMs: number;
  readonly prefill: readonly [number, number, number];
  readonly decode: readonly [number, number];
  readonly tokens: readonly number[];
  readonly finished: readonly number[];
  readonly rejected: readonly number[];
  readonly admitted: readonly (readonly [number, number])[];
  readonly preempted: readonly number[];
  readonly active: number;
}

/**
 * The vLLM scheduler as the engine spec tells it (sections 2 and 5.2), in plain lists and strings, for
 * an aggregated worker with fixed times. Slow on purpose: what the real engine is held to.
 */
export class PlainEngine {
  private waiting: Item[] = [];
  private running: Item[] = [];
  /** Every copy in use or cached; published ones in the order of their publication. */
  private copies: Copy[] = [];
  /** Cached copies nobody uses, least recently released first. */
  private idle: Copy[] = [];

  constructor(
    private readonly engine: EngineSpec,
    private readonly capacity: number,
    private readonly firstTokenDecodes: boolean,
    private readonly prefillMs: number,
    private readonly decodeMs: number,
  ) {}

  submit(request: number, { ids, output }: LiteralRequest): void {
    this.waiting.push({ request, ids, output, made: 0, computed: 0, blocks: [], used: 0, promptPart: [0, 0] });
  }

  /** Null when there is nothing to do. */
  pass(startMs: number): PlainPass | null {
    if (this.waiting.length + this.running.length === 0) return null;
    const { engine } = this;
    let budget = engine.maxNumBatchedTokens;
    const seen = { admitted: [] as [number, number][], preempted: [] as number[], rejected: [] as number[] };
    for (const item of this.running) this.forget(item);

    const preempt = (victim: Item): void => {
      budget += victim.used;
      this.forget(victim);
      this.running = this.running.filter((other) => other !== victim);
      this.release(victim);
      victim.computed = 0;
      this.waiting = [victim, ...this.waiting];
      seen.preempted.push(victim.request);
    };
    const schedule = (item: Item, hits: Copy[]): 'done' | 'blocked' | 'gone' => {
      const from = item.computed === 0 ? hits.length * engine.blockTokens : item.computed;
      const promptLeft = Math.max(0, item.ids.length - from);
      if (!engine.chunkedPrefill && promptLeft > budget) return 'blocked';
      const count = Math.min(known(item) - from, budget);
      if (count === 0) return 'blocked';
      while (!this.grow(item, hits, from + count)) {
        const victim = engine.preemption === 'lifo' ? this.running.at(-1) : this.running[0];
        if (!victim) return 'blocked';
        preempt(victim);
        if (victim === item) return 'gone';
      }
      item.computed = from + count;
      item.used = count;
      item.promptPart = [Math.min(from, item.ids.length), Math.min(from + count, item.ids.length)];
      budget -= count;
      if (engine.prefixCaching) this.publish(item, from);
      return 'done';
    };

    for (let place = 0; place < this.running.length && budget > 0; ) {
      const outcome = schedule(this.running[place]!, []);
      if (outcome === 'blocked') break;
      if (outcome === 'done') place++;
    }
    while (seen.preempted.length === 0 && this.running.length < engine.maxNumSeqs && this.waiting.length > 0) {
      const item = this.waiting[0]!;
      const hits = this.prefix(item);
      const need = Math.ceil(known(item) / engine.blockTokens);
      const inUse = this.copies.length - this.idle.length;
      const tooLong = item.ids.length >= (engine.contextTokens ?? Infinity) || need > this.capacity;
      const neverFits = !engine.chunkedPrefill && item.ids.length - hits.length * engine.blockTokens > engine.maxNumBatchedTokens && this.running.length === 0;
      const room = need - hits.filter(({ references }) => references > 0).length <= this.capacity - inUse;
      if (tooLong || (room && neverFits)) {
        this.waiting.shift();
        seen.rejected.push(item.request);
        continue;
      }
      if (!room || schedule(item, hits) !== 'done') break;
      this.waiting.shift();
      this.running.push(item);
      seen.admitted.push([item.request, hits.length * engine.blockTokens]);
    }
    if (this.running.length === 0 && seen.rejected.length === 0) return null;
    return this.finish(startMs, seen);
  }

  private finish(startMs: number, seen: Pick<PlainPass, 'admitted' | 'preempted' | 'rejected'>): PlainPass {
    const finished: number[] = [];
    const leave = (item: Item): void => {
      this.running = this.running.filter((other) => other !== item);
      this.release(item);
      finished.push(item.request);
    };
    const prompts = this.running.filter(({ promptPart: [from, to] }) => to > from);
    const prefill = [prompts.length, sum(prompts.map(({ promptPart }) => promptPart[1])), sum(prompts.map(({ promptPart }) => promptPart[0]))] as const;
    const isReady = (item: Item): boolean => item.computed >= known(item);
    for (const item of this.running.filter((each) => isReady(each) && each.made >= each.output)) leave(item);
    const ready = this.running.filter(isReady);
    const batch = ready.filter(({ promptPart: [from, to], made }) => this.firstTokenDecodes || to === from || made > 0);
    const decode = [batch.length, sum(batch.map(known))] as const;
    const active = this.copies.length - this.idle.length;
    const endMs = startMs + (prefill[0] > 0 ? this.prefillMs : 0) + (decode[0] > 0 ? this.decodeMs : 0);
    for (const item of ready) {
      item.made++;
      if (item.made >= item.output || known(item) >= (this.engine.contextTokens ?? Infinity)) leave(item);
    }
    return { startMs, endMs, prefill, decode, tokens: ready.map(({ request }) => request), finished, active, ...seen };
  }

  private forget(item: Item): void {
    item.used = 0;
    item.promptPart = [0, 0];
  }

  /** Content of a full block: the prompt so far, or something only this request has. */
  private keyOf(item: Item, block: number): string {
    const end = (block + 1) * this.engine.blockTokens;
    return end <= item.ids.length ? item.ids.slice(0, end).join() : `${item.request}/${block}`;
  }

  /** Cached copies of the longest known prefix that leaves one token to compute. */
  private prefix(item: Item): Copy[] {
    const hits: Copy[] = [];
    if (!this.engine.prefixCaching) return hits;
    for (let block = 0; block < Math.floor((known(item) - 1) / this.engine.blockTokens); block++) {
      const key = this.keyOf(item, block);
      const copy = this.copies.find((each) => each.key === key);
      if (!copy) break;
      hits.push(copy);
    }
    return hits;
  }

  private grow(item: Item, hits: readonly Copy[], size: number): boolean {
    const taken = item.blocks.length === 0 ? hits : [];
    const fresh = Math.ceil(size / this.engine.blockTokens) - item.blocks.length - taken.length;
    if (fresh > this.capacity - this.copies.length + this.idle.filter((copy) => !taken.includes(copy)).length) return false;
    for (const copy of taken) {
      copy.references++;
      this.idle = this.idle.filter((other) => other !== copy);
      item.blocks.push(copy);
    }
    for (let i = 0; i < fresh; i++) {
      if (this.copies.length === this.capacity) {
        const evicted = this.idle.shift()!;
        this.copies = this.copies.filter((other) => other !== evicted);
      }
      const copy = { key: null, references: 1 };
      this.copies.push(copy);
      item.blocks.push(copy);
    }
    return true;
  }

  private publish(item: Item, from: number): void {
    for (let block = Math.floor(from / this.engine.blockTokens); (block + 1) * this.engine.blockTokens <= item.computed; block++) {
      const copy = item.blocks[block]!;
      copy.key = this.keyOf(item, block);
      this.copies = [...this.copies.filter((other) => other !== copy), copy];
    }
  }

  private release(item: Item): void {
    for (const copy of item.blocks.reverse()) {
      if (--copy.references > 0) continue;
      if (copy.key !== null) this.idle.push(copy);
      else this.copies = this.copies.filter((other) => other !== copy);
    }
    item.blocks = [];
  }
}

const known = (item: Item): number => item.ids.length + item.made;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
