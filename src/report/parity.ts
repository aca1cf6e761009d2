import type { ChartSpec } from './charts.js';

const INK = 'currentColor';

interface Pair {
  readonly measured: number;
  readonly predicted: number;
}

/** Scale of both axes and, as a layer, the lines on which predictions are these multiples of measurements; that of equality is whole. */
export function parityFrame(rows: readonly Pair[], factors: readonly number[]): { readonly scale: object; readonly lines: ChartSpec } {
  const times = rows.flatMap(({ measured, predicted }) => [measured, predicted]);
  const [low, high] = [times.reduce((a, b) => Math.min(a, b), Infinity) * 0.9, times.reduce((a, b) => Math.max(a, b), 0) * 1.1];
  const scale = { type: 'log', domain: [low, high], nice: false };
  const values = factors.flatMap((factor) => [low, high].map((x) => ({ factor, x, y: x * factor })));
  return {
    scale,
    lines: {
      name: 'bounds', data: { values },
      mark: { type: 'line', clip: true, color: INK, opacity: 0.45, strokeWidth: 1, aria: false },
      encoding: { x: { field: 'x', type: 'quantitative', scale }, y: { field: 'y', type: 'quantitative', scale }, detail: { field: 'factor', type: 'nominal' }, strokeDash: { condition: { test: 'datum.factor != 1', value: [4, 3] }, value: [1, 0] } },
    } as ChartSpec,
  };
}
