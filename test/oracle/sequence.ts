/**
 * One request inside one engine. Tokens: prompt P, generated g, known L = P + g, computed C (their
 * KV exists). Blocks hold C tokens; the last one may be partial.
 */
export class Sequence {
  generated = 0;
  computed = 0;
  /** Physical copies, first block first. */
  readonly blocks: number[] = [];
  /** Never preempted: may still be rejected as too long. */
  fresh = true;
  /** Its prompt arrived from a prefill worker and needs no computing. */
  materialised = false;
  /** What the pass in progress did for it. */
  passTokens = 0;
  passPromptTokens = 0;
  passStartTokens = 0;
  /** Tokens up to here are prompt work. */
  prefillTo: number;
  /** Leading blocks whose content others can find. */
  publishedBlocks = 0;
  /** Number of its latest admission: running requests are in this order. */
  admission = 0;
  /** Its token gaps are kept apart because it may not complete. */
  tracked = false;
  /** Lockstep: bucket of the wheel (-1 = not a member) and place in it, tick and tokens at joining, tick at which it is done. */
  bucket = -1;
  bucketPlace = 0;
  joinTick = 0;
  joinGenerated = 0;
  finishTick = 0;
  /** First content id of its generated blocks; -1 = none reserved yet. */
  privateBase = -1;

  /**
   * @param firstBlock position of its first full prompt block in the block table
   * @param promptBlocks full prompt blocks
   */
  constructor(
    readonly request: number,
    readonly prompt: number,
    readonly output: number,
    readonly firstBlock: number,
    readonly promptBlocks: number,
  ) {
    this.prefillTo = prompt;
  }

  get known(): number {
    return this.prompt + this.generated;
  }
}
