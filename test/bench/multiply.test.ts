import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { multiplyTrace } from '../../bench/multiply.js';

interface Row {
  readonly timestamp: number;
  readonly input_length: number;
  readonly output_length: number;
  readonly hash_ids: readonly number[];
}

const rowsOf = (text: string): Row[] => text.trimEnd().split('\n').map((line) => JSON.parse(line) as Row);

describe('a multiplied trace', () => {
  it('keeps order and content, copy after copy, with ids of their own', () => {
    const text = readFileSync('traces/conversation_mini.jsonl', 'utf8');
    const rows = rowsOf(text);
    const grown = rowsOf(multiplyTrace(text, 3));
    expect(grown).toHaveLength(3 * rows.length);
    expect(grown.slice(0, rows.length)).toEqual(rows);
    for (let at = 1; at < grown.length; at++) expect(grown[at]!.timestamp).toBeGreaterThanOrEqual(grown[at - 1]!.timestamp);
    const copies = [0, 1, 2].map((number) => grown.slice(number * rows.length, (number + 1) * rows.length));
    const seen = new Set<number>();
    for (const copy of copies) {
      expect(copy.map((row) => [row.input_length, row.output_length])).toEqual(rows.map((row) => [row.input_length, row.output_length]));
      const shift = copy[0]!.hash_ids[0]! - rows[0]!.hash_ids[0]!;
      expect(copy.map((row) => row.hash_ids.map((id) => id - shift))).toEqual(rows.map((row) => row.hash_ids));
      const ids = new Set(copy.flatMap((row) => row.hash_ids));
      expect([...ids].filter((id) => seen.has(id))).toEqual([]);
      for (const id of ids) seen.add(id);
    }
  });

  it('goes on at the mean rate after the last arrival', () => {
    const text = [0, 30, 40].map((timestamp) => JSON.stringify({ timestamp, input_length: 1, output_length: 1, hash_ids: [7] })).join('\n');
    expect(rowsOf(multiplyTrace(text, 2)).map((row) => row.timestamp)).toEqual([0, 30, 40, 60, 90, 100]);
  });

  it('gives every copy sessions of its own, and leaves out times that are not there', () => {
    const text = '{"session_id": "a", "timestamp": 5, "hash_ids": [0]}\n\n{"session_id": "a", "delay": 3, "hash_ids": [0, 1]}\n';
    expect(rowsOf(multiplyTrace(text, 2))).toEqual([
      { session_id: 'a#0', timestamp: 5, hash_ids: [0] },
      { session_id: 'a#0', delay: 3, hash_ids: [0, 1] },
      { session_id: 'a#1', timestamp: 5, hash_ids: [2] },
      { session_id: 'a#1', delay: 3, hash_ids: [2, 3] },
    ]);
  });
});
