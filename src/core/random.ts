/**
 * Seeded random numbers. Every draw comes from a named stream, so that a draw added in one place
 * moves nothing elsewhere.
 */
export interface RandomStream {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, n). */
  integer(n: number): number;
}

/**
 * xoshiro128** seeded from (seed, name) by FNV-1a and splitmix32. 53-bit floats.
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018.
 */
export function randomStream(seed: number, name: string): RandomStream {
  let hash = 0x811c9dc5;
  for (const char of `${seed}/${name}`) {
    hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  }
  const splitmix = (): number => {
    hash = (hash + 0x9e3779b9) | 0;
    let z = hash;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return z ^ (z >>> 16);
  };
  let a = splitmix();
  let b = splitmix();
  let c = splitmix();
  let d = splitmix() | 1;
  const word = (): number => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const next = (): number => ((word() >>> 5) * 67108864 + (word() >>> 6)) / 9007199254740992;
  return { next, integer: (n) => Math.floor(next() * n) };
}
