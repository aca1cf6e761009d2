/** Cached prefixes of queued requests, per worker, as they were when each entered. Rows are used again. */
export class FrozenDepths {
  private readonly rows = new Map<number, Int32Array>();
  private readonly spare: Int32Array[] = [];

  get size(): number {
    return this.rows.size;
  }

  put(request: number, depths: Int32Array): void {
    const row = this.rows.get(request) ?? this.spare.pop() ?? new Int32Array(depths.length);
    row.set(depths);
    this.rows.set(request, row);
  }

  /** Moves a request's row to `depths`; false when it has none. */
  take(request: number, depths: Int32Array): boolean {
    const row = this.rows.get(request);
    if (!row) return false;
    depths.set(row);
    this.forget(request);
    return true;
  }

  forget(request: number): void {
    const row = this.rows.get(request);
    if (!row) return;
    this.rows.delete(request);
    this.spare.push(row);
  }
}
