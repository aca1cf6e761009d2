import { isAbsolute, relative, sep } from 'node:path';
import { findingsOf, type Finding } from './findings.js';
import type { GateResult } from './result.js';

/** GitHub workflow commands, one line each: an error per thing that does not hold, at its line; a notice for noise and improvements. */
export function annotations(results: readonly GateResult[]): string[] {
  return results.flatMap(findingsOf).filter(({ verdict }) => verdict !== 'ok').map(annotation);
}

function annotation({ scenario, at, subject, expected, got, verdict, fatal }: Finding): string {
  const words = { worse: 'worse than the baseline', noise: 'within the noise over seeds', better: "better than the baseline: 'dynotwin regress --update' keeps it", failed: 'does not hold', ok: '' }[verdict];
  const properties = { file: fromHere(at.file), line: at.line, col: at.col, title: `${scenario}: ${subject}` };
  const list = Object.entries(properties).map(([name, value]) => `${name}=${escapeProperty(String(value))}`).join(',');
  return `::${fatal ? 'error' : 'notice'} ${list}::${escapeData(`${scenario}: ${subject} ${words}: expected ${expected}, got ${got}`)}`;
}

/** GitHub wants paths relative to the repository, where workflows run. */
function fromHere(file: string): string {
  return (isAbsolute(file) ? relative(process.cwd(), file) : file).split(sep).join('/');
}

function escapeData(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
}
