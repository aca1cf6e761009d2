import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../core/problem.js';
import type { Report } from '../metrics/report.js';

/** True for a folder; a run folder, a sweep's, or any other. */
export function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** A finished run takes no `--set`. Throws `E-NO-EFFECT`. */
export function refuseSets(folder: string, sets: readonly string[], instead: string): void {
  if (sets.length > 0) throw new InputError({ code: 'E-NO-EFFECT', path: '--set', what: `'${folder}' is a finished run`, hint: `${instead} its scenario.yaml instead` });
}

/** report.json of a run folder. Throws `E-KIND` where there is none. */
export function readReport(folder: string): Report {
  const file = join(folder, 'report.json');
  if (!existsSync(file)) {
    const hint = existsSync(join(folder, 'sweep.json')) ? "it is a sweep: see it with 'dynotwin report', or take a folder under its recommendations/" : "give a folder that 'dynotwin run' wrote";
    throw new InputError({ code: 'E-KIND', file: folder, what: 'holds no report.json', hint });
  }
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    if (report.schema === 'dynotwin.report/1') return report;
  } catch {
    // Reported below like any other content.
  }
  throw new InputError({ code: 'E-KIND', file, what: "no report: 'schema' is not 'dynotwin.report/1'", hint: "run the scenario again with 'dynotwin run'" });
}
