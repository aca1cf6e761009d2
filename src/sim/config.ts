import type { Check } from '../core/check.js';
import type { EngineFactory } from '../engine/registry.js';
import type { Semantics } from '../engine/semantics.js';
import type { RecordedRoutes } from '../router/recorded.js';
import type { ForcedChoice } from '../router/router.js';
import type { EngineSpec, FrontendSpec, KvTransferSpec, ReplicasSpec, RouterSpec } from '../scenario/scenario.js';
import type { WorkerTraits } from '../scenario/worker-traits.js';
import type { PassTiming } from '../timing/timing.js';
import type { DriverMode } from '../workload/driver.js';

/** One pool of workers, equal but for their traits. */
export interface PoolConfig {
  readonly name: string;
  readonly role: 'agg' | 'prefill' | 'decode';
  readonly replicas: number;
  readonly gpusPerWorker: number;
  readonly engine: EngineSpec;
  readonly kvBlocks: number;
  readonly timing: PassTiming;
  /** Divisors of prefill time and of decode time; 0 = unscaled. */
  readonly prefillSpeedup: number;
  readonly decodeSpeedup: number;
  /** What sets some workers apart; absent = all are equal. */
  readonly workers?: readonly WorkerTraits[];
}

/** Everything one simulation needs beside its workload. */
export interface SimulationConfig {
  readonly semantics: Semantics;
  /** One `agg` pool, or `prefill` then `decode`. */
  readonly pools: readonly PoolConfig[];
  readonly router: RouterSpec;
  /** Absent = requests reach the router at once. */
  readonly frontend?: FrontendSpec & { /** Its cores are those of all replicas together, not of each. */ readonly isShared?: true };
  /** Absent = one frontend. */
  readonly replicas?: ReplicasSpec;
  /** Seed of every router's generator. */
  readonly routerSeed: bigint;
  readonly driver: DriverMode;
  /** Everything stops at the first event later than this; null = never. */
  readonly maxTimeMs: number | null;
  /** Required with a prefill and a decode pool. */
  readonly kvTransfer: KvTransferSpec | null;
  /** Status of a prompt that no decode worker can ever hold. */
  readonly impossibleHandoff: 'rejected' | 'failed';
  /** Most workers a pool may grow to; default its replicas. */
  readonly maxWorkers?: number;
  /** Makes the engines; default the project's own. Tests put an oracle here. */
  readonly createEngine?: EngineFactory;
  /** First requests of the workload that no latency counts; default 0. */
  readonly warmupRequests?: number;
  /** Looks at every invariant after every pass: all workers together, one pass at a time. Changes no request's fate. */
  readonly check?: Check;
  /** Recorded choices to follow, by role (key-value router only). */
  readonly forced?: Partial<Record<PoolConfig['role'], ForcedChoice>>;
  /** Log of choices that policy `recorded` follows. */
  readonly routes?: RecordedRoutes;
  /** The oracle prices every routing decision of the run (`Observations.priced`). Changes no request's fate. */
  readonly pricesDecisions?: boolean;
}
