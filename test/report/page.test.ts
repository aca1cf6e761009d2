import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeHtml, html, scriptJson } from '../../src/report/html.js';
import { runPage, sweepPage } from '../../src/report/page.js';
import { fakeReport, fakeSweep, runSeries } from './fixtures.js';

const HOSTILE = [`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `<!--`, `' onmouseover='x`, '${1+1}', '\u2028\u2029\u0000\ud800', '模型 ✓ é', "datum['x']"];
const hostileText = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 12 })).map((text) => `${text}!`);

/** The page's parts: tags outside scripts and styles, and the embedded charts. */
function dissect(page: string): { tags: string[]; charts: { id: string; spec: unknown }[]; visible: string } {
  const scripts = [...page.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)];
  const bare = page.replace(/<(script|style)[^>]*>[\s\S]*?<\/\1>/g, '');
  return { tags: [...bare.matchAll(/<\/?[a-z0-9]+/gi)].map(([tag]) => tag), charts: JSON.parse(scripts[0]![1]!), visible: bare };
}

describe('page', () => {
  const series = runSeries();
  const report = fakeReport(series);

  it('names the recommendation, its reasons, margins, the timing source and its error', async () => {
    const { visible, charts } = dissect(await sweepPage(fakeSweep(), { report, series }));
    for (const text of ['best-tok_s_per_gpu', 'agg · 8×tp1 · kv', 'Highest tok/s/GPU', 'margin +8.3 %', 'Rule of thumb: disaggregate', 'stated error TTFT 8.1 %, TPOT 4.2 %', 'W-EXTRAPOLATED', 'out of KV blocks', 'weights do not fit', '12 passes outside']) expect(visible).toContain(text);
    expect(charts.map(({ id }) => id)).toEqual(['frontier-0', 'ttft', 'tpot', 'load', 'tokens']);
    for (const { id } of charts) expect(visible).toContain(`id="${id}"`);
    expect(visible.match(/<tr class="/g)).toHaveLength(24);
  });

  it('says what binds and the nearest misses when nothing is feasible', async () => {
    const none = fakeSweep(4);
    const misses = none.candidates.map((one) => ({ ...one, feasible: false, onFront: false, margins: [{ constraint: 'tpot_ms.mean <= 1 ms', margin: -20.5, met: false, value: 21.5, bound: 1 }] }));
    const page = await sweepPage({ ...none, candidates: misses, front: [], recommendations: [], nearestMisses: misses.slice(0, 3), bindingConstraint: 'tpot_ms.mean <= 1 ms' }, null);
    expect(page).toContain('No candidate meets every constraint');
    expect(page).toContain('The binding constraint is <code>tpot_ms.mean &lt;= 1 ms</code>');
    expect(page.match(/missed, margin -2050 %/g)).toHaveLength(3);
  });

  it('is the same bytes twice and asks for nothing', async () => {
    const page = await runPage(report, series);
    expect(page).toBe(await runPage(report, series));
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!;
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-\S+' 'sha256-\S+' 'unsafe-eval';/);
    expect(page).not.toContain('sourceMappingURL');
    expect(dissect(page).visible).not.toMatch(/(src|href)="(?!data:,")/);
  });

  it('draws what it has: no samples, no timeline, no metrics, no candidates', async () => {
    const bare = { ttftMs: [], tpotMs: [], timeline: null };
    expect(dissect(await runPage(report, bare)).charts).toEqual([]);
    const { candidates: _candidates, ...rest } = fakeSweep();
    expect(await sweepPage({ ...rest, candidates: [], front: [], recommendations: [] }, null)).toContain('there is nothing to draw');
  });

  it('no text of the data becomes markup, and the embedded JSON survives', async () => {
    const tags = dissect(await sweepPage(fakeSweep(6, () => 'x'), { report: fakeReport(series, 'x'), series })).tags;
    await fc.assert(fc.asyncProperty(hostileText, async (text) => {
      const page = dissect(await sweepPage(fakeSweep(6, () => text), { report: fakeReport(series, text), series }));
      expect(page.tags).toEqual(tags);
      expect(page.visible).toContain(escapeHtml(text));
      expect(JSON.stringify(page.charts)).toContain(JSON.stringify(text).slice(1, -1));
    }), { numRuns: 25, examples: HOSTILE.map((text) => [`${text}!`]) });
  }, 60_000);
});

describe('markup', () => {
  it('escapes text, keeps markup and lists of it', () => {
    expect(html`<p title="${'"a" & <b>'}">${[html`<i>${'<'}</i>`, 'x>']}${null}${3}</p>`.text).toBe('<p title="&quot;a&quot; &amp; &lt;b&gt;"><i>&lt;</i>x&gt;3</p>');
  });
  it('scriptJson round-trips any value without a markup character', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      const text = scriptJson(value);
      expect(text).not.toMatch(/[<>&\u2028\u2029]/);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
    }));
  });
});
