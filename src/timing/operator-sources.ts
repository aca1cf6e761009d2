import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InputError } from '../core/problem.js';
import { requireHardware, type Hardware } from './catalogue.js';
import { LayeredOperators, type Layer } from './layered-operators.js';
import { kernelFacts } from './kernel-facts.js';
import { RooflineOperators, typicalReach } from './roofline-operators.js';
import { SiblingOperators } from './sibling-operators.js';
import { decodeBundle, type BundledTables } from './tables/bundle.js';
import { OperatorDatabase, compareVersions } from './tables/database.js';
import { readSlices } from './tables/operator-slices.js';
import type { Slices } from './tables/points.js';
import { TableOperators } from './tables/table-operators.js';

/** Name of the source that measured nothing. */
export const DATASHEET = 'the datasheet';

/** In the order in which they stand in for each other. */
const ENGINES = ['sglang', 'vllm', 'trtllm'];
const EMPTY: Slices = new Map();

/** Measured operators of a GPU under an engine, and where they come from. */
export interface OperatorSource {
  readonly times: LayeredOperators;
  /** `vllm 0.24.0 on h200_sxm` */
  readonly name: string;
  /** False where the GPU itself was never measured. */
  readonly own: boolean;
}

/**
 * The tables that ship with the project: the engine's own, then other engines' on the same GPU, then those of a GPU
 * of the same make scaled by the datasheets, at last the datasheet with typical efficiencies. What was not the
 * engine's own is noted in `times.borrowed`. Without `estimates` the datasheet is left out.
 */
export function embeddedOperators(hardware: string, engine: string, estimates = true): OperatorSource {
  const gpu = requireHardware(hardware);
  const own = embeddedTables(hardware);
  const order = [engine, ...ENGINES.filter((name) => name !== engine)];
  const layers: Layer[] = [];
  const add = (tables: EmbeddedTables | null, on: string, wrap: (times: TableOperators) => Layer['times']): void => {
    for (const name of order) {
      const found = tables?.backends.get(name);
      if (found !== undefined) layers.push({ name: `${name} ${found.version}${on}`, times: wrap(found.times) });
    }
  };
  add(own, '', (times) => times);
  const like = own === null ? gpu.kernels_like : undefined;
  if (like !== undefined) add(embeddedTables(like), ` on ${like}, scaled`, (times) => new SiblingOperators(gpu, times));
  if (estimates) layers.push({ name: DATASHEET, times: new RooflineOperators(gpu, typicalReach()) });
  return { times: new LayeredOperators(gpu, layers), name: layers[0]?.name ?? 'nothing', own: own !== null };
}

interface EmbeddedTables {
  readonly backends: ReadonlyMap<string, { readonly version: string; readonly times: TableOperators }>;
}

const embedded = new Map<string, EmbeddedTables | null>();

function embeddedTables(hardware: string): EmbeddedTables | null {
  const known = embedded.get(hardware);
  if (known !== undefined) return known;
  const path = fileURLToPath(new URL(`../../engines/profiles/operators/${hardware}.bin`, import.meta.url));
  const tables = existsSync(path) ? tablesOf(requireHardware(hardware), decodeBundle(path, readFileSync(path)).tables) : null;
  embedded.set(hardware, tables);
  return tables;
}

function tablesOf(gpu: Hardware, tables: readonly BundledTables[]): EmbeddedTables {
  const common = tables.find(({ backend }) => backend === 'nccl');
  const backends = new Map<string, { version: string; times: TableOperators }>();
  for (const { backend, version, operators } of tables) {
    if (backend === 'nccl') continue;
    const source = (operator: Parameters<typeof operators.get>[0]): Slices => (operator === 'nccl' ? common?.operators : operators)?.get(operator) ?? EMPTY;
    backends.set(backend, { version, times: new TableOperators(gpu, source) });
  }
  return { backends };
}

/** True where tables of this GPU, or of one of the same make, ship with the project. */
export function hasShippedTables(hardware: string): boolean {
  const like = requireHardware(hardware).kernels_like;
  return embeddedTables(hardware) !== null || (like !== undefined && embeddedTables(like) !== null);
}

/** How tables from a folder are read. */
export interface FolderQuestion {
  readonly path: string;
  readonly hardware: string;
  readonly engine: string;
  readonly version: string;
  /** True: exactly as AIConfigurator reads them. False: without tables known to be bad, gaps filled from other engines and the datasheet. */
  readonly exact: boolean;
  /** The datasheet, with typical efficiencies, answers where no table does. */
  readonly estimates: boolean;
}

const databases = new Map<string, OperatorDatabase>();
const folderTables = new Map<string, TableOperators>();

/**
 * Tables of a folder (AIConfigurator's layout). Throws InputError: `E-FILE` for a folder without tables or a bad
 * file, `E-HARDWARE` for a system, engine or version it does not have, with those it has.
 */
export function folderOperators({ path, hardware, engine, version, exact, estimates }: FolderQuestion): OperatorSource {
  const database = databases.get(path) ?? OperatorDatabase.open(path);
  databases.set(path, database);
  const missing = (what: string, hint: string): InputError => new InputError({ code: 'E-HARDWARE', file: path, what, hint });
  if (!database.systems().includes(hardware)) throw missing(`no tables of ${hardware}`, `there are ${database.systems().join(', ')}`);
  const versions = database.versions(hardware, engine);
  if (versions.length === 0) throw missing(`no tables of ${engine} on ${hardware}`, `there are ${ENGINES.filter((name) => database.versions(hardware, name).length > 0).join(', ')}`);
  if (!versions.includes(version)) throw missing(`no tables of ${engine} ${version} on ${hardware}`, `there are ${versions.join(', ')}`);
  const gpu = requireHardware(hardware);
  const tables = (name: string, of: string): TableOperators => {
    const key = [path, hardware, name, of, exact].join('|');
    const found = folderTables.get(key) ?? new TableOperators(gpu, (operator) => readSlices(operator, database.files(hardware, operator, name, of).filter(({ kernels, from }) => exact || (kernels === null && !isBadTable(hardware, operator, from)))));
    folderTables.set(key, found);
    return found;
  };
  const first: Layer = { name: `${engine} ${version}`, times: tables(engine, version), ...(exact ? {} : repaired(engine, version)) };
  const last: Layer[] = estimates ? [{ name: DATASHEET, times: new RooflineOperators(gpu, typicalReach()) }] : [];
  if (exact) return { times: new LayeredOperators(gpu, [first, ...last]), name: first.name, own: true };
  const others = ENGINES.filter((name) => name !== engine && database.versions(hardware, name).length > 0).map((name): Layer => {
    const newest = database.versions(hardware, name)[0]!;
    return { name: `${name} ${newest}`, times: tables(name, newest), ...repaired(name, newest) };
  });
  return { times: new LayeredOperators(gpu, [first, ...others, ...last]), name: first.name, own: true };
}

/** Tables with rows faster than the GPU can be (perf-model section 1.5). */
export function isBadTable(system: string, operator: string, from: string): boolean {
  return kernelFacts().distrusted.some((table) => table.system === system && table.operator === operator && `${table.backend} ${table.version}` === from);
}

/** True where block-scaled FP8 products hold launch overhead (perf-model section 1.5). */
export function holdsLaunches(engine: string, version: string): boolean {
  const since = kernelFacts().fp8_block_holds_launches[engine];
  return since !== undefined && compareVersions(version, since) >= 0;
}

function repaired(engine: string, version: string): Pick<Layer, 'trusts'> {
  if (!holdsLaunches(engine, version)) return {};
  return { trusts: (operator, mode) => operator !== 'gemm' || mode !== 'fp8_block' };
}

/** The folder a scenario names, else that of the environment variable; undefined = the tables that ship with the project. */
export function tablesFolder(path: string | undefined): string | undefined {
  return path ?? (process.env['DYNOTWIN_TABLES'] || undefined);
}

/** Which tables are asked for. */
export interface LayeredQuestion {
  readonly hardware: string;
  readonly engine: string;
  readonly version: string;
  readonly folder: string | undefined;
  /** As AIConfigurator reads them. */
  readonly exact: boolean;
  /** Absent = estimate what the shipped tables lack, refuse what a folder lacks. */
  readonly miss?: 'error' | 'estimate' | undefined;
}

/** A folder's tables, else those that ship. Throws as `folderOperators` does. */
export function layeredSource({ hardware, engine, version, folder, exact, miss }: LayeredQuestion): OperatorSource {
  if (folder === undefined) return embeddedOperators(hardware, engine, miss !== 'error');
  return folderOperators({ path: folder, hardware, engine, version, exact, estimates: miss === 'estimate' });
}
