import type { Command } from 'commander';
import { IMPORT_KINDS, type ImportKind } from '../calibrate/import/detect.js';
import { importedCsv, importSources, type ImportResult } from '../calibrate/import/import-sources.js';
import type { ImportOptions } from '../calibrate/import/imported.js';
import { fitLinks, RED_FLAG_GB_PER_S, type FittedLink } from '../calibrate/import/links.js';
import { summariseTiming } from '../calibrate/import/request-timing.js';
import { familyCounts } from '../calibrate/import/split.js';
import { MATRIX_TYPES } from '../calibrate/gpu/points.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { oneOf, positiveInteger } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { textTable } from './text-table.js';

const FORMATS = ['table', 'json'] as const;

interface CalibrateImportOptions extends ImportOptions {
  readonly as?: ImportKind;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly format: (typeof FORMATS)[number];
  readonly quiet?: boolean;
}

/** `calibrate import`: measurements of other programs as one CSV file. */
export function registerCalibrateImport(calibrate: Command): void {
  calibrate
    .command('import')
    .description('read measurements of other programs into one CSV: operators and passes to fit, serving results to validate against, timings of requests, or transfers, which are fitted at once')
    .argument('<source...>', 'files or folders of one sort')
    .option('--as <kind>', `what they are, where their content does not tell: ${IMPORT_KINDS.join(', ')}`, oneOf('--as', IMPORT_KINDS))
    .requiredOption('-o, --out <file>', 'the CSV file')
    .option('--overwrite', 'replace an existing file')
    .option('--model <name>', 'model, where the source does not say; of operator tables keep what it runs')
    .option('--hardware <name>', 'GPU of the catalogue, where the source does not say')
    .option('--tp <n>', 'tensor-parallel degree, where the source does not say', positiveInteger('--tp'))
    .option('--dtype <type>', `precision of the weights, where the source does not say: ${MATRIX_TYPES.join(', ')} (default: the checkpoint's)`, oneOf('--dtype', MATRIX_TYPES))
    .option('--kv <type>', 'precision of the KV cache, where the source does not say: bf16, fp8 (default: bf16)', oneOf('--kv', ['bf16', 'fp8'] as const))
    .option('--engine <name>', 'engine, where the source does not say')
    .option('--engine-version <version>', 'its version, where the source does not say')
    .option('--overlap-off', 'the SGLang of this log ran without its overlap schedule')
    .option('--format <format>', `of the summary on stdout: ${FORMATS.join(', ')}`, oneOf('--format', FORMATS), 'table')
    .option('--quiet', 'no warnings on stderr')
    .action(importFiles);
}

async function importFiles(sources: readonly string[], options: CalibrateImportOptions): Promise<void> {
  checkTarget(options.out, options.overwrite === true);
  const result = await importSources(sources, options.as, options);
  const { imported, tally } = result;
  writeFileWhole(options.out, importedCsv(imported));
  const links = imported.shape === 'links' ? fitLinks(imported.rows) : [];
  for (const { name, gbPerS } of links) {
    if (gbPerS < RED_FLAG_GB_PER_S) tally.warn(`${name} moves ${gbPerS.toFixed(2)} GB/s, less than ${RED_FLAG_GB_PER_S}: most likely TCP or staging in host memory in place of RDMA`);
  }
  printWarnings(tally.warnings.map((what) => ({ code: 'W-IMPORT', what })), options.quiet === true);
  print(options.format === 'json' ? jsonText(plain(result, links, options.out)) : summary(result, links, options.out));
}

function rowsOf({ imported }: ImportResult): number {
  return imported.shape === 'records' ? imported.measurements.records.length : imported.rows.length;
}

function plain(result: ImportResult, links: readonly FittedLink[], file: string): object {
  const { imported, kinds, tally } = result;
  const head = { schema: 'dynotwin.import/1', kinds: [...new Set(kinds)], shape: imported.shape, file, rows: rowsOf(result) };
  const tail = { dropped: tally.dropped, warnings: tally.warnings };
  switch (imported.shape) {
    case 'records':
      return { ...head, identities: imported.measurements.identities, families: familyCounts(imported.measurements.records), ...tail };
    case 'serving':
      return { ...head, metrics: [...new Set(imported.rows.map(({ metric }) => metric))], ...tail };
    case 'requests':
      return { ...head, summary: summariseTiming(imported.rows), ...tail };
    case 'links':
      return { ...head, links: links.map(({ name, alphaUs, gbPerS, medianPct, n, bidirectional, blockUs }) => ({ name, gb_per_s: gbPerS, latency_us: alphaUs, bidirectional, block_us: blockUs, median_pct: medianPct, n })), ...tail };
  }
}

function summary(result: ImportResult, links: readonly FittedLink[], file: string): string {
  const { kinds, tally } = result;
  const written = `${rowsOf(result)} rows of ${[...new Set(kinds)].join(', ')} written to ${file}`;
  const dropped = tally.dropped.map(({ why, rows }) => `left out: ${rows} × ${why}`);
  return [...contents(result, links), ...(dropped.length > 0 ? [dropped.join('\n')] : []), written].join('\n\n');
}

/** What was read, in tables. */
function contents({ imported }: ImportResult, links: readonly FittedLink[]): string[] {
  switch (imported.shape) {
    case 'records': {
      const who = imported.measurements.identities.map(({ hardware, model, engine }) => `${engine.name} ${engine.version} on ${hardware}${model === null ? '' : `, ${model}`}`);
      const families = familyCounts(imported.measurements.records).map(({ family, points, held_out: held }) => [family, String(points), String(held)]);
      return [[...new Set(who)].join('\n'), textTable(['family', 'points', 'held out'], families, ['points', 'held out'])];
    }
    case 'serving': {
      const main = imported.rows.filter(({ stat }) => stat === 'mean' || stat === 'value');
      return [textTable(['source', 'metric', 'mean', 'unit'], main.map(({ source, metric, value, unit }) => [source, metric, value.toFixed(2), unit]), ['mean'])];
    }
    case 'requests':
      return [textTable(['metric', 'n', 'median', 'p90'], summariseTiming(imported.rows).map(({ metric, n, median, p90 }) => [metric, String(n), median.toFixed(2), p90.toFixed(2)]), ['n', 'median', 'p90'])];
    case 'links':
      return links.length === 0 ? ['no transfer in one direction to fit'] : [linkTable(links), links.map(linkYaml).join('\n')];
  }
}

function linkTable(links: readonly FittedLink[]): string {
  const head = ['link', 'GB/s', 'latency us', 'both ways', 'us a block', 'error %', 'n'];
  const optional = (value: number | null, unknown = '-'): string => value?.toFixed(3) ?? unknown;
  return textTable(head, links.map(({ name, gbPerS, alphaUs, bidirectional, blockUs, medianPct, n }) => [name, gbPerS.toFixed(3), optional(alphaUs, 'unknown'), optional(bidirectional), optional(blockUs), medianPct.toFixed(2), String(n)]), head.slice(1));
}

/** As a scenario has it; without a latency that is unknown, which a scenario takes as none. */
function linkYaml({ name, gbPerS, alphaUs }: FittedLink): string {
  return [`kv_transfer: # ${name}`, `  bandwidth: ${gbPerS.toFixed(3)} GB/s`, alphaUs === null ? '  # latency: unknown, measure transfers of several sizes' : `  latency: ${alphaUs.toFixed(3)} us`].join('\n');
}
