import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFolder } from '../core/folder.js';
import type { Scenario } from '../scenario/scenario.js';
import type { Advice } from './advice.js';
import { sweepJson } from './document.js';
import type { CandidateResult, Recommendation, SweepResult } from './result.js';
import { resultsCsv } from './table.js';

/** What the folder needs from rooms the sweep does not know. */
export interface Renderers {
  /** index.html. */
  page(result: SweepResult): Promise<string>;
  /** pareto.svg. */
  svg(result: SweepResult): Promise<string>;
  /** dgd.yaml of a recommended candidate, or why it cannot be deployed. */
  manifest(scenario: Scenario, candidateId: string): { readonly yaml: string } | { readonly refused: string };
  /** scenario.yaml of a recommended candidate, runnable; `folder` is where it lies inside the target. */
  scenario(scenario: Scenario, folder: string): string;
}

export interface SweepFolder {
  readonly target: string;
  readonly overwrite: boolean;
  readonly result: SweepResult;
  /** Text of sweep.yaml: the input, resolved. */
  readonly sweepYaml: string;
  /** Content of meta.json: the one file with host, versions, command and wall time. */
  readonly meta: unknown;
  readonly renderers: Renderers;
  /** `plan`: also write recommendations/. */
  readonly recommendations: boolean;
}

/** Writes the output folder of `sweep` or `plan` (spec: scenario section 5), whole or not at all. */
export async function writeSweepFolder({ target, overwrite, result, sweepYaml, meta, renderers, recommendations }: SweepFolder): Promise<void> {
  await writeFolder(target, overwrite, async (folder) => {
    const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
    write('sweep.yaml', sweepYaml);
    write('sweep.json', jsonText(sweepJson(result)));
    write('meta.json', jsonText(meta));
    write('candidates.csv', resultsCsv(result.candidates));
    write('pareto.csv', resultsCsv(result.front));
    const winner = result.recommendations[0]?.candidate.report;
    if (winner && result.winnerSeries) write('winner.json', jsonText({ schema: 'dynotwin.winner/1', report: winner, series: result.winnerSeries }));
    write('index.html', await renderers.page(result));
    write('pareto.svg', await renderers.svg(result));
    if (recommendations) {
      result.recommendations.forEach((recommendation, index) => writeRecommendation(folder, join('recommendations', folderName(recommendation, index)), recommendation, renderers));
    }
  });
}

/** `01-best-tok_s_per_gpu`. */
export function folderName({ label }: Pick<Recommendation, 'label'>, index: number): string {
  return `${String(index + 1).padStart(2, '0')}-${label}`;
}

function writeRecommendation(target: string, folder: string, recommendation: Recommendation, renderers: Renderers): void {
  const { candidate } = recommendation.candidate;
  mkdirSync(join(target, folder), { recursive: true });
  const write = (name: string, text: string): void => writeFileSync(join(target, folder, name), text);
  write('scenario.yaml', renderers.scenario(candidate.scenario, folder));
  write('report.json', jsonText(recommendation.candidate.report));
  const manifest = renderers.manifest(candidate.scenario, candidate.id);
  if ('yaml' in manifest) write('dgd.yaml', manifest.yaml);
  write('why.md', whyText(recommendation, 'refused' in manifest ? manifest.refused : null));
}

/** why.md: what it is, why it was chosen, why there is no manifest (`refused`, null = there is one), and the advice on its mode. */
export function whyText({ candidate, label, reasons, advice }: Recommendation, refused: string | null): string {
  const lines = [`# ${label}: ${configurationText(candidate)}`, '', `Candidate \`${candidate.candidate.id}\`.`, '', ...reasons.map((reason) => `- ${reason}`)];
  if (refused !== null) lines.push('', `No manifest: ${refused}`);
  if (advice) lines.push('', ...adviceLines(advice));
  return `${lines.join('\n')}\n`;
}

function adviceLines({ sentences }: Advice): string[] {
  return ['## Aggregated or disaggregated?', '', ...sentences.map((sentence) => `- ${sentence}`)];
}

/** The values of a candidate's dimensions on one line. */
export function configurationText({ candidate }: Pick<CandidateResult, 'candidate'>): string {
  const parts = Object.entries(candidate.dimensions).map(([path, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return path === 'mode' || path === 'layout' ? text : `${path} ${text}`;
  });
  return parts.length === 0 ? candidate.id : parts.join(', ');
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
