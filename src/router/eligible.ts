/** The workers that may get requests, in ascending order; or first ranks first. */
export class EligibleWorkers {
  readonly list: number[] = [];

  /** @param ranks data-parallel ranks per worker to order by before the worker; 1 = plain ascending order */
  constructor(private readonly ranks = 1) {}

  set(worker: number, eligible: boolean): void {
    const position = this.list.indexOf(worker);
    if (eligible === position >= 0) return;
    if (!eligible) this.list.splice(position, 1);
    else {
      this.list.push(worker);
      this.list.sort((a, b) => (a % this.ranks) - (b % this.ranks) || a - b);
    }
  }

  /** Throws when there is none: the simulation routes only while a worker is there. */
  require(): readonly number[] {
    if (this.list.length === 0) throw new Error('invariant broken: routed without an eligible worker');
    return this.list;
  }
}
