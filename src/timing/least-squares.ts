/** A line or plane through points: y ≈ intercept + Σ slope·x. */
export interface LinearFit {
  readonly intercept: number;
  readonly slopes: readonly number[];
}

/**
 * Ordinary least squares with intercept over one or two features; of several best fits the one with the shortest slope
 * vector. The centred columns are made orthogonal by a rotation (one-sided Jacobi), which keeps the digits that normal
 * equations would square away: features differ by orders of magnitude.
 *
 * @param columns features, each as long as `y`
 */
export function fitLinear(columns: readonly (readonly number[])[], y: readonly number[]): LinearFit {
  const means = columns.map(mean);
  const centred = columns.map((column, i) => column.map((x) => x - means[i]!));
  const yMean = mean(y);
  const target = y.map((value) => value - yMean);
  const [a, b] = centred as [number[], number[] | undefined];
  const [cos, sin] = b ? orthogonalise(a, b) : [1, 0];
  const norms = centred.map((column) => dot(column, column));
  const largest = Math.max(...norms);
  const cutoff = largest * (Math.max(y.length, columns.length) * Number.EPSILON) ** 2;
  const along = centred.map((column, i) => (norms[i]! > cutoff ? dot(column, target) / norms[i]! : 0));
  const slopes = b ? [cos * along[0]! - sin * along[1]!, sin * along[0]! + cos * along[1]!] : along;
  return { intercept: yMean - dot(slopes, means), slopes };
}

/** Rotates two columns in place until they are orthogonal; the rotation as (cos, sin): new a = cos·a + sin·b. */
function orthogonalise(a: number[], b: number[]): [cos: number, sin: number] {
  let [cos, sin] = [1, 0];
  for (let sweep = 0; sweep < 8; sweep++) {
    const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
    if (Math.abs(ab) <= Number.EPSILON * Math.sqrt(aa * bb)) break;
    const zeta = (bb - aa) / (2 * ab);
    const tan = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
    const c = 1 / Math.sqrt(1 + tan * tan);
    const s = -tan * c;
    for (let i = 0; i < a.length; i++) [a[i], b[i]] = [c * a[i]! + s * b[i]!, c * b[i]! - s * a[i]!];
    [cos, sin] = [c * cos - s * sin, c * sin + s * cos];
  }
  return [cos, sin];
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
