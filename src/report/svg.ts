import * as vega from 'vega';
import { compile } from 'vega-lite';
import type { ChartSpec } from './charts.js';

/**
 * Width of a line of text in px without a canvas: letters of Helvetica in three classes. Keeps
 * layouts close to a browser's, and equal on every machine.
 */
function textWidth(item: { readonly fontSize?: number }, text: unknown): number {
  let units = 0;
  for (const char of String(text)) units += /[A-Z0-9mw%–—+=]/.test(char) ? 0.62 : /[ iljtfr.,:;·/|()'-]/.test(char) ? 0.32 : 0.53;
  return Math.round(units * (item.fontSize ?? 11));
}

/** Vega's own hook for measuring text, which its typings leave out. */
const metrics = (vega as unknown as { textMetrics: { canvas(use: boolean): void; width: typeof textWidth } }).textMetrics;
metrics.canvas(false);
metrics.width = textWidth;

/** The Vega specification of a chart; pure. */
export function compileChart(spec: ChartSpec): vega.Spec {
  return compile(spec, { logger: vega.logger(vega.Error) }).spec;
}

/** The chart as an SVG document, drawn without a browser; same spec, same bytes. Needs a numeric width. */
export async function renderSvg(spec: ChartSpec): Promise<string> {
  const view = new vega.View(vega.parse(compileChart({ ...spec, background: 'white' })), { renderer: 'none', logLevel: vega.Error });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
