import { InputError } from '../core/problem.js';
import { engineFlavour } from '../engine/registry.js';
import { semanticsOf } from '../engine/semantics.js';
import type { RecordedRoutes } from '../router/recorded.js';
import type { EngineArgs } from '../scenario/dynamo/engine-args.js';
import type { Fidelity, RouterSpec } from '../scenario/scenario.js';
import type { PassTiming } from '../timing/timing.js';
import { polynomialTiming } from '../timing/polynomial.js';
import { profileTiming } from '../timing/profile.js';
import type { ProfileTable } from '../timing/profile-table.js';
import type { DriverMode } from '../workload/driver.js';
import type { PoolConfig, SimulationConfig } from './config.js';
import { timingRules } from './timing-rules.js';

/** Seed of the reference's canonical replays. */
const REPLAY_SEED = 0xd1a05eedn;

export interface ReplayDeployment {
  readonly fidelity: Extract<Fidelity, 'dynosim' | 'aisimulate'>;
  /** Aggregated workers, or prefill and decode workers. */
  readonly pools: readonly { readonly role: 'agg' | 'prefill' | 'decode'; readonly workers: number; readonly args: EngineArgs; /** Default: the polynomial. */ readonly profile?: ProfileTable; /** Default 1. */ readonly gpusPerRank?: number }[];
  readonly router: RouterSpec;
  readonly driver: DriverMode;
  readonly maxTimeMs: number | null;
  /** Instead of a pool's own. */
  readonly timing?: PassTiming;
  readonly forced?: SimulationConfig['forced'];
  /** Log that router policy `recorded` follows. */
  readonly routes?: RecordedRoutes;
}

/**
 * The simulation a set of `dynamo.replay` arguments asks for. Throws `E-COMBINATION` for roles and
 * block sizes that do not go together.
 */
export function replaySimulation(deployment: ReplayDeployment): SimulationConfig {
  const semantics = semanticsOf(deployment.fidelity);
  checkRoles(deployment);
  const source = deployment.pools[0]!.args;
  const flavour = engineFlavour(source.engine.name);
  const rules = timingRules(deployment.fidelity, source.engine.name);
  return {
    semantics,
    pools: deployment.pools.map(
      ({ role, workers, args, profile, gpusPerRank = 1 }): PoolConfig => ({
        name: role,
        role,
        replicas: workers,
        gpusPerWorker: gpusPerRank * (args.engine.ranks ?? 1),
        engine: args.engine,
        kvBlocks: args.kvBlocks,
        timing: deployment.timing ?? (profile ? profileTiming(profile, rules) : polynomialTiming(rules.decodeBy)),
        prefillSpeedup: args.prefillSpeedup,
        decodeSpeedup: args.decodeSpeedup,
      }),
    ),
    router: { ...deployment.router, indexVisible: flavour.indexVisible ?? deployment.router.indexVisible },
    routerSeed: REPLAY_SEED,
    driver: deployment.driver,
    maxTimeMs: deployment.maxTimeMs,
    impossibleHandoff: deployment.fidelity === 'aisimulate' ? 'failed' : 'rejected',
    kvTransfer:
      deployment.pools.length === 1
        ? null
        : {
            bytesPerSecond: source.kvBytesPerToken === null ? null : source.kvBytesPerSecond,
            latencyMs: 0,
            charge: source.charge,
            contention: 'none',
            bytesPerToken: source.kvBytesPerToken ?? 0,
            bytesPerRequest: 0,
          },
    ...(deployment.forced ? { forced: deployment.forced } : {}),
    ...(deployment.routes ? { routes: deployment.routes } : {}),
  };
}

function checkRoles({ pools }: ReplayDeployment): void {
  for (const { role, args } of pools) {
    const wanted = role === 'agg' ? 'aggregated' : role;
    if (args.workerType !== wanted) {
      throw new InputError({ code: 'E-COMBINATION', path: `${role} engine arguments`, what: `worker_type is ${args.workerType}, expected ${wanted}`, hint: `set worker_type to '${wanted}'` });
    }
  }
  const sizes = new Set(pools.map(({ args }) => args.engine.blockTokens));
  if (sizes.size > 1) {
    throw new InputError({ code: 'E-COMBINATION', path: 'block_size', what: `prefill and decode block sizes differ (${[...sizes].join(' and ')})`, hint: 'use one block size' });
  }
}
