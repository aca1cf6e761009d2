import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { caseLine, parseCases, readCases } from '../../src/calibrate/case.js';
import { InputError } from '../../src/core/problem.js';

const FILE = new URL('../fixtures/silicon/cases.jsonl', import.meta.url).pathname;
const LINES = readFileSync(FILE, 'utf8').trim().split('\n');
const AGG = LINES.find((line) => line.includes('"mode": "agg"'))!;
const DISAGG = LINES.find((line) => line.includes('"mode": "disagg"'))!;

function problems(text: string): string {
  try {
    parseCases(text, 'c.jsonl');
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return '';
}

/** Fields in the order of their names, at every depth. */
function sorted(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).sort().map(([name, inner]) => [name, sorted(inner)])) : value;
}

describe('cases', () => {
  it('are read whole and written back', () => {
    expect(readCases(FILE).map((one) => sorted(JSON.parse(caseLine(one))))).toEqual(LINES.map((line) => sorted(JSON.parse(line))));
  });

  it('refuse what is no field of theirs, where it stands', () => {
    expect(problems(`${AGG}\n\n${AGG.replace('"tp":', '"tpp": 1, "tp":')}`)).toMatch(/^c\.jsonl:3:\d+: error E-FIELD: tpp: unknown field; did you mean tp\?$/);
    expect(problems(DISAGG.replace('"moe_ep":', '"gpus": 4, "moe_ep":'))).toMatch(/^c\.jsonl:1:\d+: error E-FIELD: prefill\.gpus: unknown field; a case knows workers/);
    expect(problems(DISAGG.replace('"isl":', '"tp": 4, "isl":'))).toContain('E-FIELD: tp');
  });

  it.each([
    ['"isl": 8192', '"isl": -1', 'isl'],
    ['"isl": 8192', '"isl": "8192"', 'isl'],
    ['"isl": 8192', '"isl": 8192.5', 'isl'],
    ['"length_low": 0.8', '"length_low": 1.2', 'length_low'],
    ['"backend": "vllm"', '"backend": "vlm"', 'backend'],
    ['"use": true', '"use": 1', 'use'],
    ['"mode": "agg"', '"mode": "both"', 'mode'],
  ])('refuse %s as %s', (from, to, path) => {
    const line = LINES.find((one) => one.includes(from) && one.includes('"mode": "agg"'))!;
    expect(problems(line.replace(from, to))).toMatch(new RegExp(`^c\\.jsonl:1:\\d+: error E-CASE: ${path}: `));
  });

  it('refuse NaN, a missing field and an empty file', () => {
    expect(problems(AGG.replace('"isl": 8192', '"isl": NaN'))).toMatch(/^c\.jsonl:1:\d+: error E-SYNTAX: expected a value/);
    expect(problems(AGG.replace(/"osl": \d+, /, ''))).toMatch(/error E-CASE: osl: /);
    expect(problems('\n')).toContain('holds no case');
  });

  it('tell the first twenty problems', () => {
    const message = problems(Array(30).fill(AGG.replace('"isl": 8192', '"isl": 0')).join('\n'));
    expect(message.split('\n')).toHaveLength(20);
    expect(message).toContain('(and 10 more problems in this file)');
  });
});
