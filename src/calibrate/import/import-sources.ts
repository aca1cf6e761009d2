import Papa from 'papaparse';
import { existsSync } from 'node:fs';
import { InputError } from '../../core/problem.js';
import { normalisedCsv } from '../gpu/normalised.js';
import { mergeMeasurements } from '../gpu/profile-data.js';
import { importAicFpm } from './aic-fpm.js';
import { importAicTables } from './aic-tables.js';
import { detectKind, type ImportKind } from './detect.js';
import { importFpmLog } from './fpm-log.js';
import { Tally, type Imported, type Importer, type ImportOptions, type LinkRow, type RequestTiming, type ServingRow } from './imported.js';
import { importRequestTiming } from './request-timing.js';
import { importAiperf, importVllmBench } from './serving.js';
import { importNixl, importNvbandwidth, importUcx } from './transfers.js';
import { importVidur } from './vidur.js';
import { importWorker } from './worker.js';

const IMPORTERS: Readonly<Record<ImportKind, Importer>> = {
  worker: importWorker, 'aic-tables': importAicTables, 'aic-fpm': importAicFpm, 'fpm-log': importFpmLog, aiperf: importAiperf, 'vllm-bench': importVllmBench,
  nvext: importRequestTiming, vidur: importVidur, nvbandwidth: importNvbandwidth, ucx: importUcx, nixl: importNixl,
};

type OptionName = keyof ImportOptions;
const IDENTITY: readonly OptionName[] = ['model', 'hardware', 'engine', 'engineVersion'];

/** What importers ask of the user. */
const READ_OPTIONS: Readonly<Record<ImportKind, readonly OptionName[]>> = {
  worker: [], 'aic-tables': [...IDENTITY, 'tp', 'dtype', 'kv'], 'aic-fpm': [...IDENTITY, 'tp'], 'fpm-log': [...IDENTITY, 'tp', 'dtype', 'kv', 'overlapOff'], aiperf: ['model'], 'vllm-bench': ['model'],
  nvext: ['model'], vidur: IDENTITY, nvbandwidth: [], ucx: [], nixl: [],
};
const FLAGS: Readonly<Record<OptionName, string>> = {
  model: '--model', hardware: '--hardware', tp: '--tp', engine: '--engine', engineVersion: '--engine-version', dtype: '--dtype', kv: '--kv', overlapOff: '--overlap-off',
};

/** Columns of the CSV files that hold no measurements of operators or passes. */
const SERVING_COLUMNS: readonly (keyof ServingRow)[] = ['source', 'model', 'isl', 'osl', 'concurrency', 'request_rate', 'metric', 'stat', 'value', 'unit'];
const REQUEST_COLUMNS: readonly (keyof RequestTiming)[] = [
  'source', 'request_id', 'model', 'input_tokens', 'output_tokens', 'prefill_wait_ms', 'prefill_ms', 'ttft_ms', 'total_ms', 'kv_hit_rate', 'frontend_ms',
];
const LINK_COLUMNS: readonly (keyof LinkRow)[] = ['name', 'bytes', 'time_us', 'gb_per_s', 'bidirectional', 'blocks', 'source'];

/** What some sources came to: kinds in the order given, and what was left out of them. */
export interface ImportResult {
  readonly kinds: readonly ImportKind[];
  readonly imported: Imported;
  readonly tally: Tally;
}

/**
 * Reads sources of one shape: operators and passes, or serving results, or timings of requests, or transfers. Throws `E-CONFLICT` for
 * sources that do not go into one file, `E-NO-EFFECT` for an option that no importer reads, and what detection and importers throw.
 */
export async function importSources(sources: readonly string[], as: ImportKind | undefined, options: ImportOptions): Promise<ImportResult> {
  const tally = new Tally();
  const kinds: ImportKind[] = [];
  let all: Imported | null = null;
  for (const source of sources) {
    if (!existsSync(source)) throw new InputError({ code: 'E-FILE', file: source, what: 'no such file or folder', hint: 'check the path' });
    const kind = as ?? detectKind(source);
    checkOptions(kind, options, source);
    const imported = await IMPORTERS[kind](source, options, tally);
    all = all === null ? imported : together(all, imported, source);
    kinds.push(kind);
  }
  return { kinds, imported: all!, tally };
}

function checkOptions(kind: ImportKind, options: ImportOptions, file: string): void {
  const unread = (Object.keys(FLAGS) as OptionName[]).find((name) => options[name] !== undefined && !READ_OPTIONS[kind].includes(name));
  if (unread !== undefined) throw new InputError({ code: 'E-NO-EFFECT', file, path: FLAGS[unread], what: `is never read of a source of kind ${kind}`, hint: 'leave it out' });
}

function together(a: Imported, b: Imported, source: string): Imported {
  if (a.shape === 'records' && b.shape === 'records') return { shape: 'records', measurements: mergeMeasurements([a.measurements, b.measurements]) };
  if (a.shape === 'serving' && b.shape === 'serving') return { shape: 'serving', rows: [...a.rows, ...b.rows] };
  if (a.shape === 'requests' && b.shape === 'requests') return { shape: 'requests', rows: [...a.rows, ...b.rows] };
  if (a.shape === 'links' && b.shape === 'links') return { shape: 'links', rows: [...a.rows, ...b.rows] };
  throw new InputError({ code: 'E-CONFLICT', file: source, what: `holds ${b.shape}, a source before it ${a.shape}`, hint: 'import them into files of their own' });
}

/** The text of the CSV file. */
export function importedCsv(imported: Imported): string {
  switch (imported.shape) {
    case 'records':
      return normalisedCsv(imported.measurements);
    case 'serving':
      return csv(SERVING_COLUMNS, imported.rows);
    case 'requests':
      return csv(REQUEST_COLUMNS, imported.rows);
    case 'links':
      return csv(LINK_COLUMNS, imported.rows);
  }
}

function csv<T extends object>(columns: readonly (keyof T & string)[], rows: readonly T[]): string {
  return `${Papa.unparse({ fields: [...columns], data: rows.map((row) => columns.map((name) => row[name])) }, { newline: '\n' })}\n`;
}
