import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../../core/problem.js';
import { isNormalisedHeader } from '../gpu/normalised.js';
import { MEASUREMENTS_FILE } from '../gpu/measurement-files.js';
import { FPM_TABLE } from './aic-fpm.js';
import { jsonlFiles, parsedObject } from './lines.js';

/** What can be imported. */
export const IMPORT_KINDS = ['worker', 'aic-tables', 'aic-fpm', 'fpm-log', 'aiperf', 'vllm-bench', 'nvext', 'vidur', 'nvbandwidth', 'ucx', 'nixl'] as const;
export type ImportKind = (typeof IMPORT_KINDS)[number];

type Json = Readonly<Record<string, unknown>>;

/** What a source is, from its content. Throws `E-FILE` where there is none, `E-KIND` where it is of no kind that is known. */
export function detectKind(source: string): ImportKind {
  if (!existsSync(source)) throw new InputError({ code: 'E-FILE', file: source, what: 'no such file or folder', hint: 'check the path' });
  const kind = statSync(source).isDirectory() ? kindOfFolder(source) : kindOfFile(source);
  if (kind !== null) return kind;
  throw new InputError({ code: 'E-KIND', file: source, what: 'is nothing that is known by its content', hint: `say what it is with --as: ${IMPORT_KINDS.join(', ')}` });
}

function kindOfFolder(folder: string): ImportKind | null {
  const names = readdirSync(folder);
  if (names.includes(MEASUREMENTS_FILE)) return 'worker';
  if (names.includes(FPM_TABLE)) return 'aic-fpm';
  const logs = jsonlFiles(folder);
  return logs.length > 0 ? kindOfFile(logs[0]!) : hasTables(folder) ? 'aic-tables' : null;
}

function hasTables(folder: string): boolean {
  return readdirSync(folder, { withFileTypes: true }).some((entry) => (entry.isDirectory() ? hasTables(join(folder, entry.name)) : entry.name.endsWith('_perf.parquet')));
}

function kindOfFile(file: string): ImportKind | null {
  const bytes = bytesOf(file);
  if (bytes.subarray(0, 4).toString('latin1') === 'PAR1') return file.endsWith(FPM_TABLE) ? 'aic-fpm' : 'aic-tables';
  const text = bytes.toString('utf8');
  const first = text.slice(0, text.indexOf('\n') + 1 || undefined);
  if (isNormalisedHeader(first)) throw new InputError({ code: 'E-KIND', file, what: 'holds normalised measurements already', hint: "give it to 'dynotwin calibrate fit'" });
  if (text.trimStart().startsWith('{')) return kindOfObject(parsedObject(text) ?? parsedObject(first));
  if (/^\s*Final:\s/m.test(text)) return 'ucx';
  if (/^block_size\s*,\s*batch_size\s*,/.test(first) || text.includes('Block Size (B)')) return 'nixl';
  return /(^|,)time_stats\.\w+\.median(,|$)/m.test(first) ? 'vidur' : null;
}

function bytesOf(file: string): Buffer {
  try {
    const bytes = readFileSync(file);
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
  } catch (error) {
    throw new InputError({ code: 'E-FILE', file, what: `cannot be read (${(error as Error).message})`, hint: 'fetch or pack it again' });
  }
}

/** A whole file's object, or that of its first line. */
function kindOfObject(value: Json | null): ImportKind | null {
  if (value === null) return null;
  const event = (value['event'] ?? value) as Json;
  if (value['type'] === 'capabilities') return 'worker';
  if ('nvbandwidth' in value) return 'nvbandwidth';
  if ('fpm' in event || ('counter_id' in event && 'wall_time' in event)) return 'fpm-log';
  if ('nvext' in event || typeof event['event_type'] === 'string') return 'nvext';
  if (['mean_ttft_ms', 'median_ttft_ms', 'mean_tpot_ms'].some((name) => name in value)) return 'vllm-bench';
  const isBlock = (name: string): boolean => typeof value[name] === 'object' && value[name] !== null && 'unit' in value[name];
  if (('metrics' in value && 'metadata' in value) || ['request_latency', 'time_to_first_token', 'request_throughput'].some(isBlock)) return 'aiperf';
  return null;
}
