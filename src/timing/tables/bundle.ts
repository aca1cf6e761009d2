import { strFromU8, strToU8, unzlibSync, zlibSync } from 'fflate';
import { InputError } from '../../core/problem.js';
import { OPERATORS, type Operator } from './operator-slices.js';
import type { Points, Slices } from './points.js';

/**
 * Operator tables of one system in a compact file of our own: chosen points, times rounded to 1/128 of a doubling
 * (0.3 % at most). Layout: a zlib stream of a JSON header of known length, then per slice the sizes and times as
 * zigzag varints of differences between neighbours, in the order given (which decides between equally near points).
 */
export interface BundledTables {
  readonly backend: string;
  readonly version: string;
  readonly operators: ReadonlyMap<Operator, Slices>;
}

const STEPS = 128;
/** Less counts as this. */
const LEAST_MS = 1e-7;
const MAGIC = 'dynotwin.operators/1';

interface Header {
  readonly schema: string;
  readonly source: string;
  readonly tables: readonly { readonly backend: string; readonly version: string; readonly slices: readonly (readonly [operator: number, slice: string, axes: number, points: number])[] }[];
}

/** @param source where the times come from, kept in the file */
export function encodeBundle(source: string, tables: readonly BundledTables[]): Uint8Array {
  const body: number[] = [];
  const header: Header = {
    schema: MAGIC,
    source,
    tables: tables.map(({ backend, version, operators }) => ({
      backend,
      version,
      slices: [...operators].flatMap(([operator, slices]) =>
        [...slices].filter(([, { ms }]) => ms.length > 0).map(([slice, points]) => {
          writePoints(body, points);
          return [OPERATORS.indexOf(operator), slice, points.axes, points.ms.length] as const;
        }),
      ),
    })),
  };
  const head = strToU8(JSON.stringify(header));
  const bytes = new Uint8Array(4 + head.length + body.length);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  bytes.set(body, 4 + head.length);
  return zlibSync(bytes, { level: 9 });
}

/** Throws InputError (E-FILE) for anything that is not such a file. */
export function decodeBundle(path: string, data: Uint8Array): { readonly source: string; readonly tables: readonly BundledTables[] } {
  try {
    const bytes = unzlibSync(data);
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const header = JSON.parse(strFromU8(bytes.subarray(4, 4 + length))) as Header;
    if (header.schema !== MAGIC) throw new Error(`schema is ${header.schema}, expected ${MAGIC}`);
    const reader = new VarintReader(bytes, 4 + length);
    const tables = header.tables.map(({ backend, version, slices }) => {
      const operators = new Map<Operator, Map<string, Points>>();
      for (const [index, slice, axes, count] of slices) {
        const operator = OPERATORS[index]!;
        const into = operators.get(operator) ?? new Map<string, Points>();
        operators.set(operator, into.set(slice, readPoints(reader, axes, count)));
      }
      return { backend, version, operators };
    });
    return { source: header.source, tables };
  } catch (error) {
    throw new InputError({ code: 'E-FILE', file: path, what: error instanceof Error ? error.message : String(error), hint: 'no file of embedded operator tables, or damaged' });
  }
}

function writePoints(body: number[], { axes, at, ms }: Points): void {
  const rows = Array.from(ms.keys());
  for (let axis = 0; axis < axes; axis++) writeDifferences(body, rows.map((row) => at[row * axes + axis]!));
  writeDifferences(body, rows.map((row) => Math.round(Math.log2(Math.max(ms[row]!, LEAST_MS)) * STEPS)));
}

function readPoints(reader: VarintReader, axes: number, count: number): Points {
  const at = new Float64Array(axes * count);
  for (let axis = 0; axis < axes; axis++) {
    let value = 0;
    for (let row = 0; row < count; row++) at[row * axes + axis] = value += reader.next();
  }
  const ms = new Float64Array(count);
  let value = 0;
  for (let row = 0; row < count; row++) ms[row] = 2 ** ((value += reader.next()) / STEPS);
  return { axes, at, ms };
}

function writeDifferences(body: number[], values: readonly number[]): void {
  let previous = 0;
  for (const value of values) {
    const difference = value - previous;
    previous = value;
    for (let rest = difference < 0 ? -2 * difference - 1 : 2 * difference; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) {
        body.push(rest);
        break;
      }
      body.push((rest % 128) + 128);
    }
  }
}

class VarintReader {
  constructor(
    private readonly bytes: Uint8Array,
    private offset: number,
  ) {}

  next(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.offset++];
      if (byte === undefined) throw new Error('ends too early');
      value += (byte & 127) * scale;
      if (byte < 128) return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
    }
  }
}
