/**
 * The prompts cut into engine blocks with dense identities: equal id = equal content *and* equal
 * prefix. Only full blocks have an id (spec: workload section 2).
 */
export interface BlockTable {
  /** Tokens per engine block. */
  readonly blockTokens: number;
  /** Full blocks of request r = `blocks[offsets[r] .. offsets[r+1])`, from the first token on. */
  readonly offsets: Int32Array;
  readonly blocks: Int32Array;
  /**
   * Full blocks that hold generated tokens, where those tokens are known in advance and may appear in a
   * later prompt (authored outputs, delta sessions): request r's blocks after its prompt's own, up to
   * ⌊(prompt + output) / blockTokens⌋. Absent = generated blocks are unique to their request.
   */
  readonly generated?: { readonly offsets: Int32Array; readonly blocks: Int32Array };
  /** Ids are 0 … blockCount-1. */
  readonly blockCount: number;
  /** 1 = the block ends a segment (`BlockSegments`). Absent = not worked out. */
  readonly ends?: Uint8Array;
}
