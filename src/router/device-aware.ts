import { CountingRouter } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';

/**
 * Chooses between GPU and CPU workers by their requests in flight, a GPU worker counting as many CPU workers
 * (`router.device_ratio`); in the group chosen the one with the fewest, ties to the first. CPU workers get a request only
 * while theirs are fewer than their share of the GPU workers', rounded down. Source: spec router section 1.1.
 */
class DeviceAwareRouter extends CountingRouter {
  private readonly isCpu: Uint8Array;
  private readonly ratio: number;
  private readonly cpus: number[] = [];
  private readonly gpus: number[] = [];

  constructor(setup: RouterSetup) {
    super(setup);
    if (setup.spec.deviceRatio === undefined) throw new Error('invariant broken: policy device_aware without a ratio');
    this.ratio = setup.spec.deviceRatio;
    this.isCpu = Uint8Array.from({ length: setup.maxWorkers }, (_, worker) => (setup.isCpu?.(worker) ? 1 : 0));
  }

  protected choose(_request: number, workers: readonly number[]): number {
    const { isCpu, cpus, gpus, inFlight } = this;
    const { counts } = inFlight;
    let [onCpus, onGpus] = [0, 0];
    cpus.length = gpus.length = 0;
    for (const worker of workers) {
      if (isCpu[worker] === 1) {
        cpus.push(worker);
        onCpus += counts[worker]!;
      } else {
        gpus.push(worker);
        onGpus += counts[worker]!;
      }
    }
    if (cpus.length === 0 || gpus.length === 0) return inFlight.least(workers);
    const allowed = Math.floor((onGpus * cpus.length) / (this.ratio * gpus.length));
    return inFlight.least(onCpus < allowed ? cpus : gpus);
  }
}

export const deviceAware = (setup: RouterSetup): Router => new DeviceAwareRouter(setup);
