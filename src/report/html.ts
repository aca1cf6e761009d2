import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CLIENT, STYLE } from './client.js';
import { compileChart } from './svg.js';
import type { ChartSpec } from './charts.js';

/** Text as HTML, safe between tags and inside quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;').replace(/'/g, '&#39;');
}

/** Markup: only `html` and `raw` make it, so unescaped text cannot slip in. */
export class Markup {
  constructor(readonly text: string) {}
}

type Part = string | number | Markup | null | readonly Part[];

/** Template tag: every interpolated string is escaped, markup and lists of it are kept, null is nothing. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.reduce((text, string, i) => text + partText(parts[i - 1]!) + string));
}

function partText(part: Part): string {
  if (part === null) return '';
  if (part instanceof Markup) return part.text;
  if (typeof part === 'string' || typeof part === 'number') return escapeHtml(String(part));
  return part.map(partText).join('');
}

/** JSON for a `<script type="application/json">`: nothing in it can end the element or open a comment. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A chart and the element it is drawn in. */
export interface Figure {
  readonly id: string;
  readonly spec: ChartSpec;
}

let runtime: string | null = null;

/** Vega's browser bundle as inline script text, read once. */
function vegaRuntime(): string {
  runtime ??= readFileSync(createRequire(import.meta.url).resolve('vega/build/vega.min.js'), 'utf8')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    .replace(/<\/script/gi, '<\\/script');
  return runtime;
}

/**
 * A whole page in one file. The policy lets run only the two scripts named by their hash and forbids
 * every request; `unsafe-eval` is there because Vega compiles its expressions.
 */
export function pageShell(title: string, body: Markup, figures: readonly Figure[]): string {
  const scripts = [vegaRuntime(), CLIENT];
  const hashes = scripts.map((script) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`).join(' ');
  const charts = figures.map(({ id, spec }) => ({ id, spec: compileChart(spec) }));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src ${hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body.text}
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="charts">${scriptJson(charts)}</script>
<script>${scripts[0]}</script>
<script>${scripts[1]}</script>
</body>
</html>
`;
}
