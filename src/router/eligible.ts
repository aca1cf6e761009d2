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
      this.list.sort(this.order);
    }
  }

  /**
   * The workers to choose from. Throws when there is none: the simulation routes only while a worker is there.
   *
   * @param among those that the request may go to, ascending; absent = all
   */
  require(among: readonly number[] | undefined): readonly number[] {
    const workers = among ?? this.list;
    if (workers.length === 0) throw new Error('invariant broken: routed without an eligible worker');
    return among && this.ranks > 1 ? [...among].sort(this.order) : workers;
  }

  private readonly order = (a: number, b: number): number => (a % this.ranks) - (b % this.ranks) || a - b;
}
