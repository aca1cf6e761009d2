/** How far measured times lie from a form, between the points where both are known: straight in logs, held beyond. */

interface RatioPoint {
  readonly line: number;
  readonly x: number;
  readonly ratio: number;
}

/** A ratio by one size; 1 where nothing was measured. Points rise in x. */
export function ratioCurve(points: readonly (readonly [x: number, ratio: number])[]): (x: number) => number {
  if (points.length === 0) return () => 1;
  return (x) => {
    const above = points.findIndex(([at]) => at >= x);
    if (above < 0) return points.at(-1)![1];
    const [x1, r1] = points[above]!;
    if (above === 0) return r1;
    const [x0, r0] = points[above - 1]!;
    return r0 + ((r1 - r0) * Math.log(x / x0)) / Math.log(x1 / x0);
  };
}

/** A ratio by two sizes: along lines of one size, and between the lines in ln(1 + size). Each line may end where it likes. */
export function ratioSurface(points: readonly RatioPoint[]): (line: number, x: number) => number {
  const sizes = [...new Set(points.map(({ line }) => line))].sort((a, b) => a - b);
  const curves = sizes.map((size) =>
    ratioCurve(points.filter(({ line }) => line === size).map(({ x, ratio }) => [x, ratio] as const).sort((a, b) => a[0] - b[0])),
  );
  if (sizes.length === 0) return () => 1;
  return (line, x) => {
    const above = sizes.findIndex((size) => size >= line);
    if (above < 0) return curves.at(-1)!(x);
    const high = curves[above]!(x);
    if (above === 0 || sizes[above] === line) return high;
    const [from, to] = [Math.log1p(sizes[above - 1]!), Math.log1p(sizes[above]!)];
    const low = curves[above - 1]!(x);
    return low + ((high - low) * (Math.log1p(line) - from)) / (to - from);
  };
}
