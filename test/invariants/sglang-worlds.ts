import fc from 'fast-check';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import type { PassTiming } from '../../src/timing/timing.js';
import { WorkloadBuilder } from '../../src/workload/builder.js';
import type { Workload } from '../../src/workload/workload.js';
import { workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';
import { lengthsMs, chunkTiming, type World } from './worlds.js';

/** What a world needs besides to run on SGLang. */
export const knobs = fc.record({
  pageTokens: fc.constantFrom(1, 1, 2, 4, 16),
  roomy: fc.boolean(),
  maxNumSeqs: fc.constantFrom(2, 5, 256, 256),
  prefixCaching: fc.constantFrom(true, true, true, false),
  schedulePolicy: fc.constantFrom('fifo' as const, 'fifo' as const, 'lpm' as const),
  chunkPages: fc.constantFrom(1, 3, 8, 2000, 2000),
  maxPrefillTokens: fc.constantFrom(16, 40, 16384, 16384),
  clipMaxNewTokens: fc.constantFrom(1, 4, 10, 4096, 4096),
  scheduleConservativeness: fc.constantFrom(0, 0.3, 1, 1),
  decodeInterval: fc.constantFrom(0, 0, 0, 2),
  ranks: fc.constantFrom(1, 1, 1, 1, 2),
  speculative: fc.constantFrom(undefined, undefined, undefined, undefined, { tokens: 2, accept: [0.7, 0.4], seed: 3 }),
  timing: fc.constantFrom('tokens' as const, 'chunks' as const, 'drawn' as const, 'drawn' as const),
  /** A pool that cannot grow may run its workers apart. */
  fixedSize: fc.boolean(),
  /** Full prompts; sessions grow by their outputs; outputs known in advance that others may ask for. */
  history: fc.constantFrom('full' as const, 'full' as const, 'delta' as const, 'authored' as const),
  /** Several requests have the same prompt. */
  twins: fc.boolean(),
  /** Outputs are so much longer. */
  stretch: fc.constantFrom(1, 1, 4, 12),
  receiveInterval: fc.constantFrom(1, 1, 2, 3, 7, 30),
});
export type Knobs = typeof knobs extends fc.Arbitrary<infer T> ? T : never;

const polynomial = polynomialTiming('tokens');
const byTokens: PassTiming = { ...polynomial, prefillMs: (shape) => polynomial.prefillMs(shape) + lengthsMs(shape), decodeMs: (shape) => polynomial.decodeMs(shape) + shape.decodeLongestTokens / 300, readsLengths: true, extrapolates: ({ decodeContextTokens }) => decodeContextTokens > 60 };

/** The world's deployment with SGLang engines. */
export function sglangSetup({ setup }: World, drawn: Knobs): Setup {
  const { pageTokens, roomy, ranks, speculative } = drawn;
  const disaggregated = typeof setup.workers !== 'number';
  const engine: Partial<EngineSpec> = {
    ...setup.engine, name: 'sglang', blockTokens: pageTokens, maxNumSeqs: drawn.maxNumSeqs, prefixCaching: drawn.prefixCaching, chunkedPrefill: true,
    ranks, ...(speculative && !disaggregated ? { speculative } : {}),
    sglang: {
      schedulePolicy: drawn.schedulePolicy, maxPrefillTokens: drawn.maxPrefillTokens, chunkedPrefillSize: drawn.chunkPages * pageTokens,
      clipMaxNewTokens: drawn.clipMaxNewTokens, scheduleConservativeness: drawn.scheduleConservativeness, decodeInterval: drawn.decodeInterval,
      ...(setup.fidelity === 'realistic' && drawn.receiveInterval > 1 ? { receiveInterval: drawn.receiveInterval } : {}),
    },
  };
  const pages = (blocks: number): number => Math.max(2, Math.floor((blocks * setup.engine!.blockTokens! * (roomy ? 3 : 1)) / pageTokens));
  return { ...setup, engine, kvBlocks: pages(setup.kvBlocks!), decode: { kvBlocks: pages(setup.decode!.kvBlocks!) }, timing: { tokens: byTokens, chunks: chunkTiming, drawn: setup.timing! }[drawn.timing] };
}

/** The world's requests with such histories. */
export function workloadWith({ requests }: World, { history, twins, stretch }: Pick<Knobs, 'history' | 'twins' | 'stretch'>): Workload {
  const list = requests.map((request): LiteralRequest => ({
    ...request,
    output: request.output * stretch,
    ids: twins ? request.ids.map((id) => (id < 100_000 ? id : 100_000 + (id % 3000))) : request.ids,
  }));
  if (history === 'full') return workloadOf(list);
  const builder = new WorkloadBuilder('literal', 1, history === 'delta');
  const sessions = new Map<string, number>();
  list.forEach(({ ids, output, arrivalMs, session, delayMs }, i) => {
    const name = session ?? `request_${i + 1}`;
    const known = sessions.get(name);
    const index = known ?? builder.addSession(name);
    sessions.set(name, index);
    const authored = history === 'authored' ? Array.from({ length: output }, (_, k) => ({ count: 1, hashId: ids[ids.length - 1]! + 1 + k })) : [];
    const isFirst = known === undefined;
    builder.addRequest({ session: index, arrivalMs: isFirst ? arrivalMs! : NaN, delayMs: isFirst ? 0 : delayMs!, promptTokens: ids.length, outputTokens: output, authored }, ids);
  });
  return builder.finish([]);
}
