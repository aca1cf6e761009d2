/** What a calibration thread runs: the simulations of one message. Loaded from `dist/` by `simulations.ts`. */
import { parentPort } from 'node:worker_threads';
import type { ThreadRequest } from '../core/thread-pool.js';
import { answer } from './answer.js';
import { simulateCase } from './simulate-case.js';
import type { ThreadInput } from './simulations.js';

const port = parentPort!;
port.on('message', ({ input }: ThreadRequest<null, ThreadInput>) => port.postMessage(answer(simulateCase, input)));
