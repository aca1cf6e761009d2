#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { discardUnfinished } from '../core/folder.js';
import { InputError, RunError, formatProblem, type Problem } from '../core/problem.js';
import { jsonText } from './output.js';

/** Exit codes: 0 ok, 1 ran but failed or nothing feasible, 2 bad input, 130 interrupted. */
const EXIT = { ok: 0, failed: 1, badInput: 2, interrupted: 130 } as const;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };

const program = new Command('dynotwin')
  .description('Simulate and plan LLM-serving deployments.')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(add --help for the options)');

/** In the order of --help. A command's module is loaded only when it is asked for. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  plan: async () => (await import('./plan.js')).registerPlan,
  sweep: async () => (await import('./sweep.js')).registerSweep,
  run: async () => (await import('./run.js')).registerRun,
  replay: async () => (await import('./replay.js')).registerReplay,
  predict: async () => (await import('./predict.js')).registerPredict,
  calibrate: async () => (await import('./calibrate.js')).registerCalibrate,
  compare: async () => (await import('./compare.js')).registerCompare,
  regress: async () => (await import('./regress.js')).registerRegress,
  deploy: async () => (await import('./deploy.js')).registerDeploy,
  report: async () => (await import('./report.js')).registerReport,
  trace: async () => (await import('./trace.js')).registerTrace,
  validate: async () => (await import('./validate.js')).registerValidate,
  explain: async () => (await import('./explain.js')).registerExplain,
  schema: async () => (await import('./schema.js')).registerSchema,
};

const wanted = COMMANDS[process.argv[2] ?? ''];
for (const load of wanted ? [wanted] : Object.values(COMMANDS)) (await load())(program);
for (const command of program.commands) command.exitOverride();

process.once('SIGINT', () => {
  discardUnfinished();
  process.exit(EXIT.interrupted);
});
// A closed pipe (`| head`) is the reader's choice, not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed));
// Messages that nobody reads change no result.
process.stderr.on('error', () => undefined);

process.exitCode = await runProgram(process.argv);

async function runProgram(argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...argv]);
    return EXIT.ok;
  } catch (error) {
    return exitCodeOf(error);
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
  if (error instanceof InputError) {
    if (wantsJson(process.argv)) process.stdout.write(jsonText(error.problems));
    else for (const problem of error.problems) complain(problem);
    return EXIT.badInput;
  }
  if (error instanceof RunError) {
    complain(error.problem);
    return EXIT.failed;
  }
  // Typed arrays beyond the memory: the one failure a good input of legal size can cause.
  if (error instanceof RangeError && /array (length|buffer)/i.test(error.message)) {
    complain({ code: 'E-RESOURCE', what: `not enough memory (${error.message})`, hint: 'ask for fewer requests, workers, KV blocks or users' });
    return EXIT.failed;
  }
  process.stderr.write(`internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.failed;
}

/** `--format json` asks for errors as data, too. */
function wantsJson(argv: readonly string[]): boolean {
  return argv.includes('--format=json') || argv[argv.indexOf('--format') + 1] === 'json';
}

/** The problem's line; on a terminal the source line with a caret below it. */
function complain(problem: Problem): void {
  process.stderr.write(`${formatProblem(problem)}\n`);
  if (!process.stderr.isTTY || problem.file === undefined || problem.line === undefined) return;
  try {
    const line = readFileSync(problem.file, 'utf8').split('\n')[problem.line - 1];
    if (line !== undefined && line.length < 400) process.stderr.write(`  ${line}\n  ${' '.repeat((problem.col ?? 1) - 1)}^\n`);
  } catch {
    // The problem is in a flag or the file is gone: the line above says it all.
  }
}
