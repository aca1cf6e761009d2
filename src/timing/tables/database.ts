import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { InputError } from '../../core/problem.js';
import type { Operator, TableFile } from './operator-slices.js';

/**
 * A folder of operator tables in AIConfigurator's layout: `<system>.yaml` and
 * `data/<system>/<family>/<backend>/<version>/<op>_perf.parquet` (perf-model section 1.2), or the older one without families.
 */
export class OperatorDatabase {
  private readonly manifest: readonly Reuse[];

  private constructor(readonly root: string) {
    const path = join(root, 'perf_data_reuse_manifest.yaml');
    this.manifest = existsSync(path) ? ((parse(readFileSync(path, 'utf8')) as { groups?: Reuse[] }).groups ?? []) : [];
  }

  /**
   * Opens the database in a folder: the systems folder itself, a checkout of AIConfigurator, or an installed
   * wheel's folder (or the site-packages above it). Throws InputError (E-FILE) where there is none.
   */
  static open(path: string): OperatorDatabase {
    const inside = ['', 'systems', 'aiconfigurator_core/systems', 'aic-core/src/aiconfigurator_core/systems', 'src/aiconfigurator/systems', 'aiconfigurator/systems'];
    const root = inside.map((folder) => join(path, folder)).find((folder) => existsSync(join(folder, 'data')));
    if (root === undefined) throw new InputError({ code: 'E-FILE', file: path, what: 'no operator tables here', hint: "name the folder that holds 'data/SYSTEM/…', an AIConfigurator checkout, or its installed package" });
    return new OperatorDatabase(root);
  }

  /** Systems with tables. */
  systems(): string[] {
    return folders(join(this.root, 'data'));
  }

  /** Versions of a backend with a table of any operator on a system, newest first. */
  versions(system: string, backend: string): string[] {
    const found = this.families(system).flatMap((family) => folders(join(family, backend)));
    return [...new Set(found)].sort((a, b) => compareVersions(b, a));
  }

  /**
   * The tables that answer for an operator, first one first (perf-model section 1.3): the version asked for, the donors
   * it names, the same backend's earlier versions, then other backends' where the reuse manifest lets them.
   */
  files(system: string, operator: Operator, backend: string, version: string): TableFile[] {
    const file = `${operator}_perf.parquet`;
    if (operator === 'nccl') return this.ncclFiles(system, file);
    const own = this.versions(system, backend);
    const earlier = own.filter((other) => compareVersions(other, version) < 0);
    const paths = [version, ...this.donors(system, file, backend, version), ...earlier];
    const result: TableFile[] = [];
    for (const each of new Set(paths)) {
      const path = this.find(system, file, backend, each);
      if (path !== null) result.push({ path, from: `${backend} ${each}`, kernels: null });
      if (path !== null && operator === 'custom_allreduce') return result;
    }
    for (const other of ['vllm', 'sglang', 'trtllm']) {
      if (other === backend) continue;
      const kernels = new Set(this.manifest.filter(({ op_file, frameworks, tier }) => op_file === file && tier?.startsWith('shared') && frameworks.includes(backend) && frameworks.includes(other)).map(({ kernel_source }) => kernel_source));
      if (kernels.size === 0) continue;
      for (const each of this.versions(system, other)) {
        const path = this.find(system, file, other, each);
        if (path !== null) result.push({ path, from: `${other} ${each}`, kernels });
      }
    }
    return result;
  }

  /** Communication measured once for all engines: the version the system's file names. */
  private ncclFiles(system: string, file: string): TableFile[] {
    const path = join(this.root, `${system}.yaml`);
    const named = existsSync(path) ? String((parse(readFileSync(path, 'utf8')) as { misc?: { nccl_version?: unknown } }).misc?.nccl_version ?? '') : '';
    const versions = [named, ...this.versions(system, 'nccl')];
    const found = versions.map((version) => ({ version, path: this.find(system, file, 'nccl', version) })).find((entry) => entry.path !== null);
    return found === undefined ? [] : [{ path: found.path!, from: `nccl ${found.version}`, kernels: null }];
  }

  private families(system: string): string[] {
    const base = join(this.root, 'data', system);
    return [base, ...folders(base).map((family) => join(base, family))];
  }

  private find(system: string, file: string, backend: string, version: string): string | null {
    if (version === '') return null;
    const home = this.families(system).map((family) => join(family, backend, version)).find((folder) => existsSync(join(folder, file)));
    return home === undefined || existsSync(join(home, 'INCOMPLETE.txt')) ? null : join(home, file);
  }

  private donors(system: string, file: string, backend: string, version: string): string[] {
    return this.families(system).flatMap((family) => {
      const path = join(family, backend, version, 'reuse.yaml');
      if (!existsSync(path)) return [];
      const { reuse = [] } = parse(readFileSync(path, 'utf8')) as { reuse?: { table: string; from_version: string }[] };
      return reuse.filter(({ table }) => `${table.replace(/\.parquet$/, '')}.parquet` === file || `${table}_perf.parquet` === file).map(({ from_version }) => String(from_version));
    });
  }
}

interface Reuse {
  readonly op_file: string;
  readonly kernel_source: string;
  readonly tier?: string;
  readonly frameworks: readonly string[];
}

function folders(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path).filter((name) => !name.startsWith('.') && statSync(join(path, name)).isDirectory()).sort();
}

/** By major, minor, patch, then stable over release candidate, candidate number, and suffix. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [versionKey(a), versionKey(b)];
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return x[i]! < y[i]! ? -1 : 1;
  return 0;
}

function versionKey(version: string): (number | string)[] {
  const match = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:rc(\d+))?(.*)$/.exec(version);
  if (match === null) return [-1, 0, 0, 0, 0, version];
  const [, major, minor, patch, candidate, suffix] = match;
  return [Number(major), Number(minor ?? 0), Number(patch ?? 0), candidate === undefined ? 1 : 0, Number(candidate ?? 0), suffix ?? ''];
}
