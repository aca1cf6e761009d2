/** Both ends of the list. */
const SENTINEL = 0;

/**
 * Ranges of inactive blocks of segments, least recently released first; a range's blocks go from its end.
 * Ranges of one segment are chained from the newest, shallowest one down.
 */
export class InactiveList {
  /** Of each range (> 0): its segment (-1 = blocks nobody will ask for) and blocks `from` … `to` - 1 of it. */
  segment = new Int32Array(256);
  from = new Int32Array(256);
  to = new Int32Array(256);
  private older = new Int32Array(256);
  private newer = new Int32Array(256);
  /** Neighbours within the segment, 0 = none. */
  private deeper = new Int32Array(256);
  private shallower = new Int32Array(256);
  private free = 0;
  private used = 0;

  /** 0 = the list is empty. */
  get oldest(): number {
    return this.newer[SENTINEL]!;
  }

  /** The next younger range, 0 = none. */
  after(range: number): number {
    return this.newer[range]!;
  }

  /** Adds the youngest range, `deeper` = the one below it in its segment. Returns it. */
  append(segment: number, from: number, to: number, deeper = 0): number {
    const range = this.insertBefore(SENTINEL, segment, from, to);
    this.deeper[range] = deeper;
    this.shallower[range] = 0;
    if (deeper !== 0) this.shallower[deeper] = range;
    return range;
  }

  /** Adds a range older than `younger` and younger than all that are older than it, chained to no other. */
  insertBefore(younger: number, segment: number, from: number, to: number): number {
    let range = this.free;
    if (range === 0) {
      range = ++this.used;
      if (range === this.segment.length) this.grow();
    } else this.free = this.newer[range]!;
    this.segment[range] = segment;
    this.from[range] = from;
    this.to[range] = to;
    this.deeper[range] = this.shallower[range] = 0;
    const older = this.older[younger]!;
    this.newer[older] = range;
    this.older[range] = older;
    this.newer[range] = younger;
    this.older[younger] = range;
    return range;
  }

  /** Takes a range off the list; returns the one below it in its segment. */
  remove(range: number): number {
    const older = this.older[range]!;
    const newer = this.newer[range]!;
    this.newer[older] = newer;
    this.older[newer] = older;
    const deeper = this.deeper[range]!;
    const shallower = this.shallower[range]!;
    if (deeper !== 0) this.shallower[deeper] = shallower;
    if (shallower !== 0) this.deeper[shallower] = deeper;
    this.newer[range] = this.free;
    this.free = range;
    return deeper;
  }

  /** The range below it in its segment, 0 = none. */
  below(range: number): number {
    return this.deeper[range]!;
  }

  private grow(): void {
    const larger = (column: Int32Array): Int32Array<ArrayBuffer> => {
      const copy = new Int32Array(column.length * 2);
      copy.set(column);
      return copy;
    };
    this.segment = larger(this.segment);
    this.from = larger(this.from);
    this.to = larger(this.to);
    this.older = larger(this.older);
    this.newer = larger(this.newer);
    this.deeper = larger(this.deeper);
    this.shallower = larger(this.shallower);
  }
}
