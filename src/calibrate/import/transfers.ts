import Papa from 'papaparse';
import { basename } from 'node:path';
import { z } from 'zod';
import { readText } from '../../core/read-text.js';
import { InputError } from '../../core/problem.js';
import type { Imported, ImportOptions, LinkRow, Tally } from './imported.js';
import { parsedObject } from './lines.js';

/** Link measurements of nvbandwidth, UCX and NIXL. */

const MIB = 2 ** 20;

const nvbandwidthSchema = z.looseObject({
  nvbandwidth: z.looseObject({ testcases: z.array(z.looseObject({ name: z.string(), status: z.string(), bandwidth_description: z.string().optional(), bandwidth_matrix: z.array(z.array(z.string())).optional() })) }),
});

/**
 * `nvbandwidth -j`: a row for every cell of a test that passed, in GB/s, or ns in tests of latency. The size of the copies is not in the
 * file. Throws `E-FILE`, `E-ROW`.
 */
export async function importNvbandwidth(source: string, _options: ImportOptions, tally: Tally): Promise<Imported> {
  const parsed = nvbandwidthSchema.safeParse(parsedObject(readText(source)));
  if (!parsed.success) throw new InputError({ code: 'E-FILE', file: source, path: parsed.error.issues[0]!.path.join('.'), what: parsed.error.issues[0]!.message, hint: "write the file with 'nvbandwidth -j'" });
  const rows = parsed.data.nvbandwidth.testcases.flatMap(({ name, status, bandwidth_description: description, bandwidth_matrix: matrix = [] }) => {
    if (status !== 'Passed') tally.drop(`test with status ${status}`);
    if (status !== 'Passed') return [];
    const isLatency = /latency/.test(name) || /\(ns\)/.test(description ?? '');
    return matrix.flat().flatMap((cell): LinkRow[] => {
      if (cell === 'N/A') {
        tally.drop('pair that was not measured');
        return [];
      }
      const value = Number(cell);
      if (!(value > 0)) throw new InputError({ code: 'E-ROW', file: source, path: name, what: `'${cell}' is no ${isLatency ? 'time in ns' : 'rate in GB/s'}`, hint: 'measure again' });
      return [{ name, bytes: null, time_us: isLatency ? value / 1000 : null, gb_per_s: isLatency ? null : value, bidirectional: /bidirectional/.test(name), blocks: 1, source: basename(source) }];
    });
  });
  return { shape: 'links', rows: some(rows, source) };
}

/** Iterations; µs at the 50th percentile, on average, overall; MiB/s on average, overall; messages/s on average, overall. */
const UCX_FINAL = /^\s*Final:\s+(.*)$/;
const UCX_NUMBERS = 8;
const UCX_TEST = /^\|?\s*Test:\s+(.*?)\s*\|?\s*$/;
const UCX_SIZE = /^\|?\s*Message size:\s+(\d+)/;

/**
 * Output of `ucx_perftest`: a row for every `Final:` line, from the overall time of a message (µs) and the overall bandwidth, whose printed
 * MB/s are MiB/s. The size where it is not printed is their product. Throws `E-FILE`, `E-ROW`.
 */
export async function importUcx(source: string, _options: ImportOptions, tally: Tally): Promise<Imported> {
  const text = readText(source);
  if (/tag_bw|tag match bandwidth/.test(text)) tally.warn('tag_bw seen by the client may report more than went over the link (openucx/ucx#10184): check the server, or measure ucp_put_bw');
  const rows: LinkRow[] = [];
  let [test, size]: [string, number | null] = ['ucx', null];
  text.split('\n').forEach((line, index) => {
    test = UCX_TEST.exec(line)?.[1] ?? test;
    const printed = UCX_SIZE.exec(line)?.[1];
    if (printed !== undefined) size = Number(printed);
    const final = UCX_FINAL.exec(line)?.[1];
    if (final === undefined) return;
    const numbers = final.trim().split(/\s+/).map(Number);
    const [, , , overallUs, , mib] = numbers;
    if (numbers.length !== UCX_NUMBERS || numbers.some(Number.isNaN) || !(overallUs! > 0) || !(mib! > 0)) throw new InputError({ code: 'E-ROW', file: source, line: index + 1, what: 'is no Final row of a bandwidth test', hint: 'run a test such as ucp_put_bw to its end' });
    const rate = mib! * MIB;
    rows.push({ name: test, bytes: size ?? Math.round((rate * overallUs!) / 1e6), time_us: overallUs!, gb_per_s: rate / 1e9, bidirectional: false, blocks: 1, source: basename(source) });
  });
  return { shape: 'links', rows: some(rows, source) };
}

const NIXL_COLUMN = /Block Size \(B\)|Batch Size|Aggregate B\/W \(GB\/Sec\)|B\/W \((?:MiB|GiB|GB)\/Sec\)|Network Util \(%\)|Avg Lat\. \(us\)|(?:Avg|P99) (?:Prep|Post|Tx) \(us\)/g;

/**
 * NIXL's benchmark, its table of text or its CSV. A batch is one transfer in as many blocks; latency is that of a block. Throws `E-FILE`,
 * `E-COLUMN`, `E-ROW` with file and line.
 */
export async function importNixl(source: string, _options: ImportOptions, _tally: Tally): Promise<Imported> {
  const lines = readText(source).split('\n');
  const rows = /^block_size\s*,/m.test(lines[0] ?? '') ? nixlCsv(source, lines.join('\n')) : nixlText(source, lines);
  return { shape: 'links', rows: some(rows, source) };
}

function nixlCsv(source: string, text: string): LinkRow[] {
  const { data, meta } = Papa.parse<Record<string, string>>(text, { header: true, skipEmptyLines: true });
  for (const name of ['block_size', 'batch_size', 'avg_lat', 'bw_gb_sec']) {
    if (!meta.fields?.includes(name)) throw new InputError({ code: 'E-COLUMN', file: source, line: 1, path: name, what: 'column is absent', hint: 'give the CSV as nixlbench writes it' });
  }
  return data.map((row, index) => nixlRow(source, index + 2, Number(row['block_size']), Number(row['batch_size']), Number(row['avg_lat']), Number(row['bw_gb_sec'])));
}

/** Rows of numbers below a header; other lines say what the benchmark does. */
function nixlText(source: string, lines: readonly string[]): LinkRow[] {
  let columns: readonly string[] = [];
  return lines.flatMap((line, index) => {
    if (line.includes('Block Size (B)')) columns = line.match(NIXL_COLUMN) ?? [];
    const cells = line.trim().split(/\s+/);
    if (columns.length === 0 || cells.length !== columns.length || !/^\d+$/.test(cells[0]!)) return [];
    const cell = (name: string): number => Number(cells[columns.indexOf(name)]);
    return [nixlRow(source, index + 1, cell('Block Size (B)'), cell('Batch Size'), cell('Avg Lat. (us)'), cell('B/W (GB/Sec)'))];
  });
}

function nixlRow(source: string, line: number, block: number, batch: number, latencyUs: number, rate: number): LinkRow {
  if (![block, batch, latencyUs, rate].every((value) => value > 0)) throw new InputError({ code: 'E-ROW', file: source, line, what: 'holds a size, time or rate that is no number above 0', hint: 'correct or remove the row' });
  return { name: 'nixl', bytes: block * batch, time_us: latencyUs * batch, gb_per_s: rate, bidirectional: false, blocks: batch, source: basename(source) };
}

function some(rows: readonly LinkRow[], source: string): readonly LinkRow[] {
  if (rows.length > 0) return rows;
  throw new InputError({ code: 'E-ROW', file: source, what: 'holds no measured transfer', hint: 'give the whole output of the benchmark' });
}
