import { writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { InputError, type Problem } from '../../core/problem.js';
import type { Environment } from '../../scenario/environment.js';
import { loadScenario } from '../../scenario/load.js';
import type { Scenario } from '../../scenario/scenario.js';
import { documentToYaml } from '../../scenario/to-yaml.js';
import { executeScenarioAsync, prepareWorkload } from '../../sim/execute.js';
import { requireModel } from '../../timing/catalogue.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { readMeasuredProfile } from '../../timing/measured/profiles.js';
import { readTrace, type TraceFormat } from '../../workload/formats/trace.js';
import { mooncakeText } from '../../workload/formats/write-mooncake.js';
import type { Workload } from '../../workload/workload.js';
import { geometryOf } from './geometry.js';
import { geometryHash, type Geometry } from './points.js';
import type { ServeConfig } from './served.js';
import { engineSettings, profileFile, requireOneWorker, servedGraphs, sha256Of } from './twin-inputs.js';

/**
 * A slice of a trace for `engines/cuda/serve.py` and its simulated twin: the same requests, load, settings and KV blocks for both.
 * Source: spec calibration section 8.
 */

/** Names of the files of a slice. */
export const SLICE_FILES = { slice: 'slice.jsonl', config: 'c.json', scenario: 'scenario.yaml' } as const;

/** How the requests arrive: the trace's times scaled to a share of what the worker can do or to requests/s, or so many at a time. */
export type SliceLoad = { readonly utilisation: number } | { readonly requestsPerSecond: number } | { readonly concurrency: number };

export interface SliceOptions {
  readonly trace: string;
  readonly format: TraceFormat | 'auto';
  /** Tokens per hash id; null = what the trace says. */
  readonly blockTokens: number | null;
  /** First requests of the trace, at least `FEWEST_REQUESTS`. */
  readonly requests: number;
  /** Folder of a measured profile, or its profile.yaml: model, GPU, precisions, graphs and pass times. */
  readonly profile: string;
  readonly load: SliceLoad;
  /** Fields of the scenario, `PATH=YAML`. */
  readonly sets: readonly string[];
  readonly environment: Environment;
}

/** What a slice is expected to be, as simulated. */
export interface Slice {
  readonly requests: number;
  readonly durationMs: number;
  readonly passes: number;
  /** Offered requests/s; null in a closed loop. */
  readonly requestsPerSecond: number | null;
  readonly saturation: number;
  readonly kvBlocks: number;
  readonly warnings: readonly Problem[];
}

export const FEWEST_REQUESTS = 100;
/** Tokens of the worker's KV pages. */
const PAGE = 16;
const SHORTEST_MS = 60_000;
/** What serve.py takes at most unless told otherwise, loading included. */
const LONGEST_MS = 500_000;

/**
 * Writes `SLICE_FILES` into `folder`, which is to be renamed to `target` beside it. Throws `InputError` for a trace whose requests wait for
 * each other or are too few, a profile of another geometry than its model's, and what reading trace and scenario throws.
 */
export async function writeSlice(folder: string, target: string, options: SliceOptions): Promise<Slice> {
  const profile = readMeasuredProfile(options.profile);
  const geometry = requireGeometry(profile, options.profile);
  const workload = await readRequests(options);
  const file = (name: keyof typeof SLICE_FILES): string => join(folder, SLICE_FILES[name]);
  writeFileSync(file('slice'), mooncakeText(workload));
  writeFileSync(file('scenario'), stringify(scenarioData(profile, workload, options, basename(resolve(target)))));
  const load = (sets: readonly string[]): ReturnType<typeof loadScenario> => loadScenario(file('scenario'), { sets: [...options.sets, ...sets], environment: options.environment });
  const blocks = kvBlocks(load([]).scenario, workload);
  const { scenario, document, warnings } = load([`deployment.agg.kv.blocks=${blocks}`]);
  requireOneWorker(scenario, file('scenario'));
  const requestsPerSecond = await rateOf(options.load, scenario);
  if (requestsPerSecond !== null) writeFileSync(file('slice'), mooncakeText(atRate(workload, requestsPerSecond, options.trace)));
  writeFileSync(file('scenario'), documentToYaml(document, folder));
  writeFileSync(file('config'), `${JSON.stringify(configOf(scenario, profile, geometry, workload, options, sha256Of(file('slice'))), null, 2)}\n`);
  const { report, observations } = await executeScenarioAsync(scenario, await prepareWorkload(scenario));
  return {
    requests: workload.requestCount,
    durationMs: observations.endMs,
    passes: observations.pools[0]!.passes,
    requestsPerSecond,
    saturation: report.pools[0]!.saturation,
    kvBlocks: blocks,
    warnings: [...warnings, ...lengthWarnings(observations.endMs, workload.requestCount)],
  };
}

function requireGeometry({ name, identity }: MeasuredProfile, path: string): Geometry {
  const geometry = geometryOf(requireModel(identity.model));
  if (geometryHash(geometry) === identity.geometry_hash) return geometry;
  throw new InputError({ code: 'E-PROFILE-MODEL', file: path, path: 'identity.geometry_hash', what: `profile '${name}' was measured for another geometry than that of ${identity.model} in the catalogue`, hint: 'measure the model again' });
}

async function readRequests({ trace, format, blockTokens, requests }: SliceOptions): Promise<Workload> {
  if (requests < FEWEST_REQUESTS) throw new InputError({ code: 'E-RANGE', path: '--requests', what: `${requests} requests say little about percentiles`, hint: `take ${FEWEST_REQUESTS} or more` });
  const workload = await readTrace([trace], format, { blockTokens, strict: true, requests, fidelity: 'realistic' });
  const refuse = (code: string, what: string, hint: string): InputError => new InputError({ code, file: trace, what, hint });
  if (workload.requestCount < requests) throw refuse('E-RANGE', `holds ${workload.requestCount} requests, ${requests} are asked for`, 'lower --requests');
  if (workload.graph || workload.turn.some((turn) => turn > 0) || workload.authored || workload.newTokens) {
    throw refuse('E-UNSUPPORTED', 'its requests wait for each other or say their outputs, which serve.py does not do', 'take a trace of independent requests');
  }
  return workload;
}

/** Precisions of products as scenarios name them. */
const WEIGHTS = { bf16: 'bf16', fp8_tensor: 'fp8', fp8_row: 'fp8', fp8_block: 'fp8_block' } as const;

function scenarioData({ identity, provenance }: MeasuredProfile, { traceBlockTokens }: Workload, { profile, load }: SliceOptions, name: string): object {
  const weights = WEIGHTS[identity.dtype.weights];
  return {
    name,
    workload: { trace: SLICE_FILES.slice, format: 'mooncake', block_size: traceBlockTokens, load: 'concurrency' in load ? { concurrency: load.concurrency } : { speedup: 1 } },
    deployment: {
      model: identity.model,
      hardware: identity.hardware,
      engine: { name: 'vllm', block_size: identity.page },
      quant: { weights, ...(requireModel(identity.model).experts === undefined ? {} : { moe: weights }), attention: identity.dtype.attention, kv: identity.dtype.kv },
      agg: { replicas: 1, tp: identity.tp },
    },
    timing: { source: 'measured', path: resolve(profile), allow: ['engine', 'host', ...(provenance.kind === 'fake' ? ['synthetic'] : [])] },
    run: { capture: ['requests'] },
  };
}

/** Requests/s to offer; null in a closed loop. A report calls so much a worker's capacity: what it would serve of these lengths with every place taken. */
async function rateOf(load: SliceLoad, scenario: Scenario): Promise<number | null> {
  if ('concurrency' in load) return null;
  if ('requestsPerSecond' in load) return load.requestsPerSecond;
  const alone: Scenario = { ...scenario, workload: { ...scenario.workload, load: { kind: 'concurrency', concurrency: 1 } } };
  const { report } = await executeScenarioAsync(alone, await prepareWorkload(alone));
  return (load.utilisation * report.throughput.requests_s) / report.pools[0]!.saturation;
}

/** The same requests, their arrivals drawn out or together; whole microseconds. */
function atRate(workload: Workload, requestsPerSecond: number, trace: string): Workload {
  const spanMs = workload.arrivalMs.reduce((latest, ms) => Math.max(latest, ms), 0);
  if (!(spanMs > 0)) throw new InputError({ code: 'E-TRACE', file: trace, path: 'timestamp', what: 'the requests have no times that could be scaled', hint: 'use --concurrency' });
  const factor = ((workload.requestCount - 1) * 1000) / requestsPerSecond / spanMs;
  return { ...workload, arrivalMs: workload.arrivalMs.map((ms) => Math.round(ms * factor * 1000) / 1000) };
}

/** The scenario's KV blocks; where they are sized by memory no more than the worker keeps pages. Throws `E-RANGE` where it sets more. */
function kvBlocks({ deployment: { pools } }: Scenario, workload: Workload): number {
  const { kvBlocks: blocks, kvBlocksEstimated, engine } = pools[0]!;
  // As `fit` in engines/cuda/shard.py: every sequence at its longest, and the largest pass.
  const pages = engine.maxNumSeqs * Math.ceil(longestContext(workload) / PAGE) + Math.ceil(engine.maxNumBatchedTokens / PAGE);
  if (kvBlocksEstimated || blocks <= pages) return Math.min(blocks, pages);
  throw new InputError({ code: 'E-RANGE', path: 'deployment.agg.kv.blocks', what: `${blocks} blocks are set, the worker keeps ${pages} at most: ${engine.maxNumSeqs} of the longest request and one pass`, hint: `set ${pages} or fewer` });
}

/** Prompt and output tokens of the longest request. */
function longestContext({ promptTokens, outputTokens }: Workload): number {
  return promptTokens.reduce((most, tokens, r) => Math.max(most, tokens + outputTokens[r]!), 0);
}

function configOf({ deployment: { pools } }: Scenario, { name, identity: { graphs, dtype, tp }, domain: { context: contexts } }: MeasuredProfile, geometry: Geometry, workload: Workload, { load, profile }: SliceOptions, sliceSha256: string): ServeConfig {
  const scheduler = engineSettings(pools[0]!);
  return {
    schema: 'dynotwin.serve/1',
    slice_sha256: sliceSha256,
    trace_block_tokens: workload.traceBlockTokens,
    load: 'concurrency' in load ? { kind: 'closed', concurrency: load.concurrency } : { kind: 'open', utilisation: 'utilisation' in load ? load.utilisation : null },
    scheduler,
    graphs: servedGraphs(graphs, scheduler.max_num_seqs),
    load_model: {
      model: geometry,
      shard: { tp, rank: 0 },
      dtype,
      limits: { max_tokens: scheduler.max_num_batched_tokens, max_batch: scheduler.max_num_seqs, max_context: Math.max(longestContext(workload), contexts[1]), page: PAGE },
      routing: 'balanced',
      seed: 0,
    },
    profile: { name, sha256: sha256Of(profileFile(profile)) },
  };
}

function lengthWarnings(durationMs: number, requests: number): Problem[] {
  const seconds = (ms: number): string => (ms / 1000).toFixed(0);
  const scaled = (ms: number): number => Math.ceil((requests * ms) / durationMs);
  if (durationMs < SHORTEST_MS) return [{ code: 'W-ADVICE', path: '--requests', what: `the slice takes ${seconds(durationMs)} s as simulated: too short to be steady`, hint: `take ${scaled(SHORTEST_MS)} requests or more for ${seconds(SHORTEST_MS)} s` }];
  if (durationMs > LONGEST_MS) return [{ code: 'W-ADVICE', path: '--requests', what: `the slice takes ${seconds(durationMs)} s as simulated, more than serve.py's budget leaves`, hint: `take ${scaled(LONGEST_MS)} requests, or raise --budget-s` }];
  return [];
}
