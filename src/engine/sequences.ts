import type { BlockTable } from '../kv/block-table.js';
import { OwnPaths } from './own-paths.js';
import { SlotTable } from './slot-table.js';

/**
 * The requests inside the engines of one worker pool, as columns by request number: a request is on one of
 * its engines at a time. Tokens: prompt P, generated g, known L = P + g, computed C (their KV exists).
 *
 * The first `named` blocks of a request have an identity (they are full, and others may ask for them); all
 * from there on are its own and only counted. Source: spec fast-core section 6.
 */
export class Sequences {
  readonly prompt: Int32Array;
  /** Output tokens the engine will make. */
  readonly output: Int32Array;
  /** Members of a lockstep group have these two as of when they joined. */
  readonly generated: Int32Array;
  readonly computed: Int32Array;
  /** Blocks it holds (members: as of joining), and how many of them, from the first on, have an identity. */
  readonly blocks: Int32Array;
  readonly named: Int32Array;
  /** Its tokens up to here are prompt work: the prompt, or all it knew when it was preempted. */
  readonly prefillTo: Int32Array;
  /** 1 = never preempted: may still be rejected as too long. */
  readonly fresh: Uint8Array;
  /** 1 = its prompt arrived from a prefill worker and needs no computing. */
  readonly materialised: Uint8Array;
  /** 1 = its prompt is a prefill worker's work: what it computes of it here itself, after a preemption, costs what `Semantics` says. */
  readonly handedOver: Uint8Array;
  /** 1 = its token gaps are kept apart because it may not complete. */
  readonly tracked: Uint8Array;
  /** 1 = finished, its cache waits for a transfer. */
  readonly held: Uint8Array;
  /** What the pass in progress did for it. */
  readonly passTokens: Int32Array;
  readonly passPromptTokens: Int32Array;
  readonly passStartTokens: Int32Array;
  /** Number of its latest admission: running requests are in this order. */
  readonly admission: Int32Array;
  /** Lockstep: bucket of the wheel (-1 = not a member), tick of joining, tick at which it is done. */
  readonly bucket: Int32Array;
  readonly joinTick: Float64Array;
  readonly finishTick: Float64Array;
  /** Neighbours in the one list it is on. */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  private slots: SlotTable | null = null;
  private paths: OwnPaths | null = null;

  constructor(
    promptTokens: Int32Array,
    readonly outputTokens: Int32Array,
    readonly table: BlockTable,
  ) {
    const count = promptTokens.length;
    const column = (): Int32Array => new Int32Array(count);
    this.prompt = promptTokens;
    this.output = column();
    this.generated = column();
    this.computed = column();
    this.blocks = column();
    this.named = column();
    this.prefillTo = column();
    this.fresh = new Uint8Array(count);
    this.materialised = new Uint8Array(count);
    this.handedOver = new Uint8Array(count);
    this.tracked = new Uint8Array(count);
    this.held = new Uint8Array(count);
    this.passTokens = column();
    this.passPromptTokens = column();
    this.passStartTokens = column();
    this.admission = column();
    this.bucket = column();
    this.joinTick = new Float64Array(count);
    this.finishTick = new Float64Array(count);
    this.next = column();
    this.previous = column();
  }

  /** A request comes to one of the engines. */
  enter(request: number, output: number, tracked: boolean, handedOver: boolean): void {
    this.output[request] = output;
    this.prefillTo[request] = this.prompt[request]!;
    this.fresh[request] = 1;
    this.handedOver[request] = handedOver ? 1 : 0;
    this.tracked[request] = tracked ? 1 : 0;
    this.bucket[request] = -1;
  }

  known(request: number): number {
    return this.prompt[request]! + this.generated[request]!;
  }

  /** Full blocks of its prompt. */
  promptBlocks(request: number): number {
    return this.table.offsets[request + 1]! - this.table.offsets[request]!;
  }

  /** Full blocks that its generated tokens can fill. */
  generatedBlocks(request: number): number {
    return Math.floor((this.prompt[request]! + this.outputTokens[request]!) / this.table.blockTokens) - this.promptBlocks(request);
  }

  /** Where the slots of named blocks are kept. */
  slotTable(): SlotTable {
    return (this.slots ??= new SlotTable(this));
  }

  /** Their paths through the segments of the block table. */
  segmentPaths(): OwnPaths {
    return (this.paths ??= new OwnPaths(this));
  }
}

/** A queue of requests, linked through their columns: a request is on one list at a time. */
export class RequestList {
  /** -1 = empty. */
  first = -1;
  last = -1;
  count = 0;
  readonly next: Int32Array;
  private readonly previous: Int32Array;

  constructor({ next, previous }: Sequences) {
    this.next = next;
    this.previous = previous;
  }

  append(request: number): void {
    this.next[request] = -1;
    this.previous[request] = this.last;
    if (this.last < 0) this.first = request;
    else this.next[this.last] = request;
    this.last = request;
    this.count++;
  }

  prepend(request: number): void {
    this.previous[request] = -1;
    this.next[request] = this.first;
    if (this.first < 0) this.last = request;
    else this.previous[this.first] = request;
    this.first = request;
    this.count++;
  }

  remove(request: number): void {
    const next = this.next[request]!;
    const previous = this.previous[request]!;
    if (previous < 0) this.first = next;
    else this.next[previous] = next;
    if (next < 0) this.last = previous;
    else this.previous[next] = previous;
    this.count--;
  }
}
