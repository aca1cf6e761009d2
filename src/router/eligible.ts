/** The workers that may get requests, in ascending order. */
export class EligibleWorkers {
  readonly list: number[] = [];

  set(worker: number, eligible: boolean): void {
    const position = this.list.indexOf(worker);
    if (eligible === position >= 0) return;
    if (!eligible) this.list.splice(position, 1);
    else {
      this.list.push(worker);
      this.list.sort((a, b) => a - b);
    }
  }

  /** Throws when there is none: the simulation routes only while a worker is there. */
  require(): readonly number[] {
    if (this.list.length === 0) throw new Error('invariant broken: routed without an eligible worker');
    return this.list;
  }
}
