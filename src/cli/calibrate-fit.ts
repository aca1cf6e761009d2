import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { fitProfile, type ProfileFit } from '../calibrate/gpu/fit-profile.js';
import { looksLikeMeasurements, openProfile, readData } from '../calibrate/gpu/profile-data.js';
import { ORIGINS, validateOn } from '../calibrate/gpu/profile-validation.js';
import { checkProfileFolder, writeProfile } from '../calibrate/gpu/profile-writer.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError, RunError } from '../core/problem.js';
import { isMeasuredProfile, readMeasuredProfile, PROFILE_FILE } from '../timing/measured/profiles.js';
import { jsonText, print, type Format } from './output.js';
import { errorTable, profileSummary, profileText, verdict, warningList } from './profile-text.js';
import { yamlText } from './yaml-text.js';

export { looksLikeMeasurements };

export interface FitMeasurementsOptions {
  readonly tp?: number;
  /** requests.jsonl of serve.py that host times are taken from. */
  readonly host?: string;
  /** Folder of the profile. */
  readonly out: string;
  readonly overwrite?: boolean;
}

/**
 * `calibrate fit` of measurements: writes a profile and prints coefficients, errors and the verdict. Throws what reading and fitting throw, and
 * `RunError` (`E-PROFILE-UNACCEPTED`) after a profile was written that is not accepted.
 */
export function fitMeasurements(files: readonly string[], { tp, host, out, overwrite }: FitMeasurementsOptions): ProfileFit {
  checkProfileFolder(out, overwrite === true);
  const { measurements, sha256 } = readData(files, host === undefined ? [] : [host]);
  const fit = fitProfile(measurements, { tp, host, dataSha256: sha256 });
  writeProfile(out, measurements, fit, overwrite === true);
  print(`${profileText(fit.profile)}\n\nwritten to ${out}`);
  const more = fit.target.imported ? 'import more passes and operators of this engine' : `measure more, or 'calibrate plan --refine ${out}'`;
  requireAccepted(fit.profile.name, fit.profile.reasons, `${join(out, PROFILE_FILE)} says why; ${more}`);
  return fit;
}

/**
 * `calibrate validate` of a profile: its errors on measurements, those it was fitted to apart. Throws what `validateOn` throws, and `RunError`
 * (`E-PROFILE-UNACCEPTED`) where they are beyond what a profile may have.
 */
export function validateProfile(folder: string, files: readonly string[], format: Format = 'table'): void {
  const profile = readMeasuredProfile(folder);
  const { measurements, sha256 } = readData(files);
  const { points, errors, reasons, notes, imported } = validateOn(folder, measurements);
  const plain = { schema: 'dynotwin.profile-validation/1', profile: profile.name, data_sha256: sha256, points, errors, accepted: reasons.length === 0, reasons, notes };
  switch (format) {
    case 'json':
      print(jsonText(plain));
      break;
    case 'yaml':
      print(yamlText(plain));
      break;
    case 'csv':
      print(Papa.unparse(ORIGINS.flatMap((origin) => Object.entries(errors[origin] ?? {}).map(([family, found]) => ({ points: origin, family, ...found }))), { newline: '\n' }));
      break;
    case 'table': {
      const data = `its own data: ${points['held-out']} points held out, ${points.fitted} fitted and so not judged; other data: ${points.others} points`;
      const judged = ORIGINS.filter((origin) => origin !== 'fitted' && points[origin] > 0);
      print([profileSummary(profile), data, errorTable(errors, judged), ...warningList(notes), verdict(reasons)].join('\n\n'));
    }
  }
  requireAccepted(profile.name, reasons, imported ? 'import more of this engine, and fit again' : 'measure and fit again');
}

function requireAccepted(name: string, reasons: readonly string[], hint: string): void {
  if (reasons.length > 0) throw new RunError({ code: 'E-PROFILE-UNACCEPTED', what: `profile '${name}' is not accepted: ${reasons[0]}${reasons.length > 1 ? `, and ${reasons.length - 1} more` : ''}`, hint });
}

/** Throws `E-KIND` for measurements in place of a profile, with the profiles in their folder. */
export function refuseMeasurements(path: string): void {
  if (isMeasuredProfile(path) || !looksLikeMeasurements(path)) return;
  const profiles = statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)).filter(isMeasuredProfile) : [];
  throw new InputError({ code: 'E-KIND', file: path, what: 'holds measurements, and is no profile', hint: profiles.length > 0 ? `give the profile fitted to them: ${profiles.join(', ')}` : `fit one to them: 'dynotwin calibrate fit ${path}'` });
}

/** `calibrate report`: a profile as text, and as a page. */
export function registerCalibrateReport(calibrate: Command): void {
  calibrate
    .command('report')
    .description('what a measured profile says and how far off it is; --html writes a page with its plots')
    .argument('<profile>', 'folder that calibrate fit wrote')
    .option('--html <file>', 'write a self-contained page')
    .option('--overwrite', 'replace an existing page')
    .action(reportProfile);
}

async function reportProfile(folder: string, { html, overwrite }: { readonly html?: string; readonly overwrite?: boolean }): Promise<void> {
  if (html !== undefined) checkTarget(html, overwrite === true, '--html');
  refuseMeasurements(folder);
  const opened = openProfile(folder);
  if (html !== undefined) {
    const { profilePage } = await import('../report/profile-page.js');
    writeFileWhole(html, profilePage(opened), '--html');
  }
  print(profileText(opened.profile));
}
