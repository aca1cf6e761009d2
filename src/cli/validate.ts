import type { Command } from 'commander';
import Papa from 'papaparse';
import { InputError, type Problem } from '../core/problem.js';
import type { Environment } from '../scenario/environment.js';
import { loadFile, type Loaded } from '../scenario/load.js';
import type { Scenario } from '../scenario/scenario.js';
import { gpusPerWorker } from '../scenario/shape.js';
import { documentToYaml, scenarioToYaml } from '../scenario/to-yaml.js';
import { createEnvironment } from '../timing/environment.js';
import { addReadOptions, type ReadOptions } from './options.js';
import { jsonText, print, printWarnings, type Format } from './output.js';
import { textTable } from './text-table.js';

/** What `validate` says of a good file. */
interface Summary {
  readonly file: string;
  readonly kind: Loaded['kind'];
  readonly candidates: number;
  readonly gpus: string;
  readonly kv_blocks: string;
  readonly timing: string;
}

/** `validate FILE…`: every error of every file, and what good ones resolve to; nothing runs. */
export function registerValidate(program: Command): void {
  addReadOptions(program.command('validate').description('check files without running them').argument('<files...>', 'scenario, sweep and gate files; - = standard input')).action(validate);
}

function validate(files: readonly string[], options: ReadOptions): void {
  const environment = createEnvironment();
  const problems: Problem[] = [];
  const good: { file: string; loaded: Loaded }[] = [];
  for (const file of files) {
    const loaded = tryLoad(file, options.set, environment, problems);
    if (loaded) good.push({ file, loaded });
  }
  for (const { loaded } of good) printWarnings(loaded.warnings, options.quiet === true);
  if (problems.length === 0 || (options.format === 'table' && good.length > 0)) print(describe(good, options.format));
  if (problems.length > 0) throw new InputError(problems.slice(0, 50));
}

function tryLoad(file: string, sets: readonly string[], environment: Environment, problems: Problem[]): Loaded | null {
  try {
    return loadFile(file, { sets, environment });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    problems.push(...error.problems);
    return null;
  }
}

function describe(good: readonly { file: string; loaded: Loaded }[], format: Format): string {
  if (format === 'yaml') return good.map(({ loaded }) => (loaded.kind === 'scenario' ? scenarioToYaml(loaded.scenario) : documentToYaml(loaded.document, '.'))).join('---\n');
  const rows = good.map(({ file, loaded }) => summarise(file, loaded));
  switch (format) {
    case 'json':
      return jsonText(rows);
    case 'csv':
      return Papa.unparse(rows, { newline: '\n' });
    case 'table':
      return textTable(
        ['file', 'status', 'kind', 'candidates', 'GPUs', 'KV blocks per worker', 'timing'],
        rows.map((row) => [row.file, 'OK', row.kind, String(row.candidates), row.gpus, row.kv_blocks, row.timing]),
        ['candidates', 'GPUs'],
      );
  }
}

function summarise(file: string, loaded: Loaded): Summary {
  const scenarios = scenariosOf(loaded);
  return {
    file,
    kind: loaded.kind,
    candidates: scenarios.length,
    gpus: span(scenarios.map(gpusOf)),
    kv_blocks: loaded.kind === 'scenario' ? loaded.scenario.deployment.pools.map((pool) => `${pool.role} ${pool.kvBlocks}${pool.engine.ranks === undefined ? '' : ' per rank'}`).join(', ') : span(scenarios.flatMap((scenario) => scenario.deployment.pools.map((pool) => pool.kvBlocks))),
    timing: [...new Set(scenarios.map((scenario) => scenario.timing.source))].join(', '),
  };
}

/** A scenario, the candidates of a sweep, or every case of a gate with every seed. */
function scenariosOf(loaded: Loaded): readonly Scenario[] {
  switch (loaded.kind) {
    case 'scenario':
      return [loaded.scenario];
    case 'sweep':
      return loaded.sweep.candidates.map((candidate) => candidate.scenario);
    case 'gate':
      return loaded.gate.cases.flatMap(({ runs }) => runs);
  }
}

function gpusOf({ deployment }: Scenario): number {
  return deployment.pools.reduce((sum, pool) => sum + pool.replicas * gpusPerWorker(pool), 0);
}

function span(values: readonly number[]): string {
  const [low, high] = values.reduce(([min, max], value) => [Math.min(min, value), Math.max(max, value)], [Infinity, -Infinity]);
  return low === high ? String(low) : `${low}-${high}`;
}
