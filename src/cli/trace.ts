import { gzipSync } from 'node:zlib';
import type { Command } from 'commander';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { parseNumber, parseQuantity, type Parsed } from '../core/units.js';
import { readTrace, TRACE_FORMATS, type TraceFormat } from '../workload/formats/trace.js';
import { mooncakeText } from '../workload/formats/write-mooncake.js';
import { formatRows, generateTrace, TRACE_KINDS, type TraceKind } from '../workload/generate/generate.js';
import { traceInfo, type Figures, type TraceInfo } from '../workload/info.js';
import type { Workload } from '../workload/workload.js';
import { oneOf, positiveInteger } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { textTable } from './text-table.js';

interface ReadOptions {
  readonly traceFormat: TraceFormat | 'auto';
  readonly blockSize?: number;
  readonly quiet?: boolean;
}

interface InfoOptions extends ReadOptions {
  readonly format: 'table' | 'json';
}

interface ConvertOptions extends ReadOptions {
  readonly to: 'mooncake';
  readonly out: string;
  readonly overwrite?: boolean;
}

interface SynthesizeOptions {
  readonly like: TraceKind;
  readonly duration: number;
  readonly scale: number;
  readonly requests?: number;
  readonly seed: number;
  readonly out: string;
  readonly overwrite?: boolean;
}

/** `trace info`, `trace convert` and `trace synthesize`. */
export function registerTrace(program: Command): void {
  const trace = program.command('trace').description('look at a request trace, or make one');
  reading(trace.command('info').description('lengths, arrivals and prefix reuse of a trace'))
    .option('--format <format>', 'of the result on stdout: table, json', oneOf('--format', ['table', 'json']), 'table')
    .action(info);
  reading(trace.command('convert').description('write a trace as Mooncake rows'))
    .requiredOption('--to <format>', 'format to write: mooncake', oneOf('--to', ['mooncake'] as const))
    .requiredOption('--out <file>', 'FILE.jsonl or FILE.jsonl.gz', traceFile)
    .option('--overwrite', 'replace an existing file')
    .action(convert);
  trace
    .command('synthesize')
    .description('make a Mooncake trace of 512-token blocks that imitates a public one')
    .requiredOption('--like <kind>', `what it imitates: ${TRACE_KINDS.join(', ')}`, oneOf('--like', TRACE_KINDS))
    .option('--duration <time>', "span of the arrivals, such as '10 min'", duration, 3_540_000)
    .option('--scale <factor>', 'factor on the rate of sessions', (text) => numeric('--scale', text, { above: 0 }), 1)
    .option('--requests <n>', 'keep the first N requests (default: all)', positiveInteger('--requests'))
    .option('--seed <n>', 'same seed, same bytes', (text) => numeric('--seed', text, { integer: true, min: 0 }), 42)
    .requiredOption('--out <file>', 'FILE.jsonl or FILE.jsonl.gz', traceFile)
    .option('--overwrite', 'replace an existing file')
    .action(synthesize);
}

/** Declares what it takes to read a trace. */
function reading(command: Command): Command {
  const formats = ['auto', ...TRACE_FORMATS] as const;
  return command
    .argument('<file...>', 'trace, plain or .gz; several for format dynamo, a folder for weka')
    .option('--trace-format <format>', `what the files hold: ${formats.join(', ')}`, oneOf('--trace-format', formats), 'auto')
    .option('--block-size <tokens>', 'tokens per hash id (default: what the trace says, else 512)', positiveInteger('--block-size'))
    .option('--quiet', 'no warnings on stderr');
}

async function read(files: readonly string[], { traceFormat, blockSize, quiet }: ReadOptions): Promise<Workload> {
  const workload = await readTrace(files, traceFormat, { blockTokens: blockSize ?? null, strict: false, fidelity: 'realistic' });
  printWarnings(workload.warnings, quiet === true);
  return workload;
}

async function convert(files: string[], options: ConvertOptions): Promise<void> {
  const { out, overwrite } = options;
  checkTarget(out, overwrite === true);
  const workload = await read(files, options);
  const text = mooncakeText(workload);
  writeFileWhole(out, out.endsWith('.gz') ? gzipSync(text) : text);
  print(`${out}: ${workload.requestCount} requests, blocks of ${workload.traceBlockTokens} tokens`);
}

async function info(files: string[], options: InfoOptions): Promise<void> {
  const { format } = options;
  const result = traceInfo(await read(files, options));
  print(format === 'json' ? jsonText(result) : infoTable(result));
}

function synthesize({ like, duration, scale, requests, seed, out, overwrite }: SynthesizeOptions): void {
  checkTarget(out, overwrite === true);
  const rows = generateTrace({ like, durationMs: duration, scale, seed }).slice(0, requests);
  if (requests !== undefined && rows.length < requests) {
    throw new InputError({ code: 'E-RANGE', path: '--requests', what: `the span makes only ${rows.length} requests`, hint: 'raise --duration or --scale' });
  }
  const text = formatRows(rows);
  writeFileWhole(out, out.endsWith('.gz') ? gzipSync(text) : text);
  print(`${out}: ${rows.length} requests`);
}

function infoTable(info: TraceInfo): string {
  const { arrivals, blocks, reuse } = info;
  const lengths = (name: string, f: Figures): string[] => [name, ...[f.mean, f.std, f.min, f.p10, f.p50, f.p90, f.p99, f.max].map((x) => fixed(x, 0)), fixed(f.sum, 0)];
  const facts: [string, string][] = [
    ['requests', `${fixed(info.requests, 0)} in ${fixed(info.sessions, 0)} sessions`],
    ...(info.graph ? [['plays', `${fixed(info.graph.plays, 0)}; ${fixed(info.graph.waits, 0)} waits of a request for another`] as [string, string]] : []),
    ['correlation of ISL and OSL', info.isl_osl_correlation === null ? '-' : fixed(info.isl_osl_correlation, 2)],
    ['blocks', `${fixed(blocks.total, 0)} of ${info.block_size} tokens, ${fixed(blocks.unique, 0)} unique, ${percent(blocks.once_ratio)} of these used once`],
    ['prefixes', `${fixed(blocks.unique_prefixes, 0)} distinct, ${fixed(blocks.distinct_first, 0)} of length one`],
    ['infinite cache', `${percent(reuse.block_ratio)} of blocks, ${percent(reuse.token_ratio)} of tokens, ${fixed(reuse.full_hits, 0)} requests in full`],
    ...reuse.engine.map(({ block_size, token_ratio }): [string, string] => [`  engine blocks of ${block_size}`, `${percent(token_ratio)} of tokens`]),
    ['  leading blocks seen', reuse.prefix_at_least.map(({ blocks: n, share }) => `>=${n}: ${percent(share)}`).join('  ')],
    ['LRU cache, block hits', info.lru.map(({ capacity_blocks, hit_ratio }) => `${capacity_blocks / 1000}k: ${percent(hit_ratio)}`).join('  ')],
    ...(arrivals ? arrivalFacts(arrivals) : [['arrivals', 'no timestamps: closed loop only'] as [string, string]]),
  ];
  const head = ['tokens', 'mean', 'std', 'min', 'p10', 'p50', 'p90', 'p99', 'max', 'sum'];
  const table = textTable(head, [lengths('ISL', info.isl), lengths('OSL', info.osl)], head.slice(1));
  return `${info.name}\n\n${table}\n\n${textTable(['', ''], facts).trimStart()}`;
}

function arrivalFacts(arrivals: NonNullable<TraceInfo['arrivals']>): [string, string][] {
  const rate = arrivals.mean_gap_ms > 0 ? `, ${fixed(1000 / arrivals.mean_gap_ms, 2)} per s` : '';
  return [
    ['arrivals', `${fixed(arrivals.count, 0)} over ${fixed(arrivals.span_ms / 1000, 1)} s${rate}; gap CV ${fixed(arrivals.gap_cv, 2)}`],
    ['  distinct times', `${fixed(arrivals.distinct_times, 0)}, ${fixed(arrivals.mean_batch, 1)} arrivals each, at most ${arrivals.max_batch}`],
    ['  dispersion of counts', arrivals.dispersion.map(({ window_ms, index }) => `${window_ms / 1000} s: ${index === null ? '-' : fixed(index, 2)}`).join('  ')],
  ];
}

function fixed(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function percent(ratio: number): string {
  return `${fixed(ratio * 100, 1)}%`;
}

function duration(text: string): number {
  return parsed('--duration', parseQuantity(numberIn(text), text, 'time'));
}

function numeric(option: string, text: string, rule: Parameters<typeof parseNumber>[2]): number {
  return parsed(option, parseNumber(numberIn(text), text, rule));
}

/** The number a bare number stands for; any other text as it is. */
function numberIn(text: string): number | string {
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

function parsed(path: string, result: Parsed<number>): number {
  if (result.ok) return result.value;
  const { code, what, hint } = result;
  throw new InputError({ code, path, what, hint });
}

function traceFile(text: string): string {
  if (/\.jsonl(\.gz)?$/.test(text)) return text;
  throw new InputError({ code: 'E-TYPE', path: '--out', what: `'${text}' is not a .jsonl or .jsonl.gz file`, hint: "write '--out trace.jsonl'" });
}
