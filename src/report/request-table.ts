import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Papa from 'papaparse';
import { InputError } from '../core/problem.js';
import type { SampleRow } from '../sweep/run-samples.js';

const TEXTS = ['session', 'status'] as const;
const NUMBERS = ['id', 'turn', 'isl', 'osl_requested', 'reused_tokens'] as const;
const OPTIONAL = ['arrival_ms', 'admit_ms', 'end_ms', 'ttft_ms', 'tpot_ms', 'e2e_ms', 'queue_ms'] as const;
const COLUMNS = [...TEXTS, ...NUMBERS, ...OPTIONAL, 'good'] as const;

/** Requests of a run folder, from requests.csv or else requests.jsonl; null where it has neither. Throws `E-FILE` with the line of a damaged one. */
export function readRequestTable(folder: string): SampleRow[] | null {
  const csv = join(folder, 'requests.csv');
  const jsonl = join(folder, 'requests.jsonl');
  if (existsSync(csv)) {
    const { data, meta } = Papa.parse<Record<string, string>>(readFileSync(csv, 'utf8'), { header: true, skipEmptyLines: true });
    const absent = COLUMNS.filter((name) => !meta.fields?.includes(name));
    if (absent.length > 0) throw damaged(csv, 1, `column ${absent.join(', ')} is missing`);
    return data.map((row, i) => sampleRow(row, (what) => damaged(csv, i + 2, what)));
  }
  if (!existsSync(jsonl)) return null;
  return readFileSync(jsonl, 'utf8').split('\n').flatMap((line, i) => {
    if (line === '') return [];
    const refuse = (what: string): InputError => damaged(jsonl, i + 1, what);
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw refuse('not JSON');
    }
    if (row === null || typeof row !== 'object') throw refuse('not a JSON object');
    return [sampleRow(row as Record<string, unknown>, refuse)];
  });
}

/** Cells are text in CSV, with nothing for null. */
function sampleRow(row: Record<string, unknown>, refuse: (what: string) => InputError): SampleRow {
  const cells: Record<string, string | number | boolean | null> = {};
  for (const name of TEXTS) {
    const value = row[name];
    if (typeof value !== 'string' && typeof value !== 'number') throw refuse(`${name} is missing`);
    cells[name] = String(value);
  }
  for (const name of [...NUMBERS, ...OPTIONAL]) {
    const value = row[name];
    const isNothing = value === null || value === '';
    const number = typeof value === 'string' || typeof value === 'number' ? Number(value) : NaN;
    if (isNothing ? (NUMBERS as readonly string[]).includes(name) : !Number.isFinite(number)) throw refuse(`${name} '${String(value)}' is no number`);
    cells[name] = isNothing ? null : number;
  }
  const good = row['good'];
  cells['good'] = good === null || good === '' || good === undefined ? null : String(good) === 'true';
  return cells as unknown as SampleRow;
}

function damaged(file: string, line: number, what: string): InputError {
  return new InputError({ code: 'E-FILE', file, line, col: 1, what, hint: 'the file is damaged; run the scenario again' });
}
