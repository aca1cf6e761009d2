import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { formatProblem, InputError } from '../../src/core/problem.js';
import type { Environment } from '../../src/scenario/environment.js';
import { loadFile, type Loaded } from '../../src/scenario/load.js';
import type { Shape } from '../../src/scenario/shape.js';
import type { Scenario, Sweep } from '../../src/scenario/scenario.js';

/** The model with experts. */
export const EXPERTS = 'Qwen/Qwen3-30B-A3B';

/** A made-up world: Qwen fits everywhere, the 70B needs two GPUs. */
export const environment: Environment = {
  modelNames: () => ['Qwen/Qwen3-8B', EXPERTS, 'meta-llama/Llama-3.1-70B'],
  hardwareNames: () => ['h100_sxm', 'h200_sxm'],
  hasModel: (model) => environment.modelNames().includes(model),
  hasHardware: (hardware) => environment.hardwareNames().includes(hardware),
  modelContextTokens: () => 40_960,
  gpusPerNode: () => 8,
  kvElementBytes: () => 2,
  hasExperts: (model) => model === EXPERTS,
  gpusPerFabric: () => 8,
  gpuHourPrice: () => 2.5,
  quant: ({ wish }) =>
    wish.weights === 'nvfp4'
      ? { ok: false, problem: { code: 'E-HARDWARE', field: 'quant.weights', what: 'nvfp4 needs fp4 matrix units; h200_sxm has bf16, int8, fp8', hint: 'use one of bf16, fp8' } }
      : { ok: true, value: { weights: wish.weights ?? 'bf16', moe: wish.moe ?? 'bf16', attention: wish.attention ?? 'bf16', kv: wish.kv ?? 'bf16' } },
  shapes: ({ model, engine, gpus }) => {
    const tps = [1, 2, 4, 8].filter((tp) => tp <= gpus).map((tp): Shape => ({ tp, dp: 1, pp: 1 }));
    return model === EXPERTS && engine !== 'sglang' ? tps.flatMap(({ tp }) => [{ tp, dp: 1, pp: 1, moeTp: tp, moeEp: 1 }, { tp, dp: 1, pp: 1, moeTp: 1, moeEp: tp }]) : tps;
  },
  engineDefaults: (engine) => ({ vllm: { version: '0.24.0', blockTokens: 64, memoryFraction: 0.9 }, sglang: { version: '0.5.14', blockTokens: 1, memoryFraction: 0.88 }, trtllm: { version: '1.3.0rc20', blockTokens: 32, memoryFraction: 0.9 } })[engine],
  kvTransferBytesPerToken: (_, legacy, kv) => (legacy ? 100_000 : kv === 'fp8' ? 73_728 : 147_456),
  kvBlocks: ({ model, layout: { tp }, engine, reserveBytes, quant }) =>
    model.endsWith('70B') && tp === 1
      ? {
          ok: false,
          problem: {
            code: 'E-FIT',
            field: 'tp',
            what: '146.3 GB per GPU (weights 141.1, activations 1.5, runtime 3.8) exceed 77.3 GB (90% of 85.9 GB)',
            hint: 'tp: 2 leaves 1.8 GB for KV, tp: 4 leaves 37.2 GB',
          },
        }
      : {
          ok: true,
          value: {
            blocks: Math.floor((4096 * tp * engine.memoryFraction * 64 * (quant?.kv === 'fp8' ? 2 : 1)) / engine.blockTokens) - Math.round(reserveBytes / 1e9),
            weightsBytes: 1,
            activationBytes: 1,
            runtimeBytes: 1,
            stateBytes: 0,
            kvBytesPerTokenPerGpu: 1,
            budgetBytes: 1,
          },
        },
  timingSource: ({ wanted }) => ({ ok: true, value: wanted === 'auto' ? 'fitted' : wanted }),
};

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-scenario-'));

/** Writes files into a temporary folder and returns the path of the first. */
export function files(contents: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(contents)) writeFileSync(join(folder, name), text);
  return join(folder, Object.keys(contents)[0]!);
}

export function load(text: string, sets: readonly string[] = [], world = environment): Loaded {
  return loadFile(files({ 'test.yaml': text }), { sets, environment: world });
}

export function scenarioOf(text: string, sets: readonly string[] = [], world = environment): Scenario {
  const loaded = load(text, sets, world);
  if (loaded.kind !== 'scenario') throw new Error('a sweep');
  return loaded.scenario;
}

export function sweepOf(text: string, sets: readonly string[] = [], world = environment): Sweep {
  const loaded = load(text, sets, world);
  if (loaded.kind !== 'sweep') throw new Error('a scenario');
  return loaded.sweep;
}

/** The problems as printed, files by their last name. */
export function problemsOf(action: () => unknown): string[] {
  try {
    action();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return error.problems.map((problem) => formatProblem(problem.file === undefined ? problem : { ...problem, file: basename(problem.file) }));
  }
  return [];
}

/** A valid scenario; `more` adds lines at the top level. */
export const scenarioText = (more = ''): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, agg: {replicas: 2}}
${more}
`;
