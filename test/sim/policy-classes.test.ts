import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import { STATUS, type Observations } from '../../src/metrics/observations.js';
import { requestRows } from '../../src/metrics/request-rows.js';
import { checkClasses } from '../../src/router/request-classes.js';
import type { QueueClass, QueueClasses, RouterSpec } from '../../src/scenario/scenario.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { delayed, delays, scaledWorld } from '../invariants/worlds.js';
import { problemsOf } from '../scenario/support.js';
import { configOf, distinct, finish, simulate, simulationOf, times, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** A pass of 10 ms for up to 64 prompt tokens, and 5 for the first token. */
const ENGINE = { blockTokens: 64, maxNumBatchedTokens: 64 };
const prompt = (more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(64), output: 1, ...more });
const of = (policyClass: string, more: Partial<LiteralRequest> = {}): LiteralRequest => prompt({ hints: { policyClass }, ...more });

const named = (name: string, more: Partial<QueueClass> = {}): QueueClass => ({ name, policy: 'fcfs', quantum: 64, busyTokens: 0, limits: {}, ...more });
const member = (family: string, bucket: string, more: Partial<QueueClass> = {}): QueueClass => ({ ...named(`${family}-${bucket}`, more), family, bucket });
const classes = (list: readonly QueueClass[], more: Partial<QueueClasses> = {}): Partial<RouterSpec> => ({ queueClasses: { path: 'classes.yaml', buckets: [], classes: list, ...more } });

const run = (requests: readonly LiteralRequest[], router: Partial<RouterSpec>, setup: Setup = {}): Observations =>
  simulate(requests, { workers: 1, engine: ENGINE, ...setup, router: { policy: 'kv', ...router } });
/** Requests in the order in which they were sent. */
const order = ({ requests }: Observations): number[] => [...requests.dispatchMs.keys()].filter((r) => !Number.isNaN(requests.dispatchMs[r]!)).sort((a, b) => requests.dispatchMs[a]! - requests.dispatchMs[b]!);
const waits = ({ requests }: Observations): (number | null)[] => times(requests.routerQueueMs!);

describe('classes of requests', () => {
  it('take turns by their quanta', () => {
    const list = [of('a'), of('a'), of('a'), of('a'), of('a'), of('b'), of('b')];
    // The first is sent at once; then two of a for each of b.
    expect(order(run(list, classes([named('a', { quantum: 128 }), named('b')])))).toEqual([0, 1, 2, 5, 3, 4, 6]);
    expect(order(run(list, classes([named('a'), named('b')])))).toEqual([0, 1, 5, 2, 6, 3, 4]);
  });

  it('each have an order and a threshold of their own', () => {
    const list = [of('a'), of('a', { ids: distinct(60) }), of('a', { ids: distinct(20) }), of('free')];
    const seen = run(list, classes([named('a', { policy: 'wspt' }), { name: 'free', policy: 'fcfs', quantum: 1, limits: {} }]));
    expect(order(seen).filter((request) => request !== 3)).toEqual([0, 2, 1]);
    // Without a threshold nobody waits.
    expect(waits(seen)[3]).toBe(0);
    expect(waits(run([of('a'), of('a')], classes([named('a', { busyTokens: 64 })])))).toEqual([0, 0]);
    expect(waits(run([of('a'), of('a')], classes([named('a', { busyTokens: 64, busyFraction: 0.5 })])))).toEqual([0, 15]);
  });

  it('wait where so large a share of the workers is busy', () => {
    const waited = (busyRatio?: number): (number | null)[] => waits(run([of('a'), of('a'), of('a')], classes([named('a', busyRatio === undefined ? {} : { busyRatio })]), { workers: 2 }));
    expect(waited()).toEqual([0, 0, 15]);
    expect(waited(0.5)[1]).toBe(15);
    expect(waited(0.51)).toEqual([0, 0, 15]);
  });

  it('are found by family, and by the tokens that no worker caches when the request comes', () => {
    const shared = tokens(0, 128);
    const later = [{ ids: [...shared, ...distinct(64)], output: 1, arrivalMs: 100 }, { ids: distinct(192), output: 1, arrivalMs: 100 }];
    const list = [{ ids: shared, output: 1 }, prompt({ arrivalMs: 99 }), ...later, of('slow', { arrivalMs: 100 })];
    const router = classes([member('fast', 'short'), { ...member('fast', 'long'), limits: { requests: 0 } }, { ...member('slow', 'short'), limits: { requests: 0 } }, { ...member('slow', 'long'), limits: {} }], {
      defaultFamily: 'fast',
      buckets: [{ minTokens: 0, bucket: 'short' }, { minTokens: 65, bucket: 'long' }],
    });
    // 64 of 192 tokens are to be computed of the one, all of the other; a limit of 0 shows the class.
    const { requests } = run(list, router, { engine: { ...ENGINE, prefixCaching: true } });
    expect([...requests.refused!]).toEqual([0, 0, 0, 3, 3]);
  });

  it('in the queue of the prefill router; the decode router has none', () => {
    const list = [of('a', { output: 3 }), of('a', { output: 3 }), of('b', { output: 3 })];
    const { requests } = run(list, classes([named('a'), named('b')]), { workers: [1, 1] });
    expect(times(requests.routerQueueMs!)).toEqual([0, 10, 20]);
    expect(new Set(requests.status)).toEqual(new Set([STATUS.completed]));
  });

  it('limits hold for each worker; a replay counts ranks as such', () => {
    const six = Array.from({ length: 6 }, () => of('a'));
    const waiting = (fidelity: Setup['fidelity'], workers: number): number => waits(run(six, classes([named('a', { limits: { requests: 1 } })]), { workers, fidelity, engine: { ...ENGINE, ranks: 2 } })).filter((ms) => ms! > 0).length;
    expect([waiting('realistic', 1), waiting('dynosim', 1), waiting('aisimulate', 1)]).toEqual([1, 2, 2]);
    expect([waiting('realistic', 2), waiting('dynosim', 2)]).toEqual([2, 2]);
  });

  it('a class of all requests is the plain queue', () => {
    const policy = fc.constantFrom('fcfs' as const, 'wspt' as const, 'lcfs' as const);
    fc.assert(
      fc.property(scaledWorld, policy, fc.constantFrom(0, 0.5, 2), fc.integer({ min: 1, max: 500 }), ({ requests, setup }, order, threshold, quantum) => {
        const workload = workloadOf(requests);
        const seen = (router: Partial<RouterSpec>): Observations => finish(simulationOf(workload, { ...setup, router: { ...setup.router, policy: 'kv', ...router } }));
        const all = { name: 'all', family: 'all', bucket: 'all', policy: order, quantum, busyFraction: threshold, limits: {} };
        const plain = seen({ queue: { policy: order, threshold } });
        expect(seen(classes([all], { defaultFamily: 'all', buckets: [{ minTokens: 0, bucket: 'all' }] }))).toEqual(plain);
      }),
      { numRuns: 100 },
    );
  });
});

describe('limits of a class', () => {
  /** The first is sent, the others wait or are turned away. */
  const four = [of('a'), of('a'), of('a'), of('a')];
  const refused = (limits: QueueClass['limits'], setup: Setup = {}, list = four): number[] => [...run(list, classes([named('a', { limits }), named('b')]), setup).requests.refused!];

  it('count requests, prompt tokens and cached tokens before the new one, for each worker', () => {
    expect(refused({ requests: 1 })).toEqual([0, 0, 3, 3]);
    expect(refused({ requests: 2 })).toEqual([0, 0, 0, 3]);
    expect(refused({ requests: 0 })).toEqual([0, 3, 3, 3]);
    expect(refused({ promptTokens: 64 })).toEqual([0, 0, 4, 4]);
    expect(refused({ promptTokens: 65 })).toEqual([0, 0, 0, 4]);
    expect(refused({ cachedTokens: 1 })).toEqual([0, 0, 0, 0]);
    expect(refused({ cachedTokens: 0 })).toEqual([0, 5, 5, 5]);
    expect(refused({ requests: 1 }, { workers: 2 }, [...four, of('a')])).toEqual([0, 0, 0, 0, 3]);
    const ranks = { workers: 1, engine: { ...ENGINE, ranks: 2 } };
    expect(refused({ requests: 1 }, ranks, [...four, of('a')])).toEqual([0, 0, 0, 0, 3]);
  });

  it('say why, by limit, apart from other rejections', () => {
    const seen = run(four, classes([named('a', { limits: { requests: 1, promptTokens: 64 } })]));
    expect(requestRows(seen, { slo: null }).map(({ status, reason }) => [status, reason])).toEqual([['completed', null], ['completed', null], ['rejected', 'queue_requests'], ['rejected', 'queue_requests']]);
    expect(seen.refusals).toEqual(['queue_requests', 'queue_tokens']);
    expect(seen.warnings).toMatchObject([{ code: 'W-QUEUE-LIMIT', path: 'router.queue.classes', what: '2 of 4 requests were turned away at limits of their class: 2 by requests' }]);
  });

  it('leave room again when somebody goes', () => {
    expect(refused({ requests: 1 }, {}, [of('a'), of('a'), of('a', { arrivalMs: 1 }), of('a', { arrivalMs: 16 })])).toEqual([0, 0, 3, 0]);
    expect(refused({ requests: 1 }, {}, [of('a'), of('a'), of('b'), of('b')])).toEqual([0, 0, 0, 0]);
  });

  it('in each replica of the frontend for itself', () => {
    const list = [of('a'), ...Array.from({ length: 4 }, (_, i) => of('a', { arrivalMs: 1 + i }))];
    expect(refused({ requests: 1 }, { replicas: { count: 2, balance: 'round_robin', syncMs: 0 } }, list)).toEqual([0, 0, 0, 3, 3]);
  });

  it('free their session', () => {
    const list = [of('a', { output: 9 }), of('a', { session: 's' }), of('a', { session: 't' }), of('a', { session: 't', delayMs: 300 })];
    expect(refused({ requests: 1 }, {}, list)).toEqual([0, 0, 3, 0]);
  });

  it('send a prompt past the prefill workers, where their load matters', () => {
    const conditionalDisagg = { policy: 'prefill_load' as const, islTokens: 1, ratio: 0, prefillBusy: 1000 };
    const bypassed = (limits: QueueClass['limits']): number[] => [...run(four, { ...classes([named('a', { limits })]), conditionalDisagg }, { workers: [1, 1], fidelity: 'aisimulate' }).requests.bypassed!];
    expect(bypassed({})).toEqual([0, 0, 0, 0]);
    expect(bypassed({ requests: 1 })).toEqual([0, 0, 1, 1]);
    expect(bypassed({ promptTokens: 65 })).toEqual([0, 0, 0, 1]);
  });
});

describe('a hint', () => {
  const spec = (more: Partial<QueueClasses> = {}): QueueClasses => classes([named('admin'), member('chat', 'all')], { defaultFamily: 'chat', buckets: [{ minTokens: 0, bucket: 'all' }], ...more }).queueClasses!;
  const source = { file: 'trace.jsonl', lines: Int32Array.from([1, 2, 4]) };
  const problems = (requests: readonly LiteralRequest[], queueClasses = spec()): string[] => problemsOf(() => checkClasses(queueClasses, { ...workloadOf(requests), source }));

  it('names a family, or a class without one', () => {
    expect(problems([of('admin'), of('chat'), prompt()])).toEqual([]);
    expect(problems([prompt(), prompt(), of('chat-all')])).toEqual(["trace.jsonl:4:1: error E-TRACE: policy_class: 'chat-all' is neither a family nor a class that requests may name in 'classes.yaml'; use one of chat, admin"]);
  });

  it('is needed where there is no default', () => {
    const own = classes([named('admin')]).queueClasses!;
    expect(problems([of('admin'), prompt()], own)).toEqual([expect.stringContaining("trace.jsonl:2:1: error E-TRACE: policy_class: missing, and 'classes.yaml' has no default_policy_family")]);
    expect(problems([prompt()], own)).toEqual([expect.stringContaining('error E-COMBINATION: router.queue.classes: the requests name no class')]);
  });

  it('changes nothing without classes', () => {
    expect(run([of('a')], {}).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'policy_class', what: 'on 1 row of the trace changes nothing: router.queue.classes is not set' }]);
    expect(run([of('admin'), prompt({ priority: 1 })], { queueClasses: spec() }).warnings).toEqual([]);
  });
});

describe('random worlds with classes', () => {
    const drawnClass = fc.record({
    policy: fc.constantFrom('fcfs' as const, 'wspt' as const, 'lcfs' as const),
    quantum: fc.integer({ min: 1, max: 80 }),
    busyTokens: fc.constantFrom(undefined, 0, 30),
    busyFraction: fc.constantFrom(0, 0.5, 2),
    busyRatio: fc.constantFrom(undefined, 0.3, 0.5, 1),
    limits: fc.record({ requests: fc.constantFrom(undefined, undefined, undefined, 0, 2), promptTokens: fc.constantFrom(undefined, undefined, 0, 40), cachedTokens: fc.constantFrom(undefined, 0, 5) }),
  });
  const gate = fc.record({
    list: fc.array(drawnClass, { minLength: 5, maxLength: 5 }),
    asks: fc.array(fc.constantFrom(undefined, 'chat', 'batch', 'admin'), { minLength: 60, maxLength: 60 }),
    minTokens: fc.integer({ min: 1, max: 40 }),
    overload: fc.option(fc.record({ decodeBlocks: fc.constantFrom(0.3, 0.8) }), { nil: undefined }),
    affinity: fc.option(fc.record({ ttlMs: fc.constantFrom(1, 1e6), soft: fc.boolean() }), { nil: undefined }),
    replicas: fc.option(fc.record({ count: fc.integer({ min: 2, max: 3 }), balance: fc.constantFrom('round_robin' as const, 'session' as const), syncMs: fc.constantFrom(0, 7) }), { nil: undefined }),
  });

  it('keep every invariant, and every request fares as it does when nobody looks', { timeout: 120_000 }, () => {
    let queued = 0;
    const refused = new Map<number, number>();
    fc.assert(
      fc.property(scaledWorld, gate, delays, ({ requests, setup }, { list, asks, minTokens, overload, affinity, replicas }, delay) => {
        const places = [['chat', 'short'], ['chat', 'long'], ['batch', 'short'], ['batch', 'long'], []];
        const known = (values: object): object => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
        const own = list.map(({ limits, ...each }, i) => ({ name: i === 4 ? 'admin' : `class ${i}`, ...(places[i]!.length > 0 ? { family: places[i]![0], bucket: places[i]![1] } : {}), ...known(each), limits: known(limits) }) as QueueClass);
        const router = { ...setup.router, policy: 'kv' as const, ...classes(own, { defaultFamily: 'chat', buckets: [{ minTokens: 0, bucket: 'short' }, { minTokens, bucket: 'long' }] }), ...known({ overload, affinity }) };
        const whole = delayed({ ...setup, router, ...(replicas ? { replicas } : {}) } as Setup, delay);
        const workload = workloadOf(requests.map((request, i) => ({ ...request, ...(asks[i] ? { hints: { policyClass: asks[i] } } : {}) })));
        const config = configOf(whole);
        const check = new Check();
        const plain = finish(simulationOf(workload, whole));
        const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
        verifySame(check, stepped, plain);
        queued += plain.requests.routerQueueMs!.filter((ms) => ms > 0).length;
        for (const code of plain.requests.refused ?? []) refused.set(code, (refused.get(code) ?? 0) + 1);
      }),
      { numRuns: 400 },
    );
    expect(queued).toBeGreaterThan(50);
    expect([3, 4, 5].map((code) => (refused.get(code) ?? 0) > 0)).toEqual([true, true, true]);
  });
});
