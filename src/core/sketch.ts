/** Relative error of the sketch's percentiles. */
const ALPHA = 0.001;
const GAMMA = (1 + ALPHA) / (1 - ALPHA);
const LN_GAMMA = Math.log(GAMMA);
/** Share of a bucket next to its bounds where only the logarithm decides, against rounding. */
const GUARD = 1e-10;

/**
 * Weighted stream of samples ≥ 0: exact mean, population deviation, minimum and maximum;
 * percentiles with 0.1 % relative error. Figures of an empty sketch are 0.
 *
 * A sample v > 0 counts in bucket ⌈ln v / ln γ⌉, γ = 1.001/0.999, zeros apart. The answer is
 * 2γ^i/(γ+1) of the first bucket whose cumulative weight exceeds the nearest rank; it is not
 * clamped to the extremes (spec: workload section 4.1). After Masson et al., "DDSketch", 2019;
 * the moments are merged after Chan, Golub and LeVeque, 1979.
 */
export class GapSketch {
  count = 0;
  mean = 0;
  #squares = 0;
  #min = Infinity;
  #max = 0;
  #zeros = 0;
  /** Weight per bucket; `#buckets[k]` is bucket `#first + k`. */
  #buckets = new Float64Array(0);
  #first = 0;
  /** Upper bound of each bucket, 0 = not computed yet; parallel to `#buckets`. */
  #bounds = new Float64Array(0);
  /** The last bucket used, and values that surely fall into it. */
  #last = 0;
  #lastLow = Infinity;
  #lastHigh = 0;

  /** Adds `weight` (a whole number > 0) samples of `value` (finite, ≥ 0). */
  add(value: number, weight: number): void {
    this.#merge(value, 0, weight);
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
    if (value === 0) {
      this.#zeros += weight;
      return;
    }
    this.#count(value, weight);
  }

  /** Adds `weight` samples of each of the first `length` of these values (finite, > 0). */
  addRun(values: Float64Array, length: number, weight: number): void {
    // Moments around the run's own first value, merged afterwards: no division per value, and no cancellation.
    const base = values[0]!;
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < length; i++) {
      const value = values[i]!;
      const offset = value - base;
      sum += offset;
      squares += offset * offset;
      if (value < this.#min) this.#min = value;
      if (value > this.#max) this.#max = value;
      this.#count(value, weight);
    }
    this.#merge(base + sum / length, weight * (squares - (sum * sum) / length), length * weight);
  }

  /** Adds `count` samples with this mean and sum of squared deviations from it. */
  #merge(mean: number, squares: number, count: number): void {
    if (this.count === 0) {
      this.mean = mean;
      this.#squares = squares;
      this.count = count;
      return;
    }
    const delta = mean - this.mean;
    const total = this.count + count;
    this.#squares += squares + (delta * delta * this.count * count) / total;
    this.mean += (delta * count) / total;
    this.count = total;
  }

  #count(value: number, weight: number): void {
    if (!(value > this.#lastLow && value < this.#lastHigh)) this.#findBucket(value);
    this.#buckets[this.#last - this.#first]! += weight;
  }

  get std(): number {
    return this.count === 0 ? 0 : Math.sqrt(Math.max(0, this.#squares) / this.count);
  }

  get min(): number {
    return this.count === 0 ? 0 : this.#min;
  }

  get max(): number {
    return this.#max;
  }

  /** Percentile `p` in percent, 0…100. */
  percentile(p: number): number {
    if (this.count === 0) return 0;
    const rank = Math.round(((this.count - 1) * p) / 100);
    let cumulative = this.#zeros;
    if (cumulative > rank) return 0;
    for (let k = 0; k < this.#buckets.length; k++) {
      cumulative += this.#buckets[k]!;
      if (cumulative > rank) return (2 * GAMMA ** (this.#first + k)) / (GAMMA + 1);
    }
    return this.#max;
  }

  #findBucket(value: number): void {
    const bucket = Math.ceil(Math.log(value) / LN_GAMMA);
    this.#last = bucket;
    if (bucket < this.#first || bucket >= this.#first + this.#buckets.length) this.#grow(bucket);
    let bound = this.#bounds[bucket - this.#first]!;
    if (bound === 0) this.#bounds[bucket - this.#first] = bound = GAMMA ** bucket;
    this.#lastLow = (bound / GAMMA) * (1 + GUARD);
    this.#lastHigh = bound * (1 - GUARD);
  }

  #grow(bucket: number): void {
    const length = this.#buckets.length;
    const first = length === 0 ? bucket : Math.min(bucket, this.#first);
    const end = length === 0 ? bucket + 1 : Math.max(bucket + 1, this.#first + length);
    const slack = Math.max(64, length >> 1);
    const grown = new Float64Array(end - first + 2 * slack);
    grown.set(this.#buckets, length === 0 ? 0 : this.#first - first + slack);
    const bounds = new Float64Array(grown.length);
    bounds.set(this.#bounds, length === 0 ? 0 : this.#first - first + slack);
    this.#buckets = grown;
    this.#bounds = bounds;
    this.#first = first - slack;
  }
}
