import { CountingRouter } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';

/** Of two distinct workers drawn at random the one with fewer requests in flight; ties to the first drawn. Source: spec router section 1. */
class PowerOfTwoRouter extends CountingRouter {
  protected choose(_request: number, workers: readonly number[]): number {
    const { random } = this.setup;
    const count = workers.length;
    if (count === 1) return workers[0]!;
    const first = random.integer(count);
    const second = (first + 1 + random.integer(count - 1)) % count;
    return this.inFlight.least([workers[first]!, workers[second]!]);
  }
}

export const powerOfTwo = (setup: RouterSetup): Router => new PowerOfTwoRouter(setup);
