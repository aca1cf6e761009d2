import { existsSync, statSync } from 'node:fs';
import { OperatorDatabase } from '../src/timing/tables/database.js';
import { OPERATORS, readSlices, type Operator } from '../src/timing/tables/operator-slices.js';
import { readParquet } from '../src/timing/tables/parquet.js';
import { TABLE_MS, TABLES } from './cases.js';
import { short, spread, type Judge } from './numbers.js';

/** What reading the largest measured table costs, as a line; null = there are none here. */
export function tableLine(repeat: number, scale: number, judge: Judge): string | null {
  if (!existsSync(TABLES)) return null;
  const database = OperatorDatabase.open(TABLES);
  let largest: { readonly path: string; readonly operator: Operator; readonly bytes: number } | null = null;
  for (const system of database.systems()) {
    for (const backend of ['vllm', 'sglang', 'trtllm']) {
      for (const version of database.versions(system, backend)) {
        for (const operator of OPERATORS) {
          for (const { path } of database.files(system, operator, backend, version).slice(0, 1)) {
            const bytes = statSync(path).size;
            if (largest === null || bytes > largest.bytes) largest = { path, operator, bytes };
          }
        }
      }
    }
  }
  if (largest === null) return null;
  const { path, operator } = largest;
  const times = Array.from({ length: repeat }, () => {
    const start = performance.now();
    readSlices(operator, [{ path, from: '', kernels: null }]);
    return performance.now() - start;
  });
  const name = path.slice(TABLES.length + 1);
  return `${name}: ${readParquet(path).rows} rows read in ms ${judge.figure(`${name}: ms`, spread(times).best, { atMost: TABLE_MS * Math.max(scale, 1) })}, first ${short(times[0]!)}`;
}
