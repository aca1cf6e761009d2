import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readCases } from '../../src/calibrate/case.js';
import { deriveCases } from '../../src/calibrate/derive.js';
import { distinctUsable, parseSilicon, readMeasurements, readSilicon } from '../../src/calibrate/silicon.js';

const path = (name: string): string => new URL(`../fixtures/silicon/${name}`, import.meta.url).pathname;
const TEXT = readFileSync(path('rows.csv'), 'utf8');
const [HEAD, ...ROWS] = TEXT.trim().split('\n') as [string, ...string[]];

/** The first row with one column changed. */
function changed(column: string, value: string): string {
  const cells = ROWS[0]!.split(',');
  cells[HEAD.split(',').indexOf(column)] = value;
  return `${HEAD}\n${cells.join(',')}\n`;
}

describe('measured rows', () => {
  it('give the cases that a careful reading gives', () => {
    expect(deriveCases(readSilicon(path('rows.csv')))).toEqual(readCases(path('cases.jsonl')));
  });

  it('join their cases by id, from the file or by the rules', () => {
    const given = readMeasurements(path('rows.csv'), path('cases.jsonl'));
    const derived = readMeasurements(path('rows.csv'));
    expect(derived.casesFile).toBeNull();
    expect(given.measurements).toEqual(derived.measurements);
    expect(given.measurements[0]!.ttftMs).toBeGreaterThan(0);
    const usable = distinctUsable(given.measurements);
    expect(usable.length).toBeGreaterThan(20);
    expect(usable.every(({ one }) => one.use && one.twinOf === null && one.mode === 'agg')).toBe(true);
  });

  it.each([
    ['silicon_ttft_ms', 'nan', "'nan' is not a number"],
    ['silicon_ttft_ms', '-3', "'-3' is not above 0"],
    ['silicon_tpot_ms', '', "'' is not above 0"],
    ['isl', '-1', 'is not a whole number from 1 on'],
    ['tp_size', 'two', 'is not a whole number'],
    ['backend', 'tgi', 'is not one of vllm, trtllm, sglang'],
    ['mode', 'x', 'is not one of agg, disagg'],
  ])('refuse %s = %s with line and column', (column, value, what) => {
    expect(() => parseSilicon(changed(column, value), 'r.csv')).toThrow(`r.csv:2: error E-ROW: ${column}: `);
    expect(() => parseSilicon(changed(column, value), 'r.csv')).toThrow(what);
  });

  it('refuse a lost column, an id that stands twice and a file without rows', () => {
    expect(() => parseSilicon(TEXT.replace('silicon_ttft_ms', 'ttft'), 'r.csv')).toThrow('r.csv:1: error E-COLUMN: silicon_ttft_ms: column is absent');
    expect(() => parseSilicon(`${HEAD}\n${ROWS[0]!}\n${ROWS[0]!}\n`, 'r.csv')).toThrow('r.csv:3: error E-ROW: id:');
    expect(() => parseSilicon(`${HEAD}\n`, 'r.csv')).toThrow('holds no row');
  });
});
