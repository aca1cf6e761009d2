import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SLICE_FILES, writeSlice, type Slice, type SliceLoad } from '../calibrate/gpu/slices.js';
import { checkFolder, writeFolder } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { parseNumber } from '../core/units.js';
import { createEnvironment } from '../timing/environment.js';
import { TRACE_FORMATS, type TraceFormat } from '../workload/formats/trace.js';
import { startMeta } from './meta.js';
import { oneOf, positiveInteger } from './options.js';
import { jsonText, print, printWarnings } from './output.js';

interface SliceCommandOptions {
  readonly profile: string;
  readonly requests: number;
  readonly utilisation?: number;
  readonly rate?: number;
  readonly concurrency?: number;
  readonly traceFormat: TraceFormat | 'auto';
  readonly blockSize?: number;
  readonly set: readonly string[];
  readonly out: string;
  readonly overwrite?: boolean;
  readonly quiet?: boolean;
}

/** `calibrate slice TRACE`: requests for serve.py and the scenario of its simulated twin. */
export function registerCalibrateSlice(calibrate: Command): void {
  const formats = ['auto', ...TRACE_FORMATS] as const;
  calibrate
    .command('slice')
    .description(`the first requests of a trace for engines/cuda/serve.py, and their simulated twin: ${Object.values(SLICE_FILES).join(', ')}`)
    .argument('<trace>', 'trace of independent requests, plain or .gz')
    .requiredOption('--profile <dir>', 'measured profile of the model and GPU: pass times, precisions, graphs')
    .requiredOption('--requests <n>', 'first N requests', positiveInteger('--requests'))
    .option('--utilisation <share>', "scale the arrivals to this share of the worker's capacity, such as 0.8", (text) => numeric('--utilisation', text, 2))
    .option('--rate <req/s>', 'scale the arrivals to this mean rate', (text) => numeric('--rate', text, 1e6))
    .option('--concurrency <n>', 'closed loop of N requests in flight', positiveInteger('--concurrency'))
    .option('--trace-format <format>', `what the file holds: ${formats.join(', ')}`, oneOf('--trace-format', formats), 'auto')
    .option('--block-size <tokens>', 'tokens per hash id (default: what the trace says, else 512)', positiveInteger('--block-size'))
    .option('--set <path=yaml>', 'set a field of the scenario, such as deployment.engine.max_num_seqs=64; may be given more than once', (value: string, all: string[]) => [...all, value], [] as string[])
    .requiredOption('-o, --out <dir>', 'output folder')
    .option('--overwrite', 'replace an existing output folder')
    .option('--quiet', 'no warnings on stderr')
    .action(slice);
}

async function slice(trace: string, options: SliceCommandOptions): Promise<void> {
  const meta = startMeta();
  const load = loadOf(options);
  checkFolder(options.out, options.overwrite === true);
  let made: Slice | undefined;
  await writeFolder(options.out, options.overwrite === true, async (folder) => {
    made = await writeSlice(folder, options.out, { trace, format: options.traceFormat, blockTokens: options.blockSize ?? null, requests: options.requests, profile: options.profile, load, sets: options.set, environment: createEnvironment() });
    writeFileSync(join(folder, 'meta.json'), jsonText(meta()));
  });
  printWarnings(made!.warnings, options.quiet === true);
  print(sliceText(made!, options.out));
}

function loadOf({ utilisation, rate, concurrency }: SliceCommandOptions): SliceLoad {
  const given: readonly (SliceLoad | null)[] = [utilisation === undefined ? null : { utilisation }, rate === undefined ? null : { requestsPerSecond: rate }, concurrency === undefined ? null : { concurrency }];
  const [load, other] = given.filter((one) => one !== null);
  if (load !== undefined && other === undefined) return load;
  throw new InputError({ code: load === undefined ? 'E-MISSING' : 'E-CONFLICT', path: '--utilisation', what: load === undefined ? 'no load is given' : 'several loads are given', hint: 'write one of --utilisation 0.8, --rate 4, --concurrency 8' });
}

function sliceText({ requests, durationMs, passes, requestsPerSecond, saturation, kvBlocks }: Slice, out: string): string {
  const rate = requestsPerSecond === null ? '' : ` at ${requestsPerSecond.toFixed(2)} requests/s`;
  return [
    `${out}: ${requests} requests${rate}, ${kvBlocks} KV blocks; as simulated ${(durationMs / 1000).toFixed(0)} s, ${passes} passes, saturation ${(100 * saturation).toFixed(0)} %`,
    `on the GPU: python3 engines/cuda/serve.py --plan ${join(out, SLICE_FILES.slice)} --config ${join(out, SLICE_FILES.config)} --out requests.jsonl`,
    `afterwards: dynotwin calibrate compare requests.jsonl ${join(out, SLICE_FILES.scenario)}`,
  ].join('\n');
}

function numeric(path: string, text: string, max: number): number {
  const parsed = parseNumber(Number.isFinite(Number(text)) && text.trim() !== '' ? Number(text) : text, text, { above: 0, max });
  if (parsed.ok) return parsed.value;
  const { code, what, hint } = parsed;
  throw new InputError({ code, path, what, hint });
}
