/**
 * Durations are whole nanoseconds (spec: engine section 6.1).
 *
 * The reference takes a float64 number of seconds and rounds its exact value times 10⁹ to the
 * nearest integer, ties to even. Floating multiplication alone is off by 1 ns at near-ties.
 */

/** Nearest whole nanoseconds of `seconds` ≥ 0, exact. */
export function secondsToNanoseconds(seconds: number): number {
  const product = seconds * 1e9;
  const whole = Math.floor(product);
  const fraction = product - whole;
  if (fraction < 0.499 || fraction > 0.501) return fraction < 0.5 ? whole : whole + 1;
  return exactNanoseconds(seconds);
}

const scratch = new DataView(new ArrayBuffer(8));

function exactNanoseconds(seconds: number): number {
  scratch.setFloat64(0, seconds);
  const bits = scratch.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn) - 1075;
  const mantissa = (bits & 0xfffffffffffffn) | 0x10000000000000n;
  const scaled = mantissa * 1000000000n;
  if (exponent >= 0) return Number(scaled << BigInt(exponent));
  const shift = BigInt(-exponent);
  const whole = scaled >> shift;
  const twice = (scaled - (whole << shift)) << 1n;
  const one = 1n << shift;
  const up = twice > one || (twice === one && (whole & 1n) === 1n);
  return Number(up ? whole + 1n : whole);
}

/**
 * Duration the engine charges for a raw time: rounded to whole nanoseconds, divided by the
 * speed-up (0 = unscaled), rounded again.
 *
 * @param rawMs raw forward-pass time, ms, finite and ≥ 0
 * @param speedup divisor ≥ 0
 * @returns ms
 */
export function chargedMs(rawMs: number, speedup: number): number {
  if (!(rawMs >= 0 && rawMs < Infinity)) throw new RangeError(`a timing source returned ${rawMs} ms; expected a finite time of at least 0`);
  const seconds = secondsToNanoseconds(rawMs / 1000) / 1e9;
  if (speedup === 1 || speedup === 0 || seconds === 0) return seconds * 1000;
  return (secondsToNanoseconds(seconds / speedup) / 1e9) * 1000;
}
