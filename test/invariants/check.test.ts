import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ABOUT, Check } from '../../src/core/check.js';
import type { EngineContext } from '../../src/engine/engine.js';
import type { Lockstep } from '../../src/engine/lockstep.js';
import type { RequestList, Sequences } from '../../src/engine/sequences.js';
import { SglangCore } from '../../src/engine/sglang.js';
import type { SglangGroup } from '../../src/engine/sglang-group.js';
import type { SglangPages } from '../../src/engine/sglang-pages.js';
import type { SglangSequence } from '../../src/engine/sglang-sequence.js';
import { VllmCore } from '../../src/engine/vllm.js';
import type { SegmentPool } from '../../src/kv/segment-pool.js';
import type { Observations } from '../../src/metrics/observations.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { runSimulation, verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { Workload } from '../../src/workload/workload.js';
import { configOf, distinct, finish, simulationOf, workloadOf, type Setup } from '../support/simulate.js';
import { checkWorld } from './checks.js';
import { knobs, sglangSetup, workloadWith } from './sglang-worlds.js';
import { delayed, delays, scaledWorld, world, type World } from './worlds.js';

const extra = fc.record({
  name: fc.constantFrom('vllm' as const, 'vllm' as const, 'trtllm' as const),
  ranks: fc.constantFrom(1, 1, 1, 2),
  blockManager: fc.constantFrom('native' as const, 'native' as const, 'kvbm' as const),
  speculative: fc.constantFrom(undefined, undefined, undefined, { tokens: 2, accept: [0.7, 0.4], seed: 3 }),
  /** A pool that cannot grow may run its workers apart. */
  fixedSize: fc.boolean(),
  history: fc.constantFrom('full' as const, 'full' as const, 'full' as const, 'delta' as const, 'authored' as const),
  twins: fc.boolean(),
  stretch: fc.constantFrom(1, 1, 4),
});

function blockSetup({ setup }: World, { name, ranks, blockManager, speculative }: typeof extra extends fc.Arbitrary<infer T> ? T : never): Setup {
  const disaggregated = typeof setup.workers !== 'number';
  return { ...setup, engine: { ...setup.engine, name, blockManager, ranks, ...(speculative && !disaggregated ? { speculative } : {}) } satisfies Partial<EngineSpec> };
}

/** Runs under a check; every request must fare as it does without, and the workers count the same. */
function runBoth(check: Check, workload: Workload, setup: Setup): void {
  const config = configOf(setup);
  const plain = finish(simulationOf(workload, setup));
  const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
  verifySame(check, stepped, plain);
  const counted = ({ pools }: Observations) => pools.map(({ busyMs: _busy, extrapolatedTimeRatio: _share, ...rest }) => rest);
  expect(counted(stepped)).toEqual(counted(plain));
  stepped.pools.forEach(({ extrapolatedTimeRatio }, i) => expect(extrapolatedTimeRatio).toBeCloseTo(plain.pools[i]!.extrapolatedTimeRatio, 9));
  for (const figure of ['count', 'min', 'max'] as const) expect(stepped.gaps[figure]).toBe(plain.gaps[figure]);
  for (const percent of [1, 50, 90, 99]) expect(stepped.gaps.percentile(percent)).toBe(plain.gaps.percentile(percent));
}

describe('random worlds under check keep every invariant, and every request fares as it does without', () => {
  it('vLLM and TensorRT-LLM', { timeout: 120_000 }, () => {
    const check = new Check();
    fc.assert(
      fc.property(world, extra, delays, (drawn, own, delay) => {
        const setup = delayed(blockSetup(drawn, own), delay);
        runBoth(check, workloadWith(drawn, own), own.fixedSize ? { ...setup, maxWorkers: undefined } : setup);
      }),
      { numRuns: 1500, seed: 61 },
    );
    for (const about of Object.values(ABOUT)) expect(check.countOf(about)).toBeGreaterThan(500_000);
  });

  it('SGLang', { timeout: 120_000 }, () => {
    const check = new Check();
    fc.assert(
      fc.property(world, knobs, delays, (drawn, own, delay) => {
        const setup = delayed(sglangSetup(drawn, own), delay);
        runBoth(check, workloadWith(drawn, own), own.fixedSize ? { ...setup, maxWorkers: undefined } : setup);
      }),
      { numRuns: 1000, seed: 62 },
    );
    for (const about of [ABOUT.requests, ABOUT.tokens, ABOUT.causality]) expect(check.countOf(about)).toBeGreaterThan(100_000);
  });

  it('while workers come and go', { timeout: 60_000 }, () => {
    fc.assert(fc.property(scaledWorld, (drawn) => void checkWorld(drawn, new Check())), { numRuns: 300, seed: 63 });
  });
});

/** What an engine can do wrong. */
interface Inside {
  readonly pool: SegmentPool;
  readonly cache: { owned: number };
  readonly group: Lockstep;
  readonly running: RequestList;
  readonly waiting: RequestList;
  readonly sequences: Sequences;
  readonly context: EngineContext;
}

interface SglangInside {
  readonly pages: SglangPages;
  readonly group: SglangGroup;
  readonly waiting: SglangSequence[];
}

/** An engine that is damaged after its fourth pass. */
class BrokenCore extends VllmCore {
  damage: ((inside: Inside) => void) | null = null;
  private left = 4;

  override advance() {
    const effects = super.advance();
    const { cache, group, running, waiting, sequences, context } = this;
    if (--this.left === 0) this.damage?.({ pool: cache.pool as SegmentPool, cache, group, running, waiting, sequences, context });
    return effects;
  }
}

/** Three requests run, one waits; passes of 20 blocks of 4 tokens. */
const REQUESTS = [0, 1, 2, 3].map((i) => ({ ids: distinct(9), output: 12, arrivalMs: i }));
const CROWDED: Setup = { engine: { maxNumSeqs: 3, prefixCaching: true }, kvBlocks: 20, router: { policy: 'kv', indexVisible: 'pass_start' } };

function runBroken(damage: ((inside: Inside) => void) | null): Observations {
  const config = configOf({
    ...CROWDED,
    createEngine: (own, context) => {
      const core = new BrokenCore(own, context);
      core.damage = damage;
      return core;
    },
  });
  const workload = workloadOf(REQUESTS);
  return runSimulation(config, workload, expandBlocks(workload, 4), new Check());
}

describe('a broken engine is caught and named', () => {
  it('the same engine undamaged passes', () => {
    expect([...runBroken(null).requests.outputTokens]).toEqual([12, 12, 12, 12]);
  });

  it.each<[string, (inside: Inside) => void, RegExp]>([
    ['a block too many in use', ({ pool }) => pool.active++, /^error E-INVARIANT: at [\d.]+ ms, agg worker 0: broken: active = blocks in use of all segments \+ blocks without identity \(\d+, not \d+\); this is a bug/],
    ['more blocks than there are', ({ pool }) => (pool.inactive += 1000), /neither free nor active nor inactive blocks are negative/],
    ['an inactive block that is not there', ({ pool }) => pool.inactive++, /inactive = blocks of all ranges/],
    ['owned blocks', ({ cache }) => cache.owned--, /owned = blocks of the requests that run/],
    ['a prompt block that nobody owns', ({ sequences, running }) => sequences.named[running.first]!--, /blocks in use of a segment = the most that anybody owns|owners of a whole segment|knows whether anybody owns/],
    ['a waiting request that is lost', ({ waiting }) => waiting.remove(waiting.first), /at 80 ms, request 3: broken: a request in flight is somewhere/],
    ['a running request that is lost', ({ running }) => running.remove(running.first), /members \+ loose = running/],
    ['running requests out of order', ({ sequences, running }) => (sequences.admission[running.last] = 0), /request 2: broken: requests run in the order of their admission/],
    ['a token too many', ({ sequences, running }) => sequences.generated[running.first]!++, /request 0: broken: a member has computed all it knows but one token/],
    ['known tokens', ({ group }) => group.knownTokens++, /known tokens of the group = sum over its members/],
    ['the wrong bucket', ({ sequences, running }) => (sequences.bucket[running.first] = (sequences.bucket[running.first]! + 1) % 4), /request 0: broken: a member is in the bucket of its next block/],
    ['the wrong end', ({ sequences, running }) => (sequences.finishTick[running.first] = 1), /request 0: broken: a member has tokens to come/],
    ['blocks of a waiting request', ({ sequences, waiting }) => ((sequences.blocks[waiting.first] = 2), waiting.append(waiting.first)), /who waits holds no block|a list has as many requests/],
    ['cache news that are not true', ({ context }) => context.cacheListener!.removed(0, 1), /the router knows what a worker caches/],
    ['a token from the future', ({ context, running }) => context.observer.secondToken(running.first, 1e6), /request 0: broken: arrival, admission, first, second and last token and end .* come in this order/],
  ])('%s', (_name, damage, says) => {
    expect(() => runBroken(damage)).toThrow(says);
  });

  it.each<[string, (inside: SglangInside) => void, RegExp]>([
    ['a page that comes from nowhere', ({ pages }) => pages.radix.free++, /agg worker 0: broken: free \+ cached \+ owned pages = capacity/],
    ['an evictable page that is in use', ({ pages }) => pages.radix.evictable++, /evictable = pages of unlocked nodes/],
    ['a prefix that is locked once too often', ({ pages, group }) => pages.radix.lock(group.running[0]!.node!), /a node is locked once for each request that owns it/],
    ['known tokens', ({ group }) => group.knownTokens++, /known tokens of the group/],
    ['a waiting request that is lost', ({ waiting }) => void waiting.pop(), /broken: a request in flight is somewhere/],
  ])('SGLang: %s', (_name, damage, says) => {
    const config = configOf({
      ...CROWDED,
      engine: { ...CROWDED.engine, name: 'sglang', sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 64, chunkedPrefillSize: 64, clipMaxNewTokens: 64, scheduleConservativeness: 0, decodeInterval: 0 } },
      createEngine: (own, context) => {
        const core = new SglangCore(own, context);
        const advance = core.advance.bind(core);
        let left = 4;
        core.advance = () => {
          const effects = advance();
          if (--left === 0) damage(core as unknown as SglangInside);
          return effects;
        };
        return core;
      },
    });
    const workload = workloadOf(REQUESTS);
    expect(() => runSimulation(config, workload, expandBlocks(workload, 4), new Check())).toThrow(says);
  });

  it('a run in spans that differs from the run pass by pass', () => {
    const [one, other] = [runBroken(null), runBroken(null)];
    other.requests.lastTokenMs[2]! += 1e-9;
    expect(() => verifySame(new Check(), one, other)).toThrow(/request 2: broken: pass by pass a request fares as it does in spans \(lastTokenMs\)/);
  });
});
