import { chargedMs } from '../core/nanoseconds.js';
import type { EngineGauge, SeeProgress } from '../engine/engine.js';
import type { SimulationClock, WorkerView } from '../router/worker-view.js';
import { slowdownOf } from '../scenario/worker-traits.js';
import { clearPrompts, emptyPass, noteLengths, type PassShape } from '../timing/timing.js';
import type { Workload } from '../workload/workload.js';
import type { PoolConfig } from './config.js';
import { speedupsOf, type Speedups } from './speedups.js';
import type { Worker } from './worker-pool.js';

/** A pool's workers as its router may look at them. */
export class PoolView implements WorkerView {
  readonly outputTokens: Int32Array;
  readonly session: Int32Array;
  readonly turn: Int32Array;
  readonly kvBlocks: number;
  readonly maxRunning: number;
  readonly passTokens: number;
  private readonly seen: EngineGauge = { running: 0, usedBlocks: 0 };
  private readonly shape: PassShape;
  /** Of each worker up to the last one that is set apart; the others have those of the pool. */
  private readonly speedups: readonly Speedups[];

  constructor(
    private readonly config: PoolConfig,
    private readonly workers: readonly Worker[],
    private readonly clock: SimulationClock,
    { outputTokens, session, turn }: Workload,
  ) {
    const { engine, kvBlocks } = config;
    this.outputTokens = outputTokens;
    this.session = session;
    this.turn = turn;
    this.kvBlocks = kvBlocks;
    this.maxRunning = engine.maxNumSeqs;
    this.passTokens = engine.sglang ? Math.min(engine.sglang.chunkedPrefillSize, engine.sglang.maxPrefillTokens) : engine.maxNumBatchedTokens;
    this.shape = emptyPass(kvBlocks, engine.blockTokens);
    const apart = Math.max(-1, ...(config.workers ?? []).flatMap(({ of }) => of));
    this.speedups = Array.from({ length: apart + 1 }, (_, worker) => speedupsOf(config, slowdownOf(config.workers, worker)));
  }

  now(): number {
    return this.clock.now();
  }

  begun(): boolean {
    return this.clock.begun();
  }

  gauge(worker: number): EngineGauge {
    this.workers[worker]!.engine.gauge!(this.now(), this.begun(), this.seen);
    return this.seen;
  }

  eachProgress(worker: number, see: SeeProgress): void {
    this.workers[worker]!.engine.eachProgress!(this.now(), see);
  }

  passEndMs(worker: number): number {
    const { engine, group } = this.workers[worker]!;
    const now = this.now();
    if (group.ranks.length > 1 && group.passEndMs !== Infinity) return group.passEndMs;
    const endMs = engine.passEndFrom(now, this.begun());
    return endMs === Infinity ? now : endMs;
  }

  promptMs(starts: ArrayLike<number>, ends: ArrayLike<number>, count: number, worker: number): number {
    const { timing } = this.config;
    const { shape } = this;
    clearPrompts(shape);
    shape.decodeRequests = shape.groupDecodeRequests = shape.decodeContextTokens = shape.decodeLongestTokens = shape.occupiedBlocks = 0;
    shape.prefillRequests = count;
    for (let i = 0; i < count; i++) {
      const start = starts[i]!;
      const end = ends[i]!;
      shape.prefillStartTokens += start;
      shape.prefillEndTokens += end;
      shape.prefillAttentionTokens2 += end * end - start * start;
      if (timing.chunkMs) shape.prefillChunksMs += timing.chunkMs(start, end);
      if (timing.readsLengths) noteLengths(shape, start, end);
    }
    shape.groupPrefillTokens = shape.prefillEndTokens - shape.prefillStartTokens;
    return count === 0 ? 0 : chargedMs(timing.prefillMs(shape), this.speedupsOf(worker).prefillSpeedup);
  }

  decodeMs(requests: number, contextTokens: number, worker: number): number {
    const { timing } = this.config;
    const { shape } = this;
    clearPrompts(shape);
    shape.groupPrefillTokens = 0;
    shape.decodeRequests = shape.groupDecodeRequests = requests;
    shape.decodeContextTokens = contextTokens;
    shape.decodeLongestTokens = requests === 0 ? 0 : Math.ceil(contextTokens / requests);
    shape.occupiedBlocks = Math.min(this.kvBlocks, Math.ceil(contextTokens / shape.blockTokens));
    return requests === 0 ? 0 : chargedMs(timing.decodeMs(shape), this.speedupsOf(worker).decodeSpeedup);
  }

  private speedupsOf(worker: number): Speedups {
    return this.speedups[Math.floor(worker / (this.config.engine.ranks ?? 1))] ?? this.config;
  }
}
