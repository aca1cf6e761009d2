/**
 * Measured times of one operator with everything fixed but a few sizes: a scatter of points in a small
 * number of dimensions, usually most of a grid.
 */
export interface Points {
  /** Sizes of a point; row-major, `axes` to a point. */
  readonly axes: number;
  readonly at: Float64Array;
  /** Time of each point, ms. */
  readonly ms: Float64Array;
}

/** Points by what is fixed (the *slice*), such as `bf16|fp8|8|128|0`. */
export type Slices = ReadonlyMap<string, Points>;

/** Gathers slices from several tables: where two know the same point the earlier one counts. */
export class SliceBuilder {
  private readonly slices = new Map<string, { readonly seen: Set<string>; readonly at: number[]; readonly ms: number[]; readonly axes: number }>();

  /** @param sizes the point's sizes, in the order of the slice's axes */
  add(slice: string, sizes: readonly number[], ms: number): void {
    let into = this.slices.get(slice);
    if (into === undefined) this.slices.set(slice, (into = { seen: new Set(), at: [], ms: [], axes: sizes.length }));
    const point = sizes.join();
    if (into.seen.has(point)) return;
    into.seen.add(point);
    into.at.push(...sizes);
    into.ms.push(ms);
  }

  build(): Slices {
    const built = new Map<string, Points>();
    for (const [slice, { axes, at, ms }] of this.slices) built.set(slice, { axes, at: Float64Array.from(at), ms: Float64Array.from(ms) });
    return built;
  }
}
