/**
 * `npm run bench:profile -- [TRACE] [flags of replay]`: a cold replay under V8's CPU profiler. Writes
 * out/TRACE.cpuprofile (browser developer tools open it); prints where the time went.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { textTable } from '../src/cli/text-table.js';
import { selfTimes, type CpuProfile } from './cpu-profile.js';
import { CLI, DEFAULT_TRACE, FOLDER, OUT, ROOT } from './paths.js';

const FUNCTIONS = 25;
const MICROSECONDS = 200;

const given = process.argv.slice(2);
const trace = given[0] === undefined || given[0].startsWith('-') ? DEFAULT_TRACE : given.shift()!;
const name = `${basename(trace).replace(/\..*$/, '')}.cpuprofile`;
const profiler = ['--cpu-prof', '--cpu-prof-interval', String(MICROSECONDS), '--cpu-prof-dir', OUT, '--cpu-prof-name', name];
const { status } = spawnSync(process.execPath, [...profiler, CLI, 'replay', trace, '--report-json', join(FOLDER, 'report.json'), ...given], { stdio: ['ignore', 'ignore', 'inherit'] });
if (status === 0) printTable(join(OUT, name));
process.exitCode = status ?? 1;

function printTable(path: string): void {
  const times = selfTimes(JSON.parse(readFileSync(path, 'utf8')) as CpuProfile);
  const total = times.reduce((sum, { ms }) => sum + ms, 0);
  const share = (ms: number): string => `${((100 * ms) / total).toFixed(1)}%`;
  const place = (url: string, line: number): string => (url.startsWith('file:') ? `${relative(ROOT, fileURLToPath(url))}:${line}` : url);
  const rows = times.slice(0, FUNCTIONS).map(({ name, url, line, ms }) => [ms.toFixed(1), share(ms), name, place(url, line)]);
  const collector = times.find(({ name }) => name === '(garbage collector)')?.ms ?? 0;
  process.stdout.write(`${textTable(['self ms', 'share', 'function', 'at'], rows, ['self ms', 'share'])}\n\n`);
  process.stdout.write(`${total.toFixed(0)} ms in all, ${share(collector)} of it garbage collection; written to ${relative('.', path)}\n`);
}
