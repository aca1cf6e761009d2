import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { baselineText, readBaseline, rounded, writeBaseline, type Baseline } from '../../src/regress/baseline.js';
import type { Gate } from '../../src/scenario/gate.js';
import { METRICS } from '../../src/scenario/metrics-names.js';
import { problemsOf } from '../scenario/support.js';
import { figures, gateOf } from './results.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-baseline-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'b.json');

function gate(cases: readonly string[], metrics: readonly string[] = []): Gate {
  const one = gateOf({ cases, metrics: metrics.map((name) => ({ name, better: 'min', required: true })) });
  return { ...one, baseline: { ...one.baseline!, path } };
}

function read(text: string, one = gate(['kv'])): Baseline {
  writeFileSync(path, text);
  return readBaseline(one, one.baseline!);
}

const GOOD = `{
  "schema": "dynotwin.baseline/1",
  "cases": {
    "kv": {
      "seeds": [42, 43],
      "metrics": {
        "hash": ["a", "b"],
        "ttft_ms.p90": [1.5, null]
      }
    }
  }
}
`;

describe('a baseline', () => {
  it('is sorted, one metric per line, and JSON', () => {
    const text = baselineText(new Map([['kv', figures([42, 43], { 'ttft_ms.p90': [1.5, null], hash: ['a', 'b'] })]]));
    expect(text).toBe(GOOD);
    expect(JSON.parse(text)).toMatchObject({ cases: { kv: { seeds: [42, 43] } } });
  });

  it('reads back as written', () => {
    const value = fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (rounded(number) as number) + 0));
    const metrics = fc.dictionary(fc.constantFrom(...METRICS.map(({ name }) => name)), fc.tuple(value, value), { minKeys: 1, maxKeys: 5 });
    fc.assert(
      fc.property(metrics, metrics, (a, b) => {
        const baseline: Baseline = new Map([['kv', figures([1, 2], a)], ['rr', figures([1, 2], b)]]);
        const again = read(baselineText(baseline), gate(['kv', 'rr']));
        expect(baselineText(again)).toBe(baselineText(baseline));
        expect(again.get('kv')!.metrics).toEqual(new Map(Object.entries(a)));
      }),
      { numRuns: 50 },
    );
  });

  it('is left alone when nothing changed, and replaces no other file', () => {
    const { baseline } = gate(['kv']);
    rmSync(path, { force: true });
    expect(writeBaseline(baseline!, GOOD)).toBe(true);
    expect(writeBaseline(baseline!, GOOD)).toBe(false);
    writeFileSync(path, '{"name": "my-package"}');
    expect(problemsOf(() => writeBaseline(baseline!, GOOD))[0]).toMatch(/^gate\.yaml:31:5: error E-OUT: gate\.baseline: .*is no baseline; name another file$/);
    expect(readFileSync(path, 'utf8')).toContain('my-package');
  });

  it.each<[string, string, RegExp]>([
    ['dynotwin.baseline/1', 'dynotwin.baseline/9', /^b\.json:2:13: error E-BASELINE: schema: not 'dynotwin\.baseline\/1'/],
    ['"cases"', '"caes"', /^b\.json:1:1: error E-BASELINE: cases: missing/],
    ['[42, 43]', '[]', /^b\.json:4:11: error E-BASELINE: cases\.kv\.seeds: not a list of seeds/],
    ['[42, 43]', '[42, 43.5]', /^b\.json:4:11: error E-BASELINE: cases\.kv\.seeds/],
    ['ttft_ms.p90', 'ttft_p90', /^b\.json:8:\d+: error E-BASELINE: cases\.kv\.metrics\.ttft_p90: unknown metric 'ttft_p90'; did you mean 'ttft_ms\.p90'\?$/],
    ['[1.5, null]', '[1.5]', /^b\.json:8:24: error E-BASELINE: .*1 figures for 2 seeds/],
    ['[1.5, null]', '[1.5, "x"]', /^b\.json:8:24: error E-BASELINE: .*not a list of numbers/],
    ['[1.5, null]', '[1.5, true]', /^b\.json:8:24: error E-BASELINE: .*not a list of numbers/],
    ['[1.5, null]', '7', /^b\.json:8:24: error E-BASELINE: .*not a list/],
    ['["a", "b"]', '[1, 2]', /^b\.json:7:17: error E-BASELINE: .*not a list of hashes/],
    ['"kv"', '"kw"', /^gate\.yaml:11:5: error E-BASELINE: gate\.cases\.kv: .*has no case 'kv'; write it with 'dynotwin regress gate\.yaml --update' and commit it$/],
    [GOOD, '<<<<<<< HEAD\n', /^b\.json:1:1: error E-BASELINE: not a mapping/],
    [GOOD, '{"a": [}', /^b\.json:1:\d+: error E-SYNTAX/],
  ])('with %s as %s is refused', (good, bad, expected) => {
    expect(problemsOf(() => read(GOOD.replace(good, bad)))[0]).toMatch(expected);
  });

  it('that lacks a metric of its gate, or has a case too many, is refused', () => {
    expect(problemsOf(() => read(GOOD, gate(['kv'], ['ttft_ms.p99'])))).toEqual([expect.stringMatching(/^gate\.yaml:11:5: error E-BASELINE: gate\.cases\.kv: .*has no 'ttft_ms\.p99' of 'kv'/)]);
    expect(problemsOf(() => read(GOOD.replace('"kv"', '"rr": {"seeds": [1], "metrics": {}},\n    "kv"')))).toEqual([expect.stringMatching(/^b\.json:4:11: error E-BASELINE: cases\.rr: 'gate\.yaml' has no case 'rr'/)]);
  });
});
