import { randomStream } from '../core/random.js';
import type { ReplicasSpec } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';

/** Which replica of the frontend each request goes to, chosen when it comes from its client. */
export class ReplicaBalance {
  /** Per request; 0 before it comes. */
  readonly replicaOf: Uint8Array;
  private readonly session: ArrayLike<number>;
  /** Per session: replica + 1 of its first request; null = its requests are spread like any others. */
  private readonly ofSession: Uint8Array | null;
  private readonly draw: (() => number) | null;
  private turns = 0;

  constructor(
    readonly spec: ReplicasSpec,
    { requestCount, session, sessionCount }: Pick<Workload, 'requestCount' | 'session' | 'sessionCount'>,
    seed: number,
  ) {
    this.replicaOf = new Uint8Array(requestCount);
    this.session = session;
    this.ofSession = spec.balance === 'session' ? new Uint8Array(sessionCount) : null;
    const random = randomStream(seed, 'frontend replicas');
    this.draw = spec.balance === 'random' ? () => random.integer(spec.count) : null;
  }

  /** A request comes from its client. */
  assign(request: number): void {
    this.replicaOf[request] = this.choose(this.session[request]!);
  }

  private choose(session: number): number {
    if (this.draw !== null) return this.draw();
    const known = this.ofSession === null ? 0 : this.ofSession[session]!;
    if (known > 0) return known - 1;
    const replica = this.turns++ % this.spec.count;
    if (this.ofSession !== null) this.ofSession[session] = replica + 1;
    return replica;
  }
}
