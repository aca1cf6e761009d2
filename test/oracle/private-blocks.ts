/** Hands out content ids for blocks that hold generated tokens: unique to their request. */
export class PrivateBlocks {
  private readonly base = new Map<number, number>();
  private next: number;

  /** @param first first id after the workload's own */
  constructor(first: number) {
    this.next = first;
  }

  /** Id of the first of `count` blocks reserved for this request. */
  baseOf(request: number, count: number): number {
    let base = this.base.get(request);
    if (base === undefined) {
      base = this.next;
      this.next += count;
      this.base.set(request, base);
    }
    return base;
  }
}
