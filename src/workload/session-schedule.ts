import type { DriverMode, ReadyQueue, Schedule } from './driver.js';
import type { Workload } from './workload.js';

/** Sessions of one or more turns, in an open or a closed loop (spec workload section 3.1). */
export class SessionSchedule implements Schedule {
  private readonly firstTurns: number[] = [];
  private nextSession = 0;

  constructor(
    private readonly workload: Workload,
    private readonly mode: DriverMode,
    private readonly queue: ReadyQueue,
  ) {
    for (let request = 0; request < workload.requestCount; request++) {
      if (workload.turn[request] === 0) this.firstTurns.push(request);
    }
  }

  start(): void {
    if (this.mode.kind === 'open') {
      for (const request of this.firstTurns) this.queue.add(request, this.workload.arrivalMs[request]! / this.mode.speedup);
    } else {
      for (let slot = 0; slot < this.mode.concurrency; slot++) this.startNextSession(0);
    }
  }

  sent(): void {
    // A session goes on at the end of its turn.
  }

  ended(request: number, nowMs: number): void {
    const next = this.workload.nextTurn[request]!;
    if (next >= 0) {
      const delay = this.workload.delayMs[next]!;
      this.queue.add(next, nowMs + (this.mode.kind === 'open' ? delay / this.mode.speedup : delay));
    } else if (this.mode.kind === 'closed') {
      this.startNextSession(nowMs);
    }
  }

  private startNextSession(nowMs: number): void {
    const request = this.firstTurns[this.nextSession];
    if (request === undefined) return;
    this.nextSession++;
    this.queue.add(request, nowMs);
  }
}
