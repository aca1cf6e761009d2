import { RunError } from '../core/problem.js';
import { sharedInt32, type BlockTable, type Workload } from './workload.js';

/** `count` tokens of one symbol, or of nobody else (OWN). */
interface Run {
  readonly symbol: number;
  count: number;
}

/** Symbols are int32 values; this one stands for tokens that nobody else has. */
const OWN = 2 ** 32;

/**
 * Engine blocks where generated tokens may come back in a later prompt: delta sessions and authored
 * outputs. Content is a sequence of runs; a block's key is its parent and its runs, equal neighbours merged. Blocks
 * with a token of their own need no key: they are cut once, and later turns of the session take them over.
 * Source: workload spec, section 2 (output tokens, delta mode).
 */
export function expandRuns(workload: Workload, blockTokens: number): BlockTable {
  const { requestCount, promptTokens, outputTokens, nextTurn } = workload;
  const prompts = offsetsOf(requestCount, blockTokens, (r) => Math.floor(promptTokens[r]! / blockTokens));
  const generated = offsetsOf(requestCount, blockTokens, (r) => Math.floor((promptTokens[r]! + outputTokens[r]!) / blockTokens) - Math.floor(promptTokens[r]! / blockTokens));
  const promptBlocks = sharedInt32(prompts[requestCount]!);
  const generatedBlocks = sharedInt32(generated[requestCount]!);
  const interner = new BlockInterner();
  /** Tokens behind the last full block of a delta session's history, by the request that continues it. */
  const tails = new Map<number, { readonly tail: Run[]; readonly after: number }>();
  for (let r = 0; r < requestCount; r++) {
    const history = tails.get(r);
    tails.delete(r);
    const cutter = new BlockCutter(interner, blockTokens, history?.tail ?? []);
    let at = prompts[r]!;
    if (history) {
      const { after } = history;
      promptBlocks.copyWithin(at, prompts[after]!, prompts[after + 1]!);
      at += prompts[after + 1]! - prompts[after]!;
      const made = generatedBlocks.subarray(generated[after]!, generated[after + 1]!);
      promptBlocks.set(made, at);
      at += made.length;
      cutter.parent = at > prompts[r]! ? promptBlocks[at - 1]! : -1;
    }
    cutter.cut(ownPrompt(workload, r), (block) => (promptBlocks[at++] = block));
    at = generated[r]!;
    cutter.cut(output(workload, r), (block) => (generatedBlocks[at++] = block));
    if (workload.newTokens && nextTurn[r]! >= 0) tails.set(nextTurn[r]!, { tail: cutter.pending, after: r });
  }
  return { blockTokens, offsets: prompts, blocks: promptBlocks, generated: { offsets: generated, blocks: generatedBlocks }, blockCount: interner.count };
}

/** What a request itself adds to its prompt. */
function* ownPrompt({ hashOffsets, hashIds, newTokens, promptTokens, traceBlockTokens }: Workload, r: number): Generator<Run> {
  let left = (newTokens ?? promptTokens)[r]!;
  for (let at = hashOffsets[r]!; left > 0; at++, left -= traceBlockTokens) {
    yield { symbol: hashIds[at]!, count: Math.min(left, traceBlockTokens) };
  }
}

function* output({ authored, outputTokens }: Workload, r: number): Generator<Run> {
  const first = authored?.offsets[r] ?? 0;
  const last = authored?.offsets[r + 1] ?? 0;
  if (first === last) yield { symbol: OWN, count: outputTokens[r]! };
  for (let run = first; run < last; run++) yield { symbol: authored!.symbols[run]!, count: authored!.counts[run]! };
}

/** Cuts a stream of runs into blocks. */
class BlockCutter {
  /** Id of the block before; -1 = the prompt starts here. */
  parent = -1;
  private tokens: number;

  /** @param pending runs of the block that is not full yet */
  constructor(
    private readonly interner: BlockInterner,
    private readonly blockTokens: number,
    readonly pending: Run[],
  ) {
    this.tokens = pending.reduce((sum, { count }) => sum + count, 0);
  }

  cut(runs: Iterable<Run>, emit: (block: number) => void): void {
    for (const { symbol, count } of runs) {
      for (let taken = 0; taken < count; ) {
        const part = Math.min(count - taken, this.blockTokens - this.tokens);
        this.append(symbol, part);
        taken += part;
        if (this.tokens < this.blockTokens) continue;
        this.parent = this.interner.id(this.parent, this.pending);
        emit(this.parent);
        this.pending.length = 0;
        this.tokens = 0;
      }
    }
  }

  private append(symbol: number, count: number): void {
    this.tokens += count;
    const last = this.pending.at(-1);
    if (last && last.symbol === symbol) last.count += count;
    else this.pending.push({ symbol, count });
  }
}

/** Dense ids of blocks: equal parent and equal runs, equal id. */
class BlockInterner {
  count = 0;
  private readonly ids = new Map<string, number>();

  id(parent: number, runs: readonly Run[]): number {
    if (runs.some(({ symbol }) => symbol === OWN)) return this.count++;
    let key = `${parent}`;
    for (const { symbol, count } of runs) key += `,${symbol}*${count}`;
    let id = this.ids.get(key);
    if (id === undefined) this.ids.set(key, (id = this.count++));
    return id;
  }
}

function offsetsOf(requestCount: number, blockTokens: number, blocksOf: (request: number) => number): Int32Array {
  const offsets = sharedInt32(requestCount + 1);
  let total = 0;
  for (let r = 0; r < requestCount; r++) {
    total += blocksOf(r);
    if (total > 2 ** 31 - 1) throw tooManyBlocks(blockTokens);
    offsets[r + 1] = total;
  }
  return offsets;
}

export function tooManyBlocks(blockTokens: number): RunError {
  return new RunError({ code: 'E-RESOURCE', what: `the prompts make more than 2^31 blocks of ${blockTokens} tokens`, hint: 'use fewer requests or larger blocks' });
}
