import { SIGNAL, type EngineRole } from '../../src/engine/engine.js';
import { semanticsOf, type Semantics } from '../../src/engine/semantics.js';
import { createEngine } from '../../src/engine/registry.js';
import { Sequences } from '../../src/engine/sequences.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import type { PassTiming } from '../../src/timing/timing.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { ENGINE, FIXED, ns, spyTiming, tokens, workloadOf, type LiteralRequest } from './simulate.js';

/** What one pass showed. Requests by number. */
export interface PassRow {
  readonly startMs: number | null;
  readonly endMs: number | null;
  /** [requests, Σ end positions, Σ start positions] of prompt work; null = none was charged. */
  readonly prefill: readonly [number, number, number] | null;
  /** [requests, Σ known tokens] of the decode batch; null = none was charged. */
  readonly decode: readonly [number, number] | null;
  /** Requests that got a token, in order. */
  readonly tokens: readonly number[];
  readonly finished: readonly number[];
  readonly rejected: readonly number[];
  /** [request, reused tokens] of each admission. */
  readonly admitted: readonly (readonly [number, number])[];
  readonly preempted: readonly number[];
  /** Contents that entered and left the cache, in order. */
  readonly stored: readonly number[];
  readonly removed: readonly number[];
  /** Blocks in use while the pass ran; null where it took no time. */
  readonly active: number | null;
}

export interface EngineSetup {
  readonly engine?: Partial<EngineSpec>;
  readonly kvBlocks: number;
  readonly semantics?: Semantics;
  readonly role?: EngineRole;
  readonly timing?: PassTiming;
}

/** Submits each request at its arrival and runs one engine pass by pass until it is idle. */
export function passesOf(requests: readonly LiteralRequest[], setup: EngineSetup): PassRow[] {
  const engine = { ...ENGINE, ...setup.engine };
  const workload = workloadOf(requests);
  const table = expandBlocks(workload, engine.blockTokens);
  const timing = spyTiming(setup.timing ?? FIXED);
  const seen = { tokens: [] as number[], admitted: [] as [number, number][], preempted: [] as number[], stored: [] as number[], removed: [] as number[] };
  const core = createEngine(
    { role: setup.role ?? 'agg', workerIndex: 0, engine, kvBlocks: setup.kvBlocks, semantics: setup.semantics ?? semanticsOf('dynosim'), timing, mayBeCut: true, prefillSpeedup: 1, decodeSpeedup: 1 },
    {
      promptTokens: workload.promptTokens,
      outputTokens: workload.outputTokens,
      table,
      sequences: new Sequences(workload.promptTokens, workload.outputTokens, table),
      observer: {
        admitted: (request, _atMs, reused) => void seen.admitted.push([request, reused]),
        preempted: (request) => void seen.preempted.push(request),
        token: (request) => void seen.tokens.push(request),
        gaps: () => undefined,
        gapRun: () => undefined,
        secondToken: () => undefined,
        caughtUp: () => undefined,
      },
      cacheNewsAtPassEnd: false,
      hearsGenerated: true,
      cacheListener: {
        stored: (first, count) => void seen.stored.push(...tokens(first, count)),
        // A run is evicted from its end.
        removed: (first, count) => void seen.removed.push(...tokens(first, count).reverse()),
      },
    },
  );
  const arrivals = requests.map((request, i) => ({ i, atMs: request.arrivalMs ?? 0 })).sort((a, b) => a.atMs - b.atMs || a.i - b.i);
  const passes: PassRow[] = [];
  let nowMs = 0;
  for (;;) {
    while (arrivals.length > 0 && arrivals[0]!.atMs <= nowMs) core.submit(arrivals.shift()!.i, nowMs);
    const endMs = core.begin(nowMs, nowMs);
    if (endMs < 0 && arrivals.length === 0) return passes;
    if (endMs < 0) {
      nowMs = arrivals[0]!.atMs;
      continue;
    }
    const startMs = nowMs;
    core.settle(endMs);
    nowMs = core.nextChangeMs();
    const effects = core.advance();
    const kinds = (kind: number): number[] => effects.requests.slice(0, effects.count).filter((_, i) => effects.kinds[i] === kind);
    const prefill = timing.prefills.pop();
    const decode = timing.decodes.pop();
    passes.push({
      startMs: ns(startMs),
      endMs: ns(nowMs),
      prefill: prefill ? [prefill.prefillRequests, prefill.prefillEndTokens, prefill.prefillStartTokens] : null,
      decode: decode ? [decode.decodeRequests, decode.decodeContextTokens] : null,
      tokens: seen.tokens.splice(0),
      finished: kinds(SIGNAL.finished),
      rejected: kinds(SIGNAL.rejected),
      admitted: seen.admitted.splice(0),
      preempted: seen.preempted.splice(0),
      stored: seen.stored.splice(0),
      removed: seen.removed.splice(0),
      active: (decode ?? prefill)?.occupiedBlocks ?? null,
    });
    if (passes.length > 10_000) throw new Error('no progress');
  }
}
