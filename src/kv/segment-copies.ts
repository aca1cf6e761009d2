import type { InactiveList } from './inactive-list.js';

/** What the copies of a segment need of their pool. */
export interface CopyHost {
  readonly list: InactiveList;
  active: number;
  inactive: number;
  /** A block of a segment got its first copy, or lost its last. */
  stored(segment: number, offset: number): void;
  removed(segment: number, offset: number): void;
}

interface Copy {
  readonly offset: number;
  references: number;
  /** Its entry among the inactive ranges while nobody uses it, 0 = in use. */
  range: number;
}

/**
 * One segment of one worker copy by copy: a block may have several, look-ups find the oldest. For the
 * rare segments of which a block was computed twice. Source: spec engine section 5.2.
 */
export class SegmentCopies {
  /** Copies of each block, oldest first. */
  private readonly chains: Copy[][] = [];
  /** The copies each request uses; one that is not named uses `originals`. */
  private readonly ownedBy = new Map<number, Copy[]>();
  private readonly originals: Copy[];
  private readonly byRange = new Map<number, Copy>();

  /**
   * Takes over a segment.
   *
   * @param references requests that use each cached block
   * @param shallow newest range of its inactive blocks
   */
  constructor(
    private readonly host: CopyHost,
    private readonly segment: number,
    references: Int32Array,
    shallow: number,
  ) {
    this.originals = Array.from(references, (count, offset) => ({ offset, references: count, range: 0 }));
    for (const copy of this.originals) this.chains.push([copy]);
    const { list } = host;
    for (let range = shallow; range !== 0; ) {
      for (let offset = list.to[range]! - 1; offset >= list.from[range]!; offset--) {
        this.setInactive(this.originals[offset]!, list.insertBefore(range, segment, offset, offset + 1));
      }
      range = list.remove(range);
    }
  }

  /** Of the first `wanted` blocks, those cached up to the first that is not. */
  cachedOf(wanted: number): number {
    let cached = 0;
    while (cached < wanted && (this.chains[cached]?.length ?? 0) > 0) cached++;
    return cached;
  }

  /** Of the first `blocks` cached blocks, those whose oldest copy is in use. */
  usedOf(blocks: number): number {
    let used = 0;
    for (let offset = 0; offset < blocks; offset++) if (this.chains[offset]![0]!.references > 0) used++;
    return used;
  }

  pin(request: number, to: number): void {
    const owned = this.chains.slice(0, to).map((chain) => chain[0]!);
    for (const copy of owned) {
      if (copy.references++ > 0) continue;
      this.host.list.remove(copy.range);
      this.byRange.delete(copy.range);
      copy.range = 0;
      this.host.inactive--;
      this.host.active++;
    }
    this.ownedBy.set(request, owned);
  }

  publish(request: number, from: number, to: number): void {
    let owned = this.ownedBy.get(request);
    if (!owned) this.ownedBy.set(request, (owned = this.originals.slice(0, from)));
    for (let offset = from; offset < to; offset++) {
      const copy: Copy = { offset, references: 1, range: 0 };
      const chain = (this.chains[offset] ??= []);
      chain.push(copy);
      owned.push(copy);
      if (chain.length === 1) this.host.stored(this.segment, offset);
    }
  }

  /** A request that uses the first `owned` blocks uses them no more. */
  release(request: number, owned: number): void {
    const copies = this.ownedBy.get(request) ?? this.originals;
    for (let offset = owned - 1; offset >= 0; offset--) {
      const copy = copies[offset]!;
      if (--copy.references > 0) continue;
      this.host.active--;
      this.host.inactive++;
      this.setInactive(copy, this.host.list.append(this.segment, offset, offset + 1));
    }
    this.ownedBy.delete(request);
  }

  /** The pool evicts the copy behind a range. */
  evicted(range: number): void {
    const copy = this.byRange.get(range)!;
    this.byRange.delete(range);
    const chain = this.chains[copy.offset]!;
    chain.splice(chain.indexOf(copy), 1);
    if (chain.length === 0) this.host.removed(this.segment, copy.offset);
  }

  private setInactive(copy: Copy, range: number): void {
    copy.range = range;
    this.byRange.set(range, copy);
  }
}
