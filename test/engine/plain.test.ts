import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { semanticsOf } from '../../src/engine/semantics.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { passesOf } from '../support/engine.js';
import { PlainEngine, type PlainPass } from '../support/plain-engine.js';
import { ENGINE, tokens, type LiteralRequest } from '../support/simulate.js';

/** Runs the plain engine as `passesOf` runs the real one. */
function plainPasses(requests: readonly LiteralRequest[], engine: EngineSpec, kvBlocks: number, firstTokenDecodes: boolean): PlainPass[] {
  const plain = new PlainEngine(engine, kvBlocks, firstTokenDecodes, 10, 5);
  const arrivals = requests.map((_, i) => i).sort((a, b) => requests[a]!.arrivalMs! - requests[b]!.arrivalMs! || a - b);
  const passes: PlainPass[] = [];
  for (let nowMs = 0; ; ) {
    while (arrivals.length > 0 && requests[arrivals[0]!]!.arrivalMs! <= nowMs) plain.submit(arrivals[0]!, requests[arrivals.shift()!]!);
    const pass = plain.pass(nowMs);
    if (pass) {
      passes.push(pass);
      nowMs = pass.endMs;
    } else if (arrivals.length === 0) return passes;
    else nowMs = requests[arrivals[0]!]!.arrivalMs!;
  }
}

const request = fc.record({ family: fc.nat(2), shared: fc.constantFrom(0, 4, 9, 16), own: fc.integer({ min: 1, max: 20 }), output: fc.integer({ min: 0, max: 12 }), arrivalMs: fc.oneof(fc.constant(0), fc.nat(120)) });

describe('the engine', () => {
  it('does, pass for pass, what the plain one does', { timeout: 60_000 }, () => {
    let preempted = 0;
    let reused = 0;
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 14, size: 'max' }),
        fc.record({
          blockTokens: fc.constantFrom(2, 3, 4, 8),
          maxNumSeqs: fc.constantFrom(1, 3, 256),
          maxNumBatchedTokens: fc.constantFrom(2, 5, 16, 8192),
          prefixCaching: fc.boolean(),
          chunkedPrefill: fc.boolean(),
          contextTokens: fc.constantFrom(null, null, 20),
          preemption: fc.constantFrom('lifo' as const, 'fifo' as const),
        }),
        fc.constantFrom(48, 60, 90),
        fc.constantFrom('dynosim' as const, 'aisimulate' as const),
        (drawn, knobs, cacheTokens, fidelity) => {
          const requests = drawn.map(({ family, shared, own, output, arrivalMs }, i) => ({ ids: [...tokens(1000 * family, shared), ...tokens(10_000 * (i + 1), own)], output, arrivalMs }));
          const engine = { ...ENGINE, ...knobs };
          const semantics = semanticsOf(fidelity);
          const kvBlocks = Math.floor(cacheTokens / engine.blockTokens);
          const mine = passesOf(requests, { engine, kvBlocks, semantics }).map(({ stored: _stored, removed: _removed, prefill, decode, active, finished, rejected, ...rest }) => ({
            ...rest, prefill: prefill ?? [0, 0, 0], decode: decode ?? [0, 0], active, finished: [...finished].sort(), rejected,
          }));
          const theirs = plainPasses(requests, engine, kvBlocks, semantics.firstTokenInDecodeBatch).map((pass, i) => ({
            ...pass, prefill: pass.prefill[0] > 0 ? pass.prefill : [0, 0, 0], active: mine[i]?.active === null ? null : pass.active, finished: [...pass.finished].sort(),
          }));
          expect(mine).toEqual(theirs);
          preempted += theirs.filter((pass) => pass.preempted.length > 0).length;
          reused += theirs.flatMap(({ admitted }) => admitted).filter(([, hit]) => hit > 0).length;
        },
      ),
      { numRuns: 800, seed: 61 },
    );
    expect(preempted).toBeGreaterThan(100);
    expect(reused).toBeGreaterThan(300);
  });
});
