import { join } from 'node:path';
import type { Command } from 'commander';
import { errorReasons, errorsByFamily } from '../calibrate/gpu/acceptance.js';
import { fitProfile, type ProfileFit } from '../calibrate/gpu/fit-profile.js';
import { comparisons } from '../calibrate/gpu/judge.js';
import { openProfile, profileOn, readData } from '../calibrate/gpu/profile-data.js';
import { checkProfileFolder, writeProfile } from '../calibrate/gpu/profile-writer.js';
import { rejections } from '../calibrate/gpu/select.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { RunError } from '../core/problem.js';
import { readMeasuredProfile, PROFILE_FILE } from '../timing/measured/profiles.js';
import { print } from './output.js';
import { errorTable, profileSummary, profileText, verdict, warningList } from './profile-text.js';

export { looksLikeMeasurements } from '../calibrate/gpu/profile-data.js';

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
  requireAccepted(fit.profile.name, fit.profile.reasons, `${join(out, PROFILE_FILE)} says why; measure more, or 'calibrate plan --refine ${out}'`);
  return fit;
}

/**
 * `calibrate validate` of a profile: its errors on measurements, held-out ones where they are its own. Throws what `profileOn` throws, and
 * `RunError` (`E-PROFILE-UNACCEPTED`) where they are beyond what a profile may have.
 */
export function validateProfile(folder: string, files: readonly string[]): void {
  const profile = readMeasuredProfile(folder);
  const { measurements, sha256 } = readData(files);
  const { points, rejected } = profileOn(profile, measurements);
  const notes = rejections(rejected, measurements.rejected);
  const own = sha256 === profile.provenance.data_sha256;
  const errors = errorsByFamily(comparisons(own ? points.filter(({ heldOut }) => heldOut) : points));
  const reasons = errorReasons(errors, own ? 'held out' : 'measured');
  const judged = own ? 'held-out' : 'data';
  const data = own ? 'its own data: what was held out' : `other data: ${points.length} points`;
  print([profileSummary(profile), data, errorTable({ [judged]: errors }, judged), ...warningList(notes), verdict(reasons)].join('\n\n'));
  requireAccepted(profile.name, reasons, 'measure and fit again');
}

function requireAccepted(name: string, reasons: readonly string[], hint: string): void {
  if (reasons.length > 0) throw new RunError({ code: 'E-PROFILE-UNACCEPTED', what: `profile '${name}' is not accepted: ${reasons[0]}${reasons.length > 1 ? `, and ${reasons.length - 1} more` : ''}`, hint });
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
  if (html !== undefined) checkTarget(html, overwrite === true);
  const opened = openProfile(folder);
  if (html !== undefined) {
    const { profilePage } = await import('../report/profile-page.js');
    writeFileWhole(html, profilePage(opened), '--html');
  }
  print(profileText(opened.profile));
}
