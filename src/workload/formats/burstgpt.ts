import Papa from 'papaparse';
import { InputError } from '../../core/problem.js';
import { WorkloadBuilder } from '../builder.js';
import type { Workload } from '../workload.js';
import { noRequest, traceName, wholeText } from './lines.js';
import { MAX_TOKENS } from './row-fields.js';
import type { TraceOptions } from './trace.js';

const COLUMNS = ['Timestamp', 'Request tokens', 'Response tokens'] as const;

/**
 * Reads a BurstGPT CSV with the columns `Timestamp` (s), `Request tokens`, `Response tokens` (others are not used).
 * Rows are independent and share nothing.
 * Source: workload spec, section 1.7.
 */
export async function readBurstGpt(path: string, options: TraceOptions): Promise<Workload> {
  const blockTokens = options.blockTokens ?? 512;
  const builder = new WorkloadBuilder(traceName(path), blockTokens);
  const table = Papa.parse<string[]>(await wholeText(path), { skipEmptyLines: false }).data;
  const header = table[0] ?? [];
  const places = COLUMNS.map((column) => header.findIndex((name) => name.trim().toLowerCase() === column.toLowerCase()));
  places.forEach((place, index) => {
    if (place < 0) throw new InputError({ code: 'E-TRACE', file: path, line: 1, path: COLUMNS[index], what: 'no such column', hint: `name the columns ${COLUMNS.join(', ')}` });
  });
  const lines: number[] = [];
  let freshId = 0;
  let skip = options.skip ?? 0;
  for (const [index, cells] of table.entries()) {
    if (index === 0 || cells.every((cell) => cell.trim() === '') || skip-- > 0) continue;
    if (lines.length >= (options.requests ?? Infinity)) break;
    const cell = (column: 0 | 1 | 2, test: (value: number) => boolean, hint: string): number => {
      const text = cells[places[column]!] ?? '';
      const value = text.trim() === '' ? NaN : Number(text);
      if (test(value)) return value;
      throw new InputError({ code: 'E-TRACE', file: path, line: index + 1, path: COLUMNS[column], what: `'${text}' is not valid`, hint });
    };
    const tokens = (least: number) => (value: number) => Number.isInteger(value) && value >= least && value <= MAX_TOKENS;
    const seconds = cell(0, (value) => Number.isFinite(value) && value >= 0, 'write seconds from 0 on');
    const promptTokens = cell(1, tokens(1), 'write a whole number of tokens of at least 1');
    const outputTokens = cell(2, tokens(0), 'write a whole number of tokens');
    const hashIds = Array.from({ length: Math.ceil(promptTokens / blockTokens) }, () => freshId++);
    builder.addRequest({ session: builder.addSession(`request_${index + 1}`), arrivalMs: 1000 * seconds, delayMs: 0, promptTokens, outputTokens }, hashIds);
    lines.push(index + 1);
  }
  if (lines.length === 0) throw noRequest(path);
  return builder.finish([], { file: path, lines });
}
