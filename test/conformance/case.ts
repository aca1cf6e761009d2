import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { addReplayFlags, planReplay, type ReplayPlan } from '../../src/cli/replay-flags.js';
import { InputError } from '../../src/core/problem.js';
import { parseEngineArgs } from '../../src/scenario/dynamo/engine-args.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import { createForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import { folderOperators } from '../../src/timing/operator-sources.js';
import { staticTiming } from '../../src/timing/static-tables.js';
import { createStepTimes } from '../../src/timing/step-times.js';
import type { PassTiming } from '../../src/timing/timing.js';

/** One recorded run: what was asked and what came out. */
export interface RecordedCase {
  readonly name: string;
  readonly plan: ReplayPlan;
  /** Rows of the trace that were used. */
  readonly skip: number;
  readonly take: number | null;
  /** Summary figures; keys absent from the recording are not compared. */
  readonly report: Readonly<Record<string, number>>;
  /** Range of a figure over the peer's runs, where they differ. */
  readonly spread: Readonly<Record<string, readonly [number, number]>>;
  /** Per-request rows by request number, or empty. */
  readonly rows: ReadonlyMap<number, Readonly<Record<string, unknown>>>;
}

/** Reads a case folder of either kind. Throws `InputError` (E-UNSUPPORTED) for what is not built. */
export function readCase(folder: string, sharedRoot: string): RecordedCase {
  return existsSync(join(folder, 'case.json')) ? readReplayCase(folder, sharedRoot) : readCoreCase(folder, sharedRoot);
}

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** `dynamo.replay` of 1.4.2: the recorded command line goes through our own flags; `CASE/` in it is the case's folder. */
function readReplayCase(folder: string, sharedRoot: string): RecordedCase {
  const recorded = json(join(folder, 'case.json'));
  if (!recorded.cli) throw new InputError({ code: 'E-UNSUPPORTED', what: 'a run without a command line (planner of 1.6): not supported yet' });
  const argv: string[] = recorded.cli.map((arg: string) => (arg === 'TRACE' ? join(sharedRoot, recorded.trace.file) : arg.replaceAll('"CASE/', `"${folder}/`)));
  const command = addReplayFlags(new Command().argument('[trace...]').exitOverride()).parse(argv, { from: 'user' });
  const plan = planReplay(command.args, command.opts());
  const rows = new Map<number, Record<string, unknown>>();
  if (existsSync(join(folder, 'requests.json'))) {
    const table = json(join(folder, 'requests.json'));
    for (const row of table.rows) {
      const named = Object.fromEntries(table.columns.map((column: string, i: number) => [column, row[i]]));
      rows.set(named['line'], named);
    }
  }
  return {
    name: recorded.name,
    plan,
    skip: recorded.trace?.skip ?? 0,
    take: recorded.trace?.take ?? null,
    report: json(join(folder, 'report.json')),
    spread: recorded.report_spread,
    rows,
  };
}

/** Operator tables exactly as the reference reads them; the checkpoint's own precision. */
function tableTiming(aic: { readonly model: string; readonly system: string; readonly tp: number; readonly backend_version: string }, engine: string, sharedRoot: string): PassTiming {
  const model = requireModel(aic.model);
  const { times } = folderOperators({ path: join(sharedRoot, 'opdata'), hardware: aic.system, engine, version: aic.backend_version, exact: true, estimates: false });
  const layout = { tp: aic.tp, pp: 1, attentionDp: 1, moeTp: aic.tp, moeEp: 1 };
  return staticTiming(createStepTimes(createForwardModel({ model, engine, layout, quant: inferQuant(model, requireHardware(aic.system), engine) }, times)), 0);
}

/** aisimulate-core 0.13: no command line; the configuration is neutral JSON. */
function readCoreCase(folder: string, sharedRoot: string): RecordedCase {
  const recorded = json(join(folder, 'config.json'));
  const unsupported = (what: string): never => {
    throw new InputError({ code: 'E-UNSUPPORTED', what });
  };
  const fixed = /^fixed:(.+),(.+)$/.exec(recorded.timing ?? '');
  const args = (role: string, extra: object) => {
    const { backend, kv_transfer_bytes_per_token, native_host_offload, g3_offload, ...rest } = { ...recorded.engine, ...extra };
    if (native_host_offload || g3_offload) unsupported('KV cache tiers');
    if (rest.kv_cache_bytes_per_token !== undefined) delete rest.kv_cache_bytes_per_token;
    const flat = { engine_type: backend ?? 'vllm', ...rest, worker_type: role, ...(kv_transfer_bytes_per_token === undefined ? {} : { kv_bytes_per_token: kv_transfer_bytes_per_token }) };
    return parseEngineArgs(JSON.stringify(flat), 'config.json', 'aisimulate');
  };
  const pools: ReplayPlan['deployment']['pools'] = recorded.disagg
    ? [
        { role: 'prefill', workers: recorded.disagg[0], args: args('prefill', recorded.prefill_engine ?? {}) },
        { role: 'decode', workers: recorded.disagg[1], args: args('decode', recorded.decode_engine ?? {}) },
      ]
    : [{ role: 'agg', workers: recorded.workers, args: args('aggregated', {}), ...(recorded.aic ? { gpusPerRank: recorded.aic.tp } : {}) }];
  const tracePath = ['traces', '.'].map((place) => join(sharedRoot, place, recorded.trace)).find((path) => existsSync(path));
  const rows = new Map<number, Record<string, unknown>>();
  for (const line of readFileSync(join(folder, 'requests.jsonl'), 'utf8').split('\n')) {
    if (line.trim() === '') continue;
    const row = JSON.parse(line);
    rows.set(row.trace_index ?? rows.size, row);
  }
  return {
    name: recorded.name,
    plan: {
      source: { kind: 'trace', paths: [tracePath ?? recorded.trace], format: recorded.trace_format ?? 'mooncake', blockTokens: recorded.trace_block_size ?? null, sharedPrefix: null },
      deployment: {
        fidelity: 'aisimulate',
        pools,
        router: recorded.router === 'kv_router' ? { ...REPLAY_ROUTER, indexVisible: 'pass_end' } : { ...REPLAY_ROUTER, policy: 'round_robin' },
        driver: recorded.concurrency ? { kind: 'closed', concurrency: recorded.concurrency } : { kind: 'open', speedup: recorded.arrival_speedup_ratio ?? 1, ...(recorded.traffic?.agentic_lanes ? { lanes: recorded.traffic.agentic_lanes } : {}) },
        maxTimeMs: null,
        ...(fixed ? { timing: fixedTiming(Number(fixed[1]), Number(fixed[2])) } : {}),
        ...(recorded.timing === 'aic' ? { timing: tableTiming(recorded.aic, recorded.engine.backend, sharedRoot) } : {}),
      },
      sla: { slaTtftMs: null, slaItlMs: null, slaE2eMs: null },
      warnings: [],
    },
    skip: recorded.skip ?? 0,
    take: recorded.requests ?? null,
    report: json(join(folder, 'report.json')),
    spread: recorded.report_spread ?? {},
    rows,
  };
}
