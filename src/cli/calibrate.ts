import { join } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { embedSystem } from '../calibrate/embed-tables.js';
import { hardwareNames } from '../timing/catalogue.js';
import { isMeasuredProfile, PROFILE_FILE as MEASURED_FILE } from '../timing/measured/profiles.js';
import { OperatorDatabase } from '../timing/tables/database.js';
import { effectsFile } from '../timing/calibration/effects.js';
import { fitRealistic, type RealisticFit } from '../calibrate/fit.js';
import { PROFILE_FILE, sha256, WEIGHTS_FILE, type Provenance } from '../timing/calibration/profile.js';
import { distinctUsable, readMeasurements, type Measurement } from '../calibrate/silicon.js';
import { compareTargets, type TargetRow } from '../calibrate/targets.js';
import { validate, type ErrorRow, type Validation } from '../calibrate/validate.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { FORMAT_OPTION, parseFormat, positiveInteger } from './options.js';
import { fitMeasurements, looksLikeMeasurements, refuseMeasurements, registerCalibrateReport, validateProfile } from './calibrate-fit.js';
import { registerCalibrateCompare } from './calibrate-compare.js';
import { registerCalibrateImport } from './calibrate-import.js';
import { registerCalibratePlan } from './calibrate-plan.js';
import { registerCalibrateRun } from './calibrate-run.js';
import { registerCalibrateSlice } from './calibrate-slice.js';
import { jsonText, print, type Format } from './output.js';
import { addThreadOptions, withSimulations, type ThreadOptions } from './simulations.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';
import { readText } from '../core/read-text.js';
import { profileFiles } from '../calibrate/write-profile.js';

interface RowsOptions extends ThreadOptions {
  readonly cases?: string;
  readonly tune: boolean;
  readonly overwrite?: boolean;
}

interface ValidateOptions extends RowsOptions {
  readonly format: Format;
  readonly html?: string;
  readonly ablation: boolean;
  readonly all?: boolean;
}

interface FitOptions extends RowsOptions {
  readonly out: string;
  readonly tp?: number;
  readonly host?: string;
}

const ROWS = 'ROWS.csv: serving rows, one measured deployment and load a line, columns as in silicon_sample.csv of AIConfigurator';

/** `calibrate …`: timing measured on GPUs, and the realistic timing model against measured serving rows. */
export function registerCalibrate(program: Command): void {
  const calibrate = program.command('calibrate').description('measure pass times on a GPU and fit a profile to them; fit the realistic timing model to measured serving rows, or judge it by them');
  registerCalibratePlan(calibrate);
  registerCalibrateRun(calibrate);
  registerCalibrateImport(calibrate);
  reading(calibrate.command('fit').argument('<data...>', `measurements (run folders, JSONL of the worker, imported CSV), or ${ROWS}`).description(`write a profile fitted to measurements, with its held-out errors: ${MEASURED_FILE} of one GPU and model, or ${PROFILE_FILE} and ${WEIGHTS_FILE} of serving rows`))
    .option('-o, --out <dir>', 'folder of the profile', join('out', 'calibration'))
    .option('--tp <n>', 'of measurements with several: the tensor-parallel degree to fit', positiveInteger('--tp'))
    .option('--host <file>', 'of measurements: take host times from the passes of this run (requests.jsonl of engines/cuda/serve.py), scheduling included')
    .option('--overwrite', 'replace an existing profile')
    .action(fit);
  reading(calibrate.command('validate').argument('<first>', `a measured profile, or ${ROWS}`).argument('[data...]', 'measurements to hold a profile against').description('errors of a measured profile on measurements; or of the timing model against serving rows: closed forms, tables alone, fitted, and cross-validated with everything refitted'))
    .option(FORMAT_OPTION.flags, FORMAT_OPTION.description, parseFormat, 'table')
    .option('--all', 'every (backend, model, system) with 8 rows or more in the table, too')
    .option('--html <file>', 'write a page with parity and residual plots')
    .option('--overwrite', 'replace an existing page')
    .option('--no-ablation', 'leave out what each part of the model is worth')
    .action(validateEither);
  registerCalibrateReport(calibrate);
  registerCalibrateSlice(calibrate);
  registerCalibrateCompare(calibrate);
  calibrate
    .command('embed')
    .description('thin measured operator tables to what the models of the catalogue need: one SYSTEM.bin for each system, as engines/profiles/operators holds them')
    .argument('<tables>', "folder of tables: an AIConfigurator checkout, its installed package, or a folder with 'data/SYSTEM/…'")
    .requiredOption('--source <text>', 'where the tables come from, kept in the files')
    .option('-o, --out <dir>', 'folder of the files', join('out', 'operators'))
    .option('--overwrite', 'replace existing files')
    .action(embedTables);
}

async function fit(files: readonly string[], options: FitOptions, command: Command): Promise<void> {
  if (files.some(looksLikeMeasurements)) {
    refuseGiven(command, ['cases', 'tune', 'parallel', 'quiet'], 'measurements');
    fitMeasurements(files, options);
    return;
  }
  refuseGiven(command, ['tp', 'host'], 'serving rows');
  if (files.length > 1) throw new InputError({ code: 'E-COMBINATION', file: files[1]!, what: 'serving rows come in one file', hint: 'put them together, or give measurements of passes' });
  await fitRows(files[0]!, options);
}

async function validateEither(first: string, data: readonly string[], options: ValidateOptions, command: Command): Promise<void> {
  if (isMeasuredProfile(first)) {
    refuseGiven(command, ['cases', 'tune', 'parallel', 'quiet', 'all', 'html', 'ablation'], 'a measured profile');
    if (data.length === 0) throw new InputError({ code: 'E-MISSING', path: '<data>', what: `nothing to hold '${first}' against`, hint: 'add measurements that it was not fitted to; of its own only those held out are judged' });
    validateProfile(first, data, options.format);
    return;
  }
  refuseMeasurements(first);
  if (data.length > 0) throw new InputError({ code: 'E-KIND', file: first, what: 'is no measured profile', hint: "give a folder that 'calibrate fit' wrote before the measurements, or serving rows alone" });
  await validateRows(first, options);
}

/** Options that change nothing for this kind of data must not be given. */
function refuseGiven(command: Command, names: readonly string[], kind: string): void {
  const given = names.find((name) => command.getOptionValueSource(name) === 'cli');
  if (given !== undefined) throw new InputError({ code: 'E-NO-EFFECT', path: command.options.find((option) => option.attributeName() === given)!.long ?? given, what: `changes nothing with ${kind}`, hint: 'leave it out' });
}

function embedTables(tables: string, { source, out, overwrite }: { readonly source: string; readonly out: string; readonly overwrite?: boolean }): void {
  const database = OperatorDatabase.open(tables);
  const known = database.systems().filter((system) => hardwareNames().includes(system));
  const paths = known.map((system) => join(out, `${system}.bin`));
  for (const path of paths) checkTarget(path, overwrite === true);
  const sizes = known.map((system, i) => {
    const bytes = embedSystem(database, system, source);
    writeFileWhole(paths[i]!, bytes);
    return [system, String(bytes.length)];
  });
  print(textTable(['system', 'bytes'], sizes, ['bytes']));
}

function reading(command: Command): Command {
  return addThreadOptions(
    command
      .option('--cases <file>', 'JSONL of the rows as they were in truth (default: cases_dev.jsonl beside the rows, else derived from them)')
      .option('--no-tune', 'keep the standard deviations of the calibration effects as they are given; else they are estimated anew in each of the five folds, too'),
    positiveInteger('--parallel'),
  );
}

async function validateRows(file: string, options: ValidateOptions): Promise<void> {
  if (options.html !== undefined) checkTarget(options.html, options.overwrite === true, '--html');
  const { rows, data } = readRows(file, options);
  const validation = await withSimulations(options, (simulations, onPart) => validate(rows, simulations, effectsFile(), { tune: options.tune, ablation: options.ablation, onPart }));
  const targets = compareTargets(validation.errors);
  if (options.html !== undefined) {
    const { calibrationPage } = await import('../report/calibration-page.js');
    writeFileWhole(options.html, calibrationPage({ title: 'Timing model against measurements', data }, validation, targets), '--html');
  }
  print(validationText(validation, targets, data, options));
}

async function fitRows(file: string, options: FitOptions): Promise<void> {
  const [profile, weights] = [PROFILE_FILE, WEIGHTS_FILE].map((name) => join(options.out, name)) as [string, string];
  for (const path of [profile, weights]) checkTarget(path, options.overwrite === true);
  const { rows, provenance } = readRows(file, options);
  const fit = await withSimulations(options, (simulations) => fitRealistic(rows, simulations, effectsFile(), options.tune));
  const files = profileFiles(fit, { ...provenance, tuned: options.tune });
  writeFileWhole(weights, files.weights);
  writeFileWhole(profile, files.yaml);
  print(`${fitTable(fit)}\n\n${fit.rows} rows, ${fit.refused} refused; written to ${profile} and ${WEIGHTS_FILE}`);
}

/** Distinct usable rows, and where they come from in words and as provenance. Throws when there is none. */
function readRows(file: string, { cases }: RowsOptions): { readonly rows: Measurement[]; readonly data: string; readonly provenance: Omit<Provenance, 'refused' | 'tuned'> } {
  const { measurements, casesFile } = readMeasurements(file, cases);
  const rows = distinctUsable(measurements);
  if (rows.length === 0) throw new InputError({ code: 'E-ROW', file, what: 'holds no usable row of an aggregated deployment', hint: 'give rows of mode agg' });
  const dates = rows.flatMap(({ one }) => (one.measured === null ? [] : [one.measured])).sort();
  const data_sha256 = sha256(readText(file));
  return {
    rows,
    data: `${file} (sha256 ${data_sha256.slice(0, 12)}), cases ${casesFile ?? 'derived from the rows'}`,
    provenance: {
      data_sha256,
      cases_sha256: casesFile === null ? null : sha256(readText(casesFile)),
      measured: dates.length === 0 ? null : [dates[0]!, dates.at(-1)!],
      rows: measurements.length,
      distinct_usable: rows.length,
    },
  };
}

function validationText(validation: Validation, targets: readonly TargetRow[], data: string, { format, all }: ValidateOptions): string {
  const plain = (): object => ({
    schema: 'dynotwin.validation/1',
    data,
    rows: validation.rows,
    errors: validation.errors.map(({ errors, ...row }) => ({ ...row, ...errors })),
    targets,
    ablation: validation.ablation,
    numbers: [...validation.model].flatMap(([backend, { models }]) => [...models].map(([model, { rows, numbers }]) => ({ backend, model, rows, ...numbers }))),
    refusals: validation.refusals,
  });
  switch (format) {
    case 'json':
      return jsonText(plain());
    case 'yaml':
      return yamlText(plain());
    case 'csv':
      return `${Papa.unparse(validation.errors.map(({ errors, ...row }) => ({ ...row, ...errors })), { newline: '\n' })}\n`;
    case 'table': {
      const refusals = validation.refusals.length === 0 ? [] : [validation.refusals.map(({ why, rows }) => `refused: ${rows} × ${why}`).join('\n')];
      const ablation = validation.ablation.length === 0 ? [] : [ablationTable(validation)];
      return [`${validation.rows} distinct measurements of ${data}`, errorTable(validation.errors.filter(({ kind }) => all === true || kind !== 'combination')), numbersTable(validation), ...ablation, targetTable(targets), ...refusals].join('\n\n');
    }
  }
}

/** A ratio in percent. */
const percent = (value: number | null): string => (value === null ? '-' : (value * 100).toFixed(1));

function errorTable(rows: readonly ErrorRow[]): string {
  const head = ['level', 'rows', 'metric', 'n', 'covered', 'MdAPE', 'MAPE', 'bias', 'within 20', 'in interval'];
  return textTable(head, rows.map(({ level, name, metric, errors: e }) => [level, name, metric.toUpperCase(), String(e.n), percent(e.coverage), percent(e.mdape), percent(e.mape), percent(e.bias), percent(e.within20), percent(e.inInterval)]), head.slice(3));
}

function numbersTable({ model }: Validation): string {
  const head = ['backend', 'model', 'n', 'm_dec', 'm_pre', 'm_ga', 'host ms', 'launch us'];
  const cells = (numbers: readonly number[]): string[] => numbers.map((value) => value.toFixed(2));
  const rows = [...model].flatMap(([backend, { mean, models }]) => [
    ...[...models].map(([family, { rows: n, numbers: p }]) => [backend, family, String(n), ...cells([p.m_dec, p.m_pre, p.m_ga, p.host_ms, p.launch_us])]),
    [backend, 'mean', '', ...cells([mean.m_dec, mean.m_pre, mean.m_ga, mean.host_ms, mean.launch_us])],
  ]);
  return textTable(head, rows, head.slice(2));
}

function ablationTable({ ablation }: Validation): string {
  const head = ['change', 'backend', 'n', 'TPOT', '±', 'TTFT', '±', 'TTFT bias'];
  return textTable(head, ablation.map(({ variant, backend, n, tpot, tpotSe, ttft, ttftSe, ttftBias }) => [variant, backend, String(n), percent(tpot), percent(tpotSe), percent(ttft), percent(ttftSe), percent(ttftBias)]), head.slice(2));
}

function targetTable(targets: readonly TargetRow[]): string {
  const head = ['target', 'rows', 'metric', 'measure', 'bound', 'found', ''];
  return textTable(
    head,
    targets.map(({ level, name, metric, measure, sign, bound, value, met, stretch }) => [stretch ? `${level} stretch` : level, name, metric.toUpperCase(), measure, `${sign} ${percent(bound)}`, percent(value), met ? 'met' : 'missed']),
    ['bound', 'found'],
  );
}

function fitTable({ errors }: RealisticFit): string {
  const head = ['backend', 'model', 'n', 'TPOT', 'p90', 'TTFT', 'p90', 'unseen TPOT', 'unseen TTFT'];
  const text = (value: number | undefined): string => percent(value ?? null);
  return textTable(
    head,
    errors.map(({ backend, family, folds, unseen }) => [
      backend, family, String(folds?.tpot.n ?? 0), text(folds?.tpot.median), text(folds?.tpot.p90), text(folds?.ttft.median), text(folds?.ttft.p90), text(unseen?.tpot.median), text(unseen?.ttft.median),
    ]),
    head.slice(2),
  );
}
