/** worker-threads-pool 2 is CommonJS without types: what we use of it. */
declare module 'worker-threads-pool' {
  import type { Worker, WorkerOptions } from 'node:worker_threads';
  export default class Pool {
    constructor(options?: { readonly max?: number; readonly maxWaiting?: number });
    /** Workers alive. */
    readonly size: number;
    acquire(filename: string | URL, options: WorkerOptions, callback: (error: Error | null, worker: Worker) => void): void;
  }
}
