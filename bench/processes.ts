import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Report } from '../src/metrics/report.js';
import type { Case } from './cases.js';
import { CLI, FOLDER, ROOT } from './paths.js';
import type { CasePhases, PhaseJob } from './phases.js';

/** Fresh processes that run a case: the built program, its phases, the reference. */

export interface Timed {
  /** By the program's own clock. */
  readonly wallMs: number;
  /** From start to exit, seen from outside. */
  readonly processMs: number;
  /** Of completed requests; equal for equal work. */
  readonly outputTokens: number;
}

export interface OurRun extends Timed {
  readonly peakMiB: number;
  readonly requests: number;
}

interface Finished {
  readonly processMs: number;
  readonly stdout: string;
  /** What it wrote to descriptor 3. */
  readonly aside: string;
}

/** Throws with its messages when the program fails. */
function execute(program: string, args: readonly string[]): Finished {
  const start = performance.now();
  const { status, error, output } = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  const processMs = performance.now() - start;
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}\nended with ${status}: ${output[2]}`);
  return { processMs, stdout: output[1]!, aside: output[3]! };
}

const scripts = new Map<string, string>();

/** A script of this folder as JavaScript: measured processes run without a TypeScript loader. */
function compiled(name: string): string {
  const known = scripts.get(name);
  if (known !== undefined) return known;
  mkdirSync(FOLDER, { recursive: true });
  const source = readFileSync(new URL(`${name}.ts`, import.meta.url), 'utf8');
  const target = join(FOLDER, `${name}.mjs`);
  writeFileSync(target, ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } }).outputText);
  scripts.set(name, target);
  return target;
}

const REPORT = join(FOLDER, 'report.json');

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

/** A flat report, of either program. */
interface FlatReport {
  readonly wall_time_ms: number;
  readonly total_output_tokens: number;
  readonly num_requests: number;
}

/** Milliseconds that node itself takes. */
export function startupMs(): number {
  return execute(process.execPath, ['-e', '0']).processMs;
}

/** One cold run of the command-line program. */
export function runOurs({ how }: Case, trace: string): OurRun {
  const program = ['--import', compiled('peak-memory'), CLI];
  if ('flags' in how) {
    const { processMs, aside } = execute(process.execPath, [...program, 'replay', trace, ...how.flags, '--quiet', '--report-json', REPORT]);
    const report = readJson<FlatReport>(REPORT);
    return { wallMs: report.wall_time_ms, processMs, outputTokens: report.total_output_tokens, peakMiB: Number(aside), requests: report.num_requests };
  }
  const target = join(FOLDER, 'run');
  const { processMs, aside } = execute(process.execPath, [...program, 'run', scenarioFile(how.scenario(trace)), '--quiet', '--out', target, '--overwrite']);
  const { wall_ms } = readJson<{ wall_ms: number }>(join(target, 'meta.json'));
  const { requests, tokens } = readJson<Pick<Report, 'requests' | 'tokens'>>(join(target, 'report.json'));
  return { wallMs: wall_ms, processMs, outputTokens: tokens.output, peakMiB: Number(aside), requests: requests.total };
}

/** One run of the reference (`python -m dynamo.replay`). */
export function runReference(python: string, flags: readonly string[], trace: string): Timed {
  const { processMs } = execute(python, ['-m', 'dynamo.replay', trace, '--replay-mode', 'offline', ...flags, '--report-json', REPORT]);
  const { wall_time_ms, total_output_tokens } = readJson<FlatReport>(REPORT);
  return { wallMs: wall_time_ms, processMs, outputTokens: total_output_tokens };
}

/** Phases of a case, cold and warm, in one process. */
export function runPhases({ how }: Case, trace: string): CasePhases {
  const job: PhaseJob = {
    dist: new URL('../dist/', import.meta.url).href,
    trace,
    ...('flags' in how ? { flags: how.flags } : { scenario: scenarioFile(how.scenario(trace)) }),
  };
  return JSON.parse(execute(process.execPath, [compiled('phases'), JSON.stringify(job)]).stdout) as CasePhases;
}

/** JSON is YAML. */
function scenarioFile(scenario: object): string {
  const path = join(FOLDER, 'scenario.yaml');
  writeFileSync(path, JSON.stringify(scenario));
  return path;
}
