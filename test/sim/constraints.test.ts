import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import { InputError } from '../../src/core/problem.js';
import { REFUSALS, STATUS, type Observations } from '../../src/metrics/observations.js';
import { requestRows } from '../../src/metrics/request-rows.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { canRunApart } from '../../src/sim/lanes.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { checkTargets } from '../../src/sim/targets.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { RequestHints } from '../../src/workload/request-hints.js';
import { delayed, delays, scaledWorld } from '../invariants/worlds.js';
import { configOf, distinct, finish, simulate, simulationOf, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

const prompt = (hints: RequestHints = {}, more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(64), output: 2, hints, ...more });
const run = (requests: readonly LiteralRequest[], router: Partial<RouterSpec>, setup: Setup = {}): Observations => simulate(requests, { workers: 3, engine: { blockTokens: 64 }, ...setup, router });
const placed = ({ requests }: Observations): number[] => [...requests.decodeWorker];
const TRAITS = [{ of: [0], labels: { zone: 'a' } }, { of: [2], labels: { zone: 'b' }, taints: ['gold'] }];

/** One of each policy that routes by itself. */
const POLICIES: readonly Partial<RouterSpec>[] = [
  { policy: 'round_robin' }, { policy: 'random' }, { policy: 'least_loaded' }, { policy: 'kv' }, { policy: 'kv', temperature: 1 }, { policy: 'power_of_two' }, { policy: 'least_tokens' }, { policy: 'oracle', indexVisible: 'pass_start' },
  { policy: 'prefix_hash', prefixHash: { loadFactor: 1.25, tokens: 64, virtualNodes: 50 } },
  { policy: 'cache_aware', cacheAware: { cacheThreshold: 0.3, balanceAbsThreshold: 2, balanceRelThreshold: 1.5 } },
  { policy: 'scorers', scorers: { prefix: 3, queue: 2 } },
];

describe('what requests ask of their workers', () => {
  it.each(POLICIES)('holds under %j', (router) => {
    const list = Array.from({ length: 12 }, () => [prompt({ requiredTaints: ['gold'] }), prompt({ allowedWorkers: [0, 1] }), prompt({ worker: 1 }), prompt()]).flat();
    const workers = placed(run(list, router, { traits: { agg: TRAITS } }));
    expect(new Set(workers.filter((_, i) => i % 4 === 0))).toEqual(new Set([2]));
    expect(new Set(workers.filter((_, i) => i % 4 === 1))).toEqual(new Set([0, 1]));
    expect(new Set(workers.filter((_, i) => i % 4 === 2))).toEqual(new Set([1]));
    expect(workers.every((worker) => worker >= 0)).toBe(true);
  });

  it('fails those that no worker may take, and frees what they hold', () => {
    const seen = run([prompt({ requiredTaints: ['silver'] }, { session: 'a' }), prompt({}, { session: 'a' }), prompt({ worker: 1, allowedWorkers: [0] })], { policy: 'kv' }, { traits: { agg: TRAITS } });
    expect([...seen.requests.status]).toEqual([STATUS.failed, STATUS.completed, STATUS.failed]);
    expect(requestRows(seen, { slo: null }).map(({ reason }) => reason)).toEqual(['no_worker', null, 'no_worker']);
    expect(seen.warnings.find(({ code }) => code === 'W-NO-WORKER')?.what).toContain('2 of 3 requests failed');
    expect(seen.warnings.find(({ code }) => code === 'W-NO-WORKER')?.what).toContain('the first is request 0');
  });

  it('labels and taints that nobody asks for are told', () => {
    const codes = (requests: readonly LiteralRequest[], router: Partial<RouterSpec>): string[] => run(requests, router, { traits: { agg: TRAITS } }).warnings.map(({ path }) => path ?? '');
    expect(codes([prompt()], { policy: 'kv' })).toEqual(['deployment.agg.workers']);
    expect(codes([prompt({ preferredTaints: { gold: 1 } })], { policy: 'kv' })).toEqual([]);
    expect(codes([prompt({ preferredTaints: { gold: 1 } })], { policy: 'random' })).toEqual(['routing_constraints.preferred_taints']);
    expect(codes([prompt({ prefillWorker: 0 })], { policy: 'kv' })).toEqual(['nvext.prefill_worker_id', 'deployment.agg.workers']);
  });

  it('an overloaded target turns its requests away, others go elsewhere', () => {
    const { requests } = run([prompt({ worker: 1 }), prompt({ worker: 1 }), prompt({ allowedWorkers: [1] }), prompt({ allowedWorkers: [1, 2] }), prompt()], { policy: 'kv', overload: { prefillTokens: 10 } });
    expect([...requests.status].slice(0, 4)).toEqual([STATUS.completed, STATUS.rejected, STATUS.rejected, STATUS.completed]);
    expect([...requests.decodeWorker]).toEqual([1, -1, -1, 2, 0]);
  });

  it('a queue holds a request back while its own workers are busy, and nobody else behind a bound one', () => {
    const { requests } = run([prompt({ worker: 1 }), prompt({ worker: 1 }), prompt({ allowedWorkers: [0, 1] }), prompt({ allowedWorkers: [0, 1] })], { policy: 'kv', queue: { threshold: 0, policy: 'fcfs' } }, { engine: { blockTokens: 64, maxNumBatchedTokens: 64 } });
    expect([...requests.routerQueueMs!].map((ms) => ms > 0)).toEqual([false, true, false, true]);
    expect([...requests.decodeWorker]).toEqual([1, 1, 0, expect.any(Number)]);
    expect(requests.decodeWorker[3]).toBeLessThan(2);
  });

  it('a target goes before the worker of the session, and the session follows it', () => {
    const turn = (hints: RequestHints): LiteralRequest => prompt(hints, { session: 'a' });
    expect(placed(run([turn({ worker: 0 }), turn({}), turn({ worker: 2 }), turn({})], { policy: 'round_robin', affinity: { ttlMs: 1e6, soft: false } }))).toEqual([0, 0, 2, 2]);
    const bound = [turn({ worker: 0 }), turn({ allowedWorkers: [1] })];
    expect([...run(bound, { policy: 'kv', affinity: { ttlMs: 1e6, soft: false } }).requests.status]).toEqual([STATUS.completed, STATUS.failed]);
    expect(placed(run(bound, { policy: 'kv', affinity: { ttlMs: 1e6, soft: true } }))).toEqual([0, 1]);
  });

  it('a worker without a rank goes before the place of the session, too, and so does a rank alone', () => {
    const turn = (hints: RequestHints): LiteralRequest => prompt(hints, { session: 'a' });
    for (const soft of [false, true]) {
      const { requests } = run([turn({ worker: 0 }), turn({ worker: 1 }), turn({}), turn({ rank: 1 }), turn({ rank: 0 })], { policy: 'kv', affinity: { ttlMs: 1e6, soft } }, { workers: 2, engine: { blockTokens: 64, ranks: 2 } });
      expect([...requests.status]).toEqual(Array.from({ length: 5 }, () => STATUS.completed));
      const places = [...requests.decodeWorker];
      expect(places.slice(0, 3).map((place) => place >> 1)).toEqual([0, 1, 1]);
      expect(places[2]).toBe(places[1]);
      expect(places.slice(3).map((place) => place % 2)).toEqual([1, 0]);
    }
  });

  it('a request whose target it may not go to is refused at once, not held back until that worker has time, nor at a limit', () => {
    const list = [prompt({ worker: 1, policyClass: 'a' }), prompt({ worker: 1, allowedWorkers: [0], policyClass: 'a' })];
    const engine = { blockTokens: 64, maxNumBatchedTokens: 64 };
    const plain = run(list, { policy: 'kv', queue: { threshold: 0, policy: 'fcfs' } }, { engine });
    const limited = run(list, { policy: 'kv', queueClasses: { path: 'classes.yaml', buckets: [], classes: [{ name: 'a', policy: 'fcfs', quantum: 1, busyTokens: 0, limits: { requests: 0 } }] } }, { engine });
    for (const { requests } of [plain, limited]) {
      expect([...requests.refused!].map((code) => REFUSALS[code - 1])).toEqual([undefined, 'no_worker']);
      expect([...requests.routerQueueMs!]).toEqual([0, 0]);
      expect(requests.endMs[1]).toBe(0);
    }
  });

  it('preferred taints win over a small difference of cost only', () => {
    const list = [prompt({ worker: 2 }, { output: 40 }), prompt({ preferredTaints: { gold: 1 } }, { arrivalMs: 12 })];
    expect(placed(run(list, { policy: 'kv' }, { traits: { agg: TRAITS } }))).toEqual([2, 2]);
    expect(placed(run([list[0]!, prompt({}, { arrivalMs: 12 })], { policy: 'kv' }, { traits: { agg: TRAITS } }))[1]).not.toBe(2);
    const busy = Array.from({ length: 20 }, () => prompt({ worker: 2 }, { output: 40 }));
    expect(placed(run([...busy, list[1]!], { policy: 'kv' }, { traits: { agg: TRAITS } }))[20]).not.toBe(2);
  });

  it('a data-parallel rank is a target, too', () => {
    const list = [prompt({ worker: 1, rank: 1 }), prompt({ worker: 1, rank: 1 }), prompt({ worker: 0 }), prompt({ worker: 0 })];
    const workers = placed(run(list, { policy: 'direct' }, { workers: 2, engine: { blockTokens: 64, ranks: 2 } }));
    expect(workers).toEqual([3, 3, 0, 1]);
  });
});

describe('a transfer that stays in its domain', () => {
  const zones = { prefill: [{ of: [0], labels: { zone: 'a' } }, { of: [1], labels: { zone: 'b' } }], decode: [{ of: [0, 1], labels: { zone: 'a' } }, { of: [2], labels: { zone: 'b' } }] };
  const disagg = (topology: RouterSpec['topology'], hints: RequestHints = {}): Observations => run(Array.from({ length: 30 }, () => prompt(hints)), { policy: 'kv', ...(topology ? { topology } : {}) }, { workers: [2, 3], traits: zones });
  const sameZone = ({ requests }: Observations): boolean[] => [...requests.prefillWorker].map((prefill, i) => (prefill === 1) === (requests.decodeWorker[i] === 2));

  it('required: always; preferred: more often than not; else by load', () => {
    expect(sameZone(disagg({ domains: ['zone'] })).every(Boolean)).toBe(true);
    const count = (topology: RouterSpec['topology']): number => sameZone(disagg(topology)).filter(Boolean).length;
    expect(count({ domains: ['zone'], weight: 0.9 })).toBeGreaterThan(count(undefined));
  });

  it('holds where the decode worker is reserved first: a request without a prefill worker gives it back', () => {
    const sglang = { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 1 } as const;
    const list = [prompt({ requiredTaints: ['gold'] }), prompt({ prefillWorker: 1, worker: 2 }), prompt({ allowedWorkers: [1] })];
    const { requests } = run(list, { policy: 'kv' }, { workers: [2, 3], engine: { blockTokens: 64, name: 'sglang', sglang }, traits: { prefill: [{ of: [0], taints: ['lead'] }], decode: [{ of: [1], taints: ['gold'] }] } });
    expect([...requests.status]).toEqual([STATUS.failed, STATUS.completed, STATUS.completed]);
    expect([...requests.decodeWorker].slice(1)).toEqual([2, 1]);
    expect(requests.prefillWorker[1]).toBe(1);
  });

  it('fails a request where no decode worker is near its prefill worker, and gives its blocks back', () => {
    const { requests } = disagg({ domains: ['zone'] }, { prefillWorker: 1, allowedWorkers: [0, 1] });
    expect([...requests.status].every((status) => status === STATUS.failed)).toBe(true);
  });
});

describe('targets of a trace', () => {
  const check = (hints: RequestHints | undefined, policy: RouterSpec['policy'], pools: [string, number, number][] = [['agg', 2, 1]]): string => {
    const workload = { ...workloadOf([{ ids: distinct(4), output: 1 }, { ids: distinct(4), output: 1, ...(hints ? { hints } : {}) }]), source: { file: 't.jsonl', lines: Int32Array.of(1, 5) } };
    if (policy === 'direct') workload.hints = new Map([[0, { worker: 0, prefillWorker: 0 }], ...(hints ? [[1, hints] as const] : [])]);
    try {
      checkTargets({ policy }, pools.map(([role, replicas, ranks]) => ({ role, replicas, engine: { ranks } })) as never, workload);
      return '';
    } catch (error) {
      const [{ code, file, line, path, what }] = (error as InputError).problems as [{ code: string; file?: string; line?: number; path?: string; what: string }];
      return `${file}:${line}: ${code}: ${path}: ${what}`;
    }
  };

  it.each<[string, string]>([
    [check({ worker: 2 }, 'kv'), 't.jsonl:5: E-TRACE: nvext.backend_instance_id: names worker 2, which the agg pool does not have'],
    [check({ worker: 1, rank: 1 }, 'kv'), 't.jsonl:5: E-TRACE: nvext.dp_rank: names rank 1, which the workers of the agg pool do not have'],
    [check({ prefillWorker: 3 }, 'kv', [['prefill', 3, 1], ['decode', 9, 1]]), 't.jsonl:5: E-TRACE: nvext.prefill_worker_id: names worker 3'],
    [check(undefined, 'direct'), 't.jsonl:5: E-TRACE: nvext.backend_instance_id: missing: policy direct needs the worker of every request'],
    [check({ worker: 1 }, 'direct', [['prefill', 1, 1], ['decode', 2, 1]]), 't.jsonl:5: E-TRACE: nvext.prefill_worker_id: missing'],
  ])('%s', (message, expected) => {
    expect(message).toContain(expected);
  });

  it('that are there are fine, and a log is followed whatever they are', () => {
    expect([check({ worker: 1 }, 'kv'), check({ worker: 1 }, 'direct'), check({ worker: 9 }, 'recorded'), check(undefined, 'kv')]).toEqual(['', '', '', '']);
  });
});

describe('random worlds', () => {
  const hint: fc.Arbitrary<RequestHints> = fc.record(
    {
      requiredTaints: fc.subarray(['gold', 'dynamo.topology/zone=a'], { minLength: 1 }),
      preferredTaints: fc.constantFrom<Record<string, number>>({ gold: 0.5 }, { 'dynamo.topology/zone=b': 1, gold: 0.2 }),
      allowedWorkers: fc.subarray([0, 1, 2], { minLength: 1 }),
      worker: fc.nat(2),
      prefillWorker: fc.nat(1),
    },
    { requiredKeys: [] },
  );
  const gates = fc.record({
    queue: fc.option(fc.record({ policy: fc.constantFrom('fcfs' as const, 'wspt' as const), threshold: fc.constantFrom(0, 1) }), { nil: undefined }),
    overload: fc.option(fc.constantFrom({ decodeBlocks: 0.3 }, { prefillTokens: 40 }), { nil: undefined }),
    affinity: fc.option(fc.record({ ttlMs: fc.constantFrom(30, 1e6), soft: fc.boolean() }), { nil: undefined }),
  });
  const replicas = fc.constantFrom(undefined, { count: 2, balance: 'round_robin' as const }, { count: 3, balance: 'session' as const, syncMs: 4 });
  const hinted = fc.array(fc.oneof(fc.constant(undefined), hint), { minLength: 60, maxLength: 60 });

  it('every request is where it may be, and every invariant holds', { timeout: 180_000 }, () => {
    let stranded = 0;
    let constrained = 0;
    fc.assert(
      fc.property(scaledWorld, gates, hinted, fc.constantFrom(...POLICIES), replicas, delays, fc.constantFrom(undefined, undefined, { domains: ['zone'] }, { domains: ['zone'], weight: 0.7 }), ({ requests, setup }, gate, hints, router, copies, delay, near) => {
        const topology = near && typeof setup.workers !== 'number' ? { topology: near } : {};
        const policy = gate.queue ? { policy: 'kv' as const } : {};
        const traits = { agg: TRAITS, prefill: TRAITS, decode: TRAITS };
        const own = delayed({ ...setup, traits, router: { ...setup.router, ...router, ...gate, ...topology, ...policy }, ...(copies ? { replicas: copies } : {}) }, delay);
        const workload = workloadOf(requests.map((request, i) => ({ ...request, ...(hints[i] ? { hints: hints[i] } : {}) })));
        const config = configOf(own);
        const asks = [...(workload.hints?.values() ?? [])].some((one) => Object.keys(one).length > 0);
        expect(canRunApart(config, workload) && asks).toBe(false);
        const check = new Check();
        const plain = finish(simulationOf(workload, own));
        const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
        verifySame(check, stepped, plain);
        const ranks = config.pools[0]!.engine.ranks ?? 1;
        for (const [request, asked] of workload.hints ?? []) {
          const [worker, prefill] = [plain.requests.decodeWorker, plain.requests.prefillWorker].map((column) => Math.floor(column[request]! / ranks)) as [number, number];
          if (worker < 0) continue;
          constrained++;
          if (asked.worker !== undefined) expect(worker).toBe(asked.worker);
          if (asked.prefillWorker !== undefined && prefill >= 0) expect(prefill).toBe(asked.prefillWorker);
          if (asked.allowedWorkers) expect(asked.allowedWorkers).toContain(worker);
          if (asked.requiredTaints?.includes('gold')) expect([worker, prefill < 0 ? 2 : prefill]).toEqual([2, 2]);
          if (asked.requiredTaints?.includes('dynamo.topology/zone=a')) expect([worker, Math.max(prefill, 0)]).toEqual([0, 0]);
        }
        stranded += plain.requests.refused?.filter((code) => REFUSALS[code - 1] === 'no_worker').length ?? 0;
      }),
      { numRuns: 500, seed: 81 },
    );
    expect(Math.min(stranded, constrained)).toBeGreaterThan(300);
  });
});
