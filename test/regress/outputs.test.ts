import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { annotations } from '../../src/regress/annotations.js';
import { judgeGate } from '../../src/regress/judge.js';
import { junitXml } from '../../src/regress/junit.js';
import { markdown } from '../../src/regress/markdown.js';
import type { GateResult } from '../../src/regress/result.js';
import { figures, gateOf, runOf } from './results.js';

/** A gate of which one check fails, one metric is worse, one noise, one better, one as before. */
function result(name = 'router'): GateResult {
  const gate = gateOf({ name, checks: ['kv.unfinished == 0', 'kv.ttft_ms.p90 <= 100 ms'], tolerance: 2 });
  const now = figures([42, 43, 44], { unfinished: [0, 0, 0], 'ttft_ms.p90': [150, 150, 150], 'tpot_ms.mean': [10, 10.5, 11], output_tok_s: [500, 500, 500], prefix_hit_ratio: [0.5, 0.5, 0.5] });
  const before = figures([42, 43, 44], { 'ttft_ms.p90': [120, 120, 120], 'tpot_ms.mean': [10, 10, 10], output_tok_s: [400, 400, 400], prefix_hit_ratio: [0.5, 0.5, 0.5] });
  return judgeGate(runOf(gate, { kv: now }), new Map([['kv', before]]));
}

function failed(name: string, reason: string): GateResult {
  return judgeGate({ ...runOf(gateOf({ name }), {}), failures: [{ name: 'kv', at: { file: 'gate.yaml', line: 11, col: 5 }, reason }] }, null);
}

/** Names of the elements if tags nest, attributes are quoted, and nothing stands bare that XML forbids; else null. */
function elements(xml: string): string[] | null {
  const names: string[] = [];
  const open: string[] = [];
  const token = /<\?xml[^<>]*\?>|<\/(\w[\w-]*)>|<(\w[\w-]*)((?: [\w-]+="[^"<]*")*)(\/?)>|[^<]+/y;
  while (token.lastIndex < xml.length) {
    const match = token.exec(xml);
    if (!match || /&(?!amp;|lt;|gt;|quot;|apos;|#\d+;)/.test(match[0])) return null;
    const [, closed, opened, , selfClosed] = match;
    if (closed !== undefined && open.pop() !== closed) return null;
    if (opened !== undefined) names.push(opened);
    if (opened !== undefined && selfClosed === '') open.push(opened);
  }
  return open.length === 0 && !/[\0-\x08\x0B\x0C\x0E-\x1F\uFFFE\uFFFF]/.test(xml) ? names : null;
}

describe('JUnit', () => {
  it('has a suite per gate and a test case per check and metric', () => {
    const xml = junitXml([result()]);
    expect(elements(xml)!.filter((name) => name === 'testcase')).toHaveLength(6);
    expect(elements(xml)!.filter((name) => name === 'failure')).toHaveLength(2);
    expect(xml).toContain('<testsuite name="router" file="gate.yaml" tests="6" failures="2">');
    expect(xml).toContain('<testcase classname="router" name="kv.ttft_ms.p90 &lt;= 100 ms" file="gate.yaml" line="22">');
    expect(xml).toContain('<failure type="worse" message="expected at most 120 ms and 2%, got 150 ms (+25% ±0%)"/>');
    expect(xml).toContain('<system-out>noise: expected at most 10 ms and 2%, got 10.5 ms (+5% ±28.7%)</system-out>');
  });

  it('is well formed whatever names and reasons hold', () => {
    const text = fc.string({ unit: fc.oneof(fc.constantFrom('<', '&', '"', "'", ']]>', '\0', '\n', '\ud800', '\uffff', '\u001b'), fc.string({ unit: 'binary', maxLength: 2 })) });
    fc.assert(fc.property(text, text, (name, reason) => void expect(elements(junitXml([failed(name, reason), result(name)]))).not.toBeNull()));
  });
});

describe('Markdown', () => {
  it('shows what fails, folds the rest away', () => {
    const text = markdown([result()]);
    expect(text).toContain('### dynotwin regress: failed');
    expect(text).toContain('1 gate, 2 checks, 4 metrics against a baseline: 2 do not hold, in 1 gate, 1 within the noise over seeds.');
    expect(text).toContain('| router | kv.ttft\\_ms.p90 \\<= 100 ms | \\<= 100 ms | 150 ms |');
    expect(text).toContain('| router/kv | ttft\\_ms.p90 | 120 ms | 150 ms | +25% ±0% | 2% |');
    expect(text.indexOf('tpot\\_ms.mean')).toBeGreaterThan(text.indexOf('<details>'));
    expect(text).toContain('output\\_tok\\_s');
    expect(text).not.toContain('prefix');
  });

  it('keeps its tables whatever names and reasons hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.oneof(fc.constantFrom('|', '\\', '\n', '\r', '`', '<'), fc.string({ maxLength: 1 })) }), (reason) => {
        const rows = markdown([failed('g', reason)]).split(/[\r\n]+/).filter((line) => line.startsWith('|'));
        expect(rows).toHaveLength(3);
        expect(rows[2]!.replace(/\\./gsu, '').split('|')).toHaveLength(6);
      }),
    );
  });
});

describe('GitHub annotations', () => {
  it('are errors at the line of what fails, notices for the rest', () => {
    expect(annotations([result()])).toEqual([
      '::error file=gate.yaml,line=22,col=5,title=router%3A kv.ttft_ms.p90 <= 100 ms::router: kv.ttft_ms.p90 <= 100 ms does not hold: expected <= 100 ms, got 150 ms',
      "::notice file=gate.yaml,line=11,col=5,title=router/kv%3A output_tok_s::router/kv: output_tok_s better than the baseline: 'dynotwin regress --update' keeps it: expected at least 400 tok/s and 2%25, got 500 tok/s (+25%25 ±0%25)",
      '::notice file=gate.yaml,line=11,col=5,title=router/kv%3A tpot_ms.mean::router/kv: tpot_ms.mean within the noise over seeds: expected at most 10 ms and 2%25, got 10.5 ms (+5%25 ±28.7%25)',
      '::error file=gate.yaml,line=11,col=5,title=router/kv%3A ttft_ms.p90::router/kv: ttft_ms.p90 worse than the baseline: expected at most 120 ms and 2%25, got 150 ms (+25%25 ±0%25)',
    ]);
  });

  it('stay one line each', () => {
    const [line, ...more] = annotations([failed('a,b:c', 'one\r\ntwo: 100%')]);
    expect(more).toEqual([]);
    expect(line).toBe('::error file=gate.yaml,line=11,col=5,title=a%2Cb%3Ac/kv%3A run::a,b:c/kv: run does not hold: expected completes, got one%0D%0Atwo: 100%25');
  });
});
