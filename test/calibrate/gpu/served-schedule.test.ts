import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { followDecisions, pricePasses, rebuildTimes } from '../../../src/calibrate/gpu/twin-schedule.js';
import type { Served, ServedPass, ServedRequest, ServeConfig } from '../../../src/calibrate/gpu/served.js';
import { randomStream, type RandomStream } from '../../../src/core/random.js';
import { STATUS } from '../../../src/metrics/observations.js';
import { fixedTiming } from '../../../src/timing/fixed.js';
import { polynomialTiming } from '../../../src/timing/polynomial.js';
import type { PassTiming } from '../../../src/timing/timing.js';
import { configOf, finish, simulationOf, workloadOf, type LiteralRequest, type Setup } from '../../support/simulate.js';

const hasPython = spawnSync('python3', ['--version']).status === 0;
const script = fileURLToPath(new URL('virtual_serve.py', import.meta.url));

/** Tokens per hash id, and per page. */
const ID_TOKENS = 6;
const CASES = process.env['SOAK'] ? 4000 : 250;
const TIMEOUT_MS = 600_000;

type Law = { kind: 'fixed'; prefill_ms: number; decode_ms: number } | { kind: 'polynomial' } | { kind: 'mixed' };

/** Reads all that a shape says. */
const mixed: PassTiming = {
  readsLengths: true,
  chunkMs: (start, end) => (end - start) / 7,
  prefillMs: (shape) => 2 + shape.prefillChunksMs + shape.prefillAttentionTokens2 / 3000,
  decodeMs: (shape) => 1 + shape.decodeRequests / 3 + shape.decodeContextTokens / 1000 + shape.prefillRequests / 11 + shape.decodeLongestTokens / 500,
};

function timingOf(law: Law): PassTiming {
  switch (law.kind) {
    case 'fixed':
      return fixedTiming(law.prefill_ms, law.decode_ms);
    case 'polynomial':
      return polynomialTiming('tokens');
    case 'mixed':
      return mixed;
  }
}

interface Case {
  readonly requests: LiteralRequest[];
  readonly law: Law;
  readonly scheduler: ServeConfig['scheduler'];
  readonly load: ServeConfig['load'];
}

const pick = <T>(random: RandomStream, values: readonly T[]): T => values[random.integer(values.length)]!;

/** Prompts that share beginnings, on a cache for one to a few of them. */
function draw(random: RandomStream): Case {
  const requests: LiteralRequest[] = [];
  let arrivalMs = 0;
  const count = 1 + random.integer(40);
  for (let i = 0; i < count; i++) {
    if (i > 0) arrivalMs += pick(random, [0, 0, 0, 1, 7.25, 20 * random.next(), 60]);
    const shared = pick(random, [0, 0, 1, 3, 8]);
    const own = pick(random, [1, 1, 2, 5, 9]);
    const family = random.integer(3);
    const ids = [...Array.from({ length: shared }, (_, at) => 100 * family + at), ...Array.from({ length: own }, (_, at) => 1000 * (i + 1) + at)];
    requests.push({ ids, promptTokens: ids.length * ID_TOKENS - random.integer(ID_TOKENS), output: pick(random, [0, 1, 2, 3, 9, 17, 30]), arrivalMs });
  }
  const block_size = pick(random, [2, 4, 5, 16]);
  return {
    requests,
    law: pick<Law>(random, [{ kind: 'fixed', prefill_ms: 10, decode_ms: 5 }, { kind: 'fixed', prefill_ms: 3, decode_ms: 0.7 }, { kind: 'polynomial' }, { kind: 'mixed' }]),
    scheduler: {
      block_size,
      kv_blocks: Math.max(1, Math.floor(pick(random, [40, 90, 130, 200, 400, 10_000]) / block_size)),
      max_num_seqs: pick(random, [1, 2, 3, 8, 256]),
      max_num_batched_tokens: pick(random, [1, 5, 16, 33, 64, 8192]),
      prefix_caching: random.next() < 0.7,
      chunked_prefill: random.next() < 0.7,
      context_length: pick(random, [null, null, null, 60, 90]),
      preemption: pick(random, ['lifo', 'lifo', 'fifo']),
    },
    load: random.next() < 0.5 ? { kind: 'open', utilisation: null } : { kind: 'closed', concurrency: pick(random, [1, 2, 5, 16]) },
  };
}

function setupOf({ scheduler, load, law }: Case): Setup {
  return {
    fidelity: 'realistic',
    engine: {
      name: 'vllm', blockTokens: scheduler.block_size, maxNumSeqs: scheduler.max_num_seqs, maxNumBatchedTokens: scheduler.max_num_batched_tokens,
      prefixCaching: scheduler.prefix_caching, chunkedPrefill: scheduler.chunked_prefill, contextTokens: scheduler.context_length, preemption: scheduler.preemption,
    },
    kvBlocks: scheduler.kv_blocks,
    timing: timingOf(law),
    driver: load.kind === 'closed' ? { kind: 'closed', concurrency: load.concurrency } : { kind: 'open', speedup: 1 },
  };
}

interface Outcome {
  readonly requests: ServedRequest[];
  readonly passes: ServedPass[];
  readonly end_ms: number;
}

function serveAll(cases: readonly Case[]): Outcome[] {
  const input = cases.map(({ requests, law, scheduler, load }, index) => ({
    law,
    // These also check what every page holds, which takes long. Under fifo pages can be found that were never computed: who is pushed out may have been scheduled.
    pages: index % 4 === 0 && scheduler.preemption === 'lifo',
    config: { scheduler, load, trace_block_tokens: ID_TOKENS },
    rows: requests.map(({ ids, promptTokens, output, arrivalMs }) => ({ timestamp: arrivalMs, prompt: promptTokens, output, hash_ids: ids })),
  }));
  const { stdout, stderr, status } = spawnSync('python3', [script, '--cases'], { input: JSON.stringify(input), encoding: 'utf8', maxBuffer: 1 << 30 });
  if (status !== 0) throw new Error(stderr);
  const lists = { prefill: [], admitted: [], preempted: [], rejected: [], finished: [] };
  return (JSON.parse(stdout) as Outcome[]).map((outcome) => ({ ...outcome, passes: outcome.passes.map((pass) => ({ ...structuredClone(lists), ...pass })) }));
}

/** What the twin reads of a run. */
function served({ requests, passes, end_ms }: Outcome, { load }: Case): Served {
  const head = { config: { load } } as Served['head'];
  return { file: 'virtual', head, requests, passes, end: { type: 'end', reason: 'complete', left: 0, passes: passes.length, end_ms, overhead: null } };
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

describe.skipIf(!hasPython)('the scheduler of serve.py and the simulator (needs python3)', () => {
  const random = randomStream(7, 'test/served-schedule');
  const cases = Array.from({ length: CASES }, () => draw(random));
  let outcomes: Outcome[] = [];
  const counts = { preemptions: 0, rejections: 0, reused: 0, chunked: 0 };

  beforeAll(() => void (outcomes = serveAll(cases)), TIMEOUT_MS);

  afterAll(() => {
    // The cases are worth something only while these happen.
    expect(Object.entries(counts).filter(([, count]) => count < CASES / 4)).toEqual([]);
  });

  it(`give every request of ${CASES} random workloads the same times to the last bit`, { timeout: TIMEOUT_MS }, () => {
    cases.forEach((one, index) => {
      const { requests, passes, end_ms } = outcomes[index]!;
      const seen = finish(simulationOf(workloadOf(one.requests, ID_TOKENS), setupOf(one)));
      const { requests: columns } = seen;
      const simulated = Array.from({ length: columns.count }, (_, r) => ({
        id: r,
        arrival_ms: columns.arrivalMs[r]!, admit_ms: orNull(columns.admitMs[r]!), first_token_ms: orNull(columns.firstTokenMs[r]!), end_ms: orNull(columns.endMs[r]!),
        status: columns.status[r] === STATUS.completed ? 'completed' : 'rejected',
        isl: columns.promptTokens[r]!, osl: columns.outputTokens[r]!, osl_requested: columns.requestedOutputTokens[r]!,
        reused_tokens: columns.reusedTokens[r]!, preemptions: columns.preemptions[r]!,
      }));
      expect(requests, `case ${index}`).toEqual(simulated);
      expect([passes.length, end_ms], `case ${index}`).toEqual([seen.pools[0]!.passes, seen.endMs]);
      counts.preemptions += passes.reduce((sum, { preempted }) => sum + preempted.length, 0);
      counts.rejections += requests.filter(({ status }) => status === 'rejected').length;
      counts.reused += requests.filter(({ reused_tokens }) => reused_tokens > 0).length;
      counts.chunked += passes.filter(({ prefill }) => prefill.some(([, past, tokens]) => past > 0 && tokens > 0)).length;
    });
  });

  it('decide every pass alike, and price it at its duration', { timeout: TIMEOUT_MS }, () => {
    cases.forEach((one, index) => {
      const run = served(outcomes[index]!, one);
      const config = configOf(setupOf(one));
      expect(followDecisions(run, config, workloadOf(one.requests, ID_TOKENS)), `case ${index}`).toEqual({ passes: run.passes.length, firstDifference: null });
      const prices = pricePasses(run.passes, config);
      run.passes.forEach(({ start_ms, end_ms }, n) => expect(prices[n], `case ${index}`).toBeCloseTo(end_ms - start_ms, 6));
    });
  });

  it('with the same durations the rebuilt times are the recorded ones, and passes twice as long double a closed loop', { timeout: TIMEOUT_MS }, () => {
    cases.forEach((one, index) => {
      const run = served(outcomes[index]!, one);
      const durations = run.passes.map(({ start_ms, end_ms }) => end_ms - start_ms);
      const same = rebuildTimes(run, durations);
      for (const { id, arrival_ms, first_token_ms, end_ms } of run.requests) {
        for (const [found, recorded] of [[same.arrivalMs[id], arrival_ms], [same.firstTokenMs[id], first_token_ms], [same.endMs[id], end_ms]] as const) {
          if (recorded !== null) expect(found, `case ${index}`).toBeCloseTo(recorded, 6);
        }
      }
      if (one.load.kind !== 'closed') return;
      const twice = rebuildTimes(run, durations.map((ms) => 2 * ms));
      for (const { id, end_ms } of run.requests) expect(twice.endMs[id], `case ${index}`).toBeCloseTo(2 * end_ms!, 6);
    });
  });

  it('a decision that was tampered with is found and named', () => {
    const index = cases.findIndex(({ scheduler }, i) => scheduler.max_num_seqs > 2 && outcomes[i]!.passes.some(({ num_decode_requests }) => num_decode_requests > 1));
    const one = cases[index]!;
    const run = served(outcomes[index]!, one);
    const at = run.passes.findIndex(({ num_decode_requests }) => num_decode_requests > 1);
    const decode = run.passes.map((pass, n) => (n === at ? { ...pass, num_decode_requests: pass.num_decode_requests - 1 } : pass));
    const follow = (passes: ServedPass[]) => followDecisions({ ...run, passes }, configOf(setupOf(one)), workloadOf(one.requests, ID_TOKENS));
    expect(follow(decode).passes).toBe(at + 1);
    expect(follow(decode).firstDifference).toMatch(/^pass \d+ at .* ms had \d+ decode steps, the simulated one \d+$/);
    const reuse = run.passes.map((pass, n) => (n === 0 ? { ...pass, admitted: [[0, 4] as [number, number], ...pass.admitted.slice(1)] } : pass));
    expect(follow(reuse).firstDifference).toMatch(/^pass 0 at 0 ms admitted /);
  });
});
