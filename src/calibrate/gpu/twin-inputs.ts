import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../core/problem.js';
import type { Scenario } from '../../scenario/scenario.js';
import { requireModel } from '../../timing/catalogue.js';
import { readMeasuredProfile } from '../../timing/measured/profiles.js';
import type { Workload } from '../../workload/workload.js';
import { geometryOf } from './geometry.js';
import { geometryHash } from './points.js';
import type { SchedulerSettings, Served } from './served.js';

/** That a served run and a simulation are of the same requests, settings and profile. */

/** Throws `InputError` (`E-TWIN`) unless a scenario is what serve.py runs: one aggregated vLLM worker of one rank under `realistic`, without draft tokens. */
export function requireOneWorker({ deployment, run }: Scenario, file: string): void {
  const [pool] = deployment.pools;
  const refuse = (path: string, what: string): InputError => new InputError({ code: 'E-TWIN', file, path, what: `${what}, which serve.py does not run`, hint: 'simulate one aggregated vllm worker' });
  if (run.fidelity !== 'realistic') throw refuse('run.fidelity', `these are the rules of ${run.fidelity}`);
  if (deployment.mode !== 'agg' || pool!.replicas !== 1) throw refuse('deployment', deployment.mode === 'agg' ? `there are ${pool!.replicas} workers` : 'prefill and decode are apart');
  const { name, ranks, speculative, admission, blockManager } = pool!.engine;
  if (name !== 'vllm') throw refuse('deployment.engine.name', `the engine is ${name}`);
  if (ranks !== undefined) throw refuse('deployment.agg.dp', `there are ${ranks} data-parallel ranks`);
  if (speculative !== undefined) throw refuse('deployment.speculative', 'there are draft tokens');
  if (admission !== undefined) throw refuse('deployment.engine.admission', 'schedules are made a pass ahead');
  if (blockManager !== undefined && blockManager !== 'native') throw refuse('deployment.agg.kv.eviction', 'one copy per content is kept');
}

/**
 * Throws `InputError` (`E-TWIN`) naming both sides unless the twin simulates what was served: a whole run, the same slice, load, settings,
 * KV blocks, GPUs, model, precision and graphs.
 */
export function requireSameRun(served: Served, { source, scenario, workload }: { readonly source: string; readonly scenario: Scenario; readonly workload: Workload }): void {
  const { file, head: { config }, end } = served;
  const refuse = (path: string, real: unknown, twin: unknown): InputError =>
    new InputError({ code: 'E-TWIN', file: source, path, what: `is ${String(twin)}, the served run '${file}' had ${String(real)}`, hint: 'simulate the scenario that calibrate slice wrote beside its slice' });
  const require = (path: string, real: unknown, twin: unknown): void => {
    if (real !== twin) throw refuse(path, real, twin);
  };
  if (end.reason !== 'complete') throw new InputError({ code: 'E-TWIN', file, what: `the served run stopped (${end.reason}) with ${end.left} requests left; its figures are those of another load`, hint: 'serve a slice that ends within the budget' });
  const { deployment, workload: { source: trace, load } } = scenario;
  const [pool] = deployment.pools;
  requireOneWorker(scenario, source);
  requireSameMachine(served, scenario, source);
  require('workload.trace', config.slice_sha256, trace.kind === 'trace' ? sha256Of(trace.path) : trace.kind);
  require('workload.requests', served.requests.length, workload.requestCount);
  require('workload.block_size', config.trace_block_tokens, workload.traceBlockTokens);
  const settings = engineSettings(pool!);
  for (const name of Object.keys(settings) as (keyof SchedulerSettings)[]) require(name === 'kv_blocks' ? 'deployment.kv.blocks' : `deployment.engine.${name}`, config.scheduler[name], settings[name]);
  require('deployment.agg.tp', config.load_model.shard.tp, pool!.tp);
  require('workload.load', config.load.kind === 'closed' ? `concurrency ${config.load.concurrency}` : 'speedup 1', load.kind === 'concurrency' ? `concurrency ${load.concurrency}` : load.kind === 'speedup' ? `speedup ${load.speedup}` : load.kind);
  if (deployment.model !== null) require('deployment.model', geometryHash(config.load_model.model), geometryHash(geometryOf(requireModel(deployment.model))));
}

/** Throws `InputError` (`E-TWIN`) unless the profile of the twin is of the precisions, graphs and GPU that served. */
export function requireSameMachine({ file, head: { config, capabilities } }: Served, { timing }: Scenario, source: string): void {
  if (timing.source !== 'measured' || timing.path === undefined) return;
  const { identity, provenance } = readMeasuredProfile(timing.path);
  const require = (what: string, real: string, twin: string): void => {
    if (real !== twin) throw new InputError({ code: 'E-TWIN', file: source, path: 'timing.path', what: `the profile's ${what} is ${twin}, the served run '${file}' had ${real}`, hint: 'take a profile measured on the GPU that served' });
  };
  const { weights, kv } = config.load_model.dtype;
  require('precision', `${weights} with a ${kv} cache`, `${identity.dtype.weights} with a ${identity.dtype.kv} cache`);
  require('list of graphs', config.graphs.join(', '), servedGraphs(identity.graphs, config.scheduler.max_num_seqs).join(', '));
  if (capabilities.kind === 'cuda' && provenance.kind === 'cuda') require('GPU', capabilities.gpu.name, provenance.gpu);
}

/** Graphs that a scheduler of so many sequences can fill: those beyond would be captured for nothing. */
export function servedGraphs(graphs: readonly number[], maxNumSeqs: number): number[] {
  return graphs.filter((_, index) => index === 0 || graphs[index - 1]! < maxNumSeqs);
}

/** Whether the twin runs with the very profile that the slice was made for: then nothing could be fitted to the served run. */
export function isProfileOfSlice({ head: { config } }: Served, { timing }: Scenario): boolean {
  return timing.source === 'measured' && timing.path !== undefined && sha256Of(profileFile(timing.path)) === config.profile.sha256;
}

/** Settings of a pool's scheduler as serve.py takes them. */
export function engineSettings({ engine, kvBlocks }: Scenario['deployment']['pools'][number]): SchedulerSettings {
  return {
    block_size: engine.blockTokens,
    kv_blocks: kvBlocks,
    max_num_seqs: engine.maxNumSeqs,
    max_num_batched_tokens: engine.maxNumBatchedTokens,
    prefix_caching: engine.prefixCaching,
    chunked_prefill: engine.chunkedPrefill,
    context_length: engine.contextTokens,
    preemption: engine.preemption,
  };
}

/** `profile.yaml` of a profile that is named by its folder or file. */
export function profileFile(path: string): string {
  return existsSync(path) && statSync(path).isDirectory() ? join(path, 'profile.yaml') : path;
}

/** SHA-256 of a file's bytes, hex. */
export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
