import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { loadPolicy } from '../../src/router/module-loader.js';
import type { Candidate, RouteRequest } from '../../src/router/policy.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import type { RequestHints } from '../../src/workload/request-hints.js';
import { drive } from '../../src/sim/drive.js';
import { problemOf } from '../support/refused.js';
import { distinct, rowsOf, simulationOf, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin policy '));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
/** Writes a module and loads it. */
async function moduleOf(source: string, ending = 'mjs'): Promise<Partial<RouterSpec>> {
  const path = join(folder, `policy-${++files}.${ending}`);
  writeFileSync(path, source);
  const module = { path, sha256: createHash('sha256').update(source).digest('hex') };
  await loadPolicy({ module });
  return { policy: 'module', module };
}

/** A program in JavaScript that answers each message by the function `answer`. */
function program(answer: string, timeoutMs = 10_000): Partial<RouterSpec> {
  const path = join(folder, `router-${++files}.mjs`);
  writeFileSync(path, `import { createInterface } from 'node:readline';
const seen = [];
const withId = (id, answer) => (typeof answer === 'object' ? { id, ...answer } : answer);
const answer = ${answer};
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  seen.push(message);
  const text = message.type === 'bye' ? undefined : await answer(message, seen);
  if (text !== undefined) process.stdout.write((typeof text === 'string' ? text : JSON.stringify(text)) + '\\n');
}
`);
  return { policy: 'exec', exec: { command: [process.execPath, path], sha256: [], timeoutMs } };
}
/** Answers hello, and routes by an expression over `m`. */
const routing = (expression: string): string => `(m, seen) => m.type === 'hello' ? { type: 'ready' } : m.type === 'route' ? withId(m.id, ${expression}) : undefined`;

const HINTS: RequestHints = { policyClass: 'gold', preferredTaints: { dryRun: 0.5 }, allowedWorkers: [2], expectedOutputTokens: 9, retainMs: 5, override: { overlapScoreCredit: 2, temperature: 0 } };
const HINTED: readonly LiteralRequest[] = [{ ids: distinct(8), output: 3, hints: HINTS, priority: -1.5, strictPriority: 2 }, { ids: distinct(8), output: 3, arrivalMs: 90 }];
const PREFIX = tokens(1, 16);
const REQUESTS: readonly LiteralRequest[] = [0, 1, 2, 3, 4, 5].map((i) => ({ ids: [...PREFIX, ...distinct(8)], output: 3, arrivalMs: i * 7 }));

/** The worker of each request. */
function workers(router: Partial<RouterSpec>, setup: Setup = {}, requests = REQUESTS): number[] {
  const simulation = simulationOf(workloadOf(requests), { workers: 3, engine: { prefixCaching: true }, ...setup, router });
  drive(simulation);
  return [...simulation.observe().requests.decodeWorker];
}

describe('a policy module', () => {
  it('may choose by candidate, by number, or by cost', async () => {
    const second = [1, 1, 1, 1, 1, 1];
    expect(workers(await moduleOf('export const select = (request, candidates) => candidates[1];'))).toEqual(second);
    expect(workers(await moduleOf('export default { select: () => 1 };'))).toEqual(second);
    expect(workers(await moduleOf('export const cost = (request, { worker }) => (worker - 1) ** 2;'))).toEqual(second);
    expect(workers(await moduleOf('export const createPolicy = () => { let next = 0; return { select: () => ({ worker: next++ % 3 }) }; };'))).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('is made anew for each replica of the frontend, and told of its own requests alone', async () => {
    const source = `export const createPolicy = () => {
      const own = new Set();
      const known = (id) => { if (!own.has(id)) throw new Error('never asked of ' + id); };
      return { select: ({ id }) => { own.add(id); return (own.size - 1) % 3; }, onFirstToken: known, onFinished: known };
    };`;
    for (const sync of [{}, { syncMs: 0 }, { syncMs: 3 }]) expect(workers(await moduleOf(source), { replicas: { count: 2, balance: 'round_robin', ...sync } })).toEqual([0, 0, 1, 1, 2, 2]);
    const loads = 'export const cost = (request, { activeRequests }) => activeRequests;';
    const burst = REQUESTS.map((request) => ({ ...request, arrivalMs: 0 }));
    const told = workers(await moduleOf(loads), { replicas: { count: 3, balance: 'round_robin', syncMs: 0 } }, burst);
    expect([0, 1, 2].map((worker) => told.filter((one) => one === worker).length)).toEqual([2, 2, 2]);
  });

  it('may be written in TypeScript', async () => {
    const source = "import type { Candidate } from 'dynotwin';\nexport function select(_request: unknown, candidates: readonly Candidate[]): Candidate { return candidates[2] as Candidate; }\n";
    expect(workers(await moduleOf(source, 'ts'))).toEqual([2, 2, 2, 2, 2, 2]);
  });

  it('sees the request, what workers cache and do, and the clock', async () => {
    const seen: { request: RouteRequest; candidates: readonly Candidate[]; nowMs: number }[] = [];
    Object.assign(globalThis, { seen });
    const spec = await moduleOf('export const select = (request, candidates, { nowMs }) => { globalThis.seen.push({ request, candidates, nowMs }); return 0; };');
    workers(spec, {}, [REQUESTS[0]!, { ...REQUESTS[1]!, arrivalMs: 17 }]);
    const [first, second] = seen;
    expect(first!.request).toMatchObject({ id: 0, arrivalMs: 0, promptTokens: 24, maxOutputTokens: 3, session: 0, turn: 0 });
    expect([...first!.request.blocks]).toHaveLength(6);
    expect(first!.candidates).toHaveLength(3);
    expect(first!.candidates[0]).toEqual({ worker: 0, rank: 0, cachedBlocks: 0, cachedTokens: 0, activePrefillTokens: 0, activeBlocks: 0, addedBlocks: 6, activeRequests: 0, kvBlocks: 1024, kvBlocksUsed: 0, runningRequests: 0 });
    expect(second!.nowMs).toBe(17);
    expect(second!.candidates[0]).toMatchObject({ cachedBlocks: 4, cachedTokens: 16, activePrefillTokens: 0, activeBlocks: 6, addedBlocks: 2, activeRequests: 1, runningRequests: 1 });
    expect(second!.candidates[1]).toMatchObject({ cachedBlocks: 0, activeRequests: 0, addedBlocks: 6 });
  });

  it('sees what a row asks of routers, and nothing where it asks nothing', async () => {
    const seen: (RouteRequest['hints'] | undefined)[] = [];
    Object.assign(globalThis, { seen });
    const spec = await moduleOf('export const select = (request, candidates) => { globalThis.seen.push(request.hints); return candidates[0]; };');
    const { retainMs: _forCaches, ...asked } = HINTS;
    expect(workers(spec, {}, HINTED)).toEqual([2, 0]);
    expect(seen).toEqual([{ ...asked, priority: -1.5, strictPriority: 2 }, undefined]);
    const simulation = simulationOf(workloadOf(HINTED), { workers: 3, router: spec });
    drive(simulation);
    expect(simulation.observe().warnings.map(({ path }) => path)).toEqual(['nvext.cache_control']);
  });

  it('hears of first tokens and ends in the order of time', async () => {
    const told: [what: string, id: number, atMs: number][] = [];
    Object.assign(globalThis, { told });
    const spec = await moduleOf(`export const createPolicy = () => ({
      select: (request) => request.id % 3,
      onFirstToken: (id, { nowMs }) => globalThis.told.push(['first', id, nowMs]),
      onFinished: (id, { nowMs }) => globalThis.told.push(['end', id, nowMs]),
    });`);
    workers(spec);
    const times = told.map(([, , atMs]) => atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(told.filter(([what]) => what === 'first').map(([, id]) => id).sort()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(told.filter(([what]) => what === 'end').map(([, id]) => id).sort()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('routes prefill and decode pools and ranks each for itself', async () => {
    const spec = await moduleOf("export const createPolicy = ({ role }) => ({ select: (request, candidates) => (role === 'prefill' ? candidates[0] : candidates.at(-1)) });");
    const disaggregated = simulationOf(workloadOf(REQUESTS), { workers: [2, 2], router: spec });
    drive(disaggregated);
    const { requests } = disaggregated.observe();
    expect([...requests.prefillWorker]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...requests.decodeWorker]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(workers(await moduleOf('export const select = () => ({ worker: 1, rank: 1 });'), { engine: { ranks: 2 } })).toEqual([3, 3, 3, 3, 3, 3]);
  });

  it('draws from a seeded stream: the same every time', async () => {
    const spec = await moduleOf('export const cost = () => 0;');
    const drawn = workers(spec);
    expect(workers(spec)).toEqual(drawn);
    expect(new Set(drawn).size).toBeGreaterThan(1);
  });

  it('leaves every request in one state and every block back, whatever it chooses', async () => {
    const spec = await moduleOf('export const select = (request, candidates, { random }) => candidates[random.integer(candidates.length)];');
    fc.assert(
      fc.property(fc.array(fc.record({ length: fc.integer({ min: 1, max: 60 }), output: fc.integer({ min: 1, max: 12 }), arrivalMs: fc.integer({ min: 0, max: 90 }) }), { minLength: 1, maxLength: 12 }), fc.boolean(), (drawn, split) => {
        const requests = drawn.map(({ length, output, arrivalMs }) => ({ ids: tokens(1, length), output, arrivalMs }));
        const simulation = simulationOf(workloadOf(requests), { workers: split ? [2, 2] : 3, engine: { prefixCaching: true }, kvBlocks: 24, router: spec });
        drive(simulation);
        expect(rowsOf(simulation.observe()).every(({ status }) => status === 'completed')).toBe(true);
        for (const pool of simulation.workerPools) expect(pool.router.isIdle!()).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it.for<[string, string, RegExp]>([
    ['throws', 'export const select = () => {\n  throw new TypeError("oh no");\n};', /select for request 0 threw TypeError: oh no/],
    ['throws at the start', 'export const createPolicy = () => { throw new Error("not today"); };', /createPolicy threw Error: not today/],
    ['gives no policy', 'export const createPolicy = () => ({});', /gave no object with 'select'/],
    ['names a worker that does not exist', 'export const select = () => 7;', /named worker 7 for request 0/],
    ['names NaN', 'export const select = () => NaN;', /named worker NaN for request 0/],
    ['names nothing', 'export const select = () => {};', /named no worker for request 0/],
    ['promises', 'export const select = async () => 0;', /named no worker for request 0/],
    ['has NaN costs', 'export const cost = () => NaN;', /cost of worker 0 for request 0 is NaN, not a number/],
    ['fails when told', 'export const createPolicy = () => ({ select: () => 0, onFinished() { throw new Error("late"); } });', /onFinished for request \d threw Error: late/],
  ])('that %s is one error', async ([, source, what]) => {
    const spec = await moduleOf(source);
    const problem = problemOf(() => workers(spec));
    expect(problem).toMatchObject({ code: 'E-POLICY', file: spec.module!.path, path: 'router.policy' });
    expect(problem.what).toMatch(what);
    expect(problem.hint).not.toBe('');
  });

  it('says the line that threw', async () => {
    const spec = await moduleOf('export const select = () => {\n  throw new TypeError("oh no");\n};');
    expect(problemOf(() => workers(spec))).toMatchObject({ line: 2 });
  });

  it.for<[string, string, string, RegExp]>([
    ['does not parse', 'export const select = (;', 'E-FILE', /cannot be loaded: /],
    ['exports nothing of use', 'export const route = 1;', 'E-POLICY', /exports no function createPolicy, select or cost/],
    ['imports what is not there', "import './nowhere.mjs'; export const select = () => 0;", 'E-FILE', /cannot be loaded: /],
  ])('that %s is refused when loaded', async ([, source, code, what]) => {
    const error: unknown = await moduleOf(source).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).problems).toHaveLength(1);
    expect((error as InputError).problems[0]!.code).toBe(code);
    expect((error as InputError).problems[0]!.what).toMatch(what);
  });
});

describe('a router process', { timeout: 30_000 }, () => {
  it('is one for each replica of the frontend', () => {
    const turns = program(routing("({ worker: (seen.filter(({ type }) => type === 'route').length - 1) % 3 })"));
    expect(workers(turns, { replicas: { count: 2, balance: 'round_robin' } })).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it('chooses by JSON lines, and hears of first tokens and ends', () => {
    expect(workers(program(routing('({ worker: m.id % 3 })')))).toEqual([0, 1, 2, 0, 1, 2]);
    // The last request is far behind the others: by then all have been told of.
    const counting = routing("({ worker: m.id < 5 ? 0 : seen.filter(({ type }) => type === 'first_token').length === 5 && seen.filter(({ type }) => type === 'finished').length === 5 ? 2 : 1 })");
    expect(workers(program(counting), {}, REQUESTS.map((request, i) => (i === 5 ? { ...request, arrivalMs: 10_000 } : request)))).toEqual([0, 0, 0, 0, 0, 2]);
  });

  it('is told what a row asks of routers', () => {
    const asked = { policy_class: 'gold', preferred_taints: { dryRun: 0.5 }, allowed_workers: [2], expected_output_tokens: 9, priority: -1.5, strict_priority: 2, override: { overlap_score_credit: 2, temperature: 0 } };
    const sorted = 'Object.entries(m.hints ?? {}).sort()';
    const isAsked = `JSON.stringify(${sorted}) === ${JSON.stringify(JSON.stringify(Object.entries(asked).sort()))}`;
    expect(workers(program(routing(`({ worker: m.id === 0 ? (${isAsked} ? 2 : 99) : 'hints' in m ? 99 : 1 })`)), {}, HINTED)).toEqual([2, 1]);
  });

  it('is told what a module is told', () => {
    const told = routing("({ worker: seen[0].role === 'agg' && seen[0].workers === 3 && seen[0].ranks === 1 && seen[0].block_tokens === 4 && seen[0].kv_blocks === 1024 && m.prompt_tokens === 24 && m.max_output_tokens === 3 && m.blocks.length === 6 && m.candidates.length === 3 && m.now_ms === m.id * 7 && (m.id < 2 || m.candidates[2].cached_tokens === 16) ? 2 : 0 })");
    expect(workers(program(told))).toEqual([2, 2, 2, 2, 2, 2]);
  });

  it('gets a reduced environment', () => {
    process.env['DYNOTWIN_SECRET'] = 'x';
    expect(workers(program(routing("({ worker: process.env.DYNOTWIN_SECRET === undefined && process.env.PATH !== undefined ? 1 : 0 })")))).toEqual([1, 1, 1, 1, 1, 1]);
    delete process.env['DYNOTWIN_SECRET'];
  });

  it.for<[string, string, RegExp]>([
    ['exits', '() => process.exit(3)', /exited with code 3/],
    ['exits with a complaint', '() => { console.error("no licence"); process.exit(3); }', /exited with code 3: no licence/],
    ['is killed', '() => process.kill(process.pid, "SIGKILL")', /was ended by SIGKILL/],
    ['prints garbage', routing("'Hello!'"), /answered 'Hello!' to request 0/],
    ['prints something else', routing('({ wroker: 1 })'), /answered {"id":0,"wroker":1} to request 0/],
    ['greets wrongly', '() => ({ type: "hi" })', /answered {"type":"hi"} to hello/],
    ['names a worker that does not exist', routing('({ worker: 9 })'), /named worker 9 for request 0/],
    ['names no number', routing('({ worker: "1" })'), /named worker '1' for request 0/],
    ['answers another request', routing('({ id: m.id + 1, worker: 0 })'), /answered {"id":1,"worker":0} to request 0/],
    ['answers what is no question', '(m) => (m.type === "hello" ? { type: "ready" } : { id: m.id, worker: 0 })', /(answered {"id":\d,"worker":0} to request \d|wrote a line that nothing asked for: {"id":\d,"worker":0})$/],
    ['talks too much', routing("'{\"id\": 0, \"worker\": 0}\\nchosen 0'"), /wrote a line that nothing asked for: chosen 0/],
    ['leaves out the id', '(m) => (m.type === "hello" ? { type: "ready" } : { worker: 0 })', /answered {"worker":0} to request 0/],
    ['names null', routing('({ worker: null })'), /answered {"id":0,"worker":null} to request 0/],
    ['ends in the middle', routing('m.id === 2 ? process.exit(0) : { worker: 0 }'), /exited with code 0/],
  ])('that %s is one error', ([, answer, what]) => {
    const problem = problemOf(() => workers(program(answer)));
    expect(problem).toMatchObject({ code: 'E-POLICY', path: 'router.exec' });
    expect(problem.what).toMatch(what);
    expect(problem.hint).not.toBe('');
  });

  it('that hangs is ended, with what it has started', async () => {
    const heartbeat = join(folder, 'pid');
    const hanging = `async (m) => {
      if (m.type === 'hello') return { type: 'ready' };
      const { spawn } = await import('node:child_process');
      const { writeFileSync } = await import('node:fs');
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
      writeFileSync(${JSON.stringify(heartbeat)}, String(child.pid));
      await new Promise(() => setInterval(() => {}, 1000));
    }`;
    const problem = problemOf(() => workers(program(hanging, 1500)));
    expect(problem.what).toMatch(/gave no answer within 1.5 s/);
    const pid = Number(readFileSync(heartbeat, 'utf8'));
    await expect.poll(() => isAlive(pid), { timeout: 5000 }).toBe(false);
  });

  it('that is not there is one error', () => {
    const problem = problemOf(() => workers({ policy: 'exec', exec: { command: ['no-such-router-program'], sha256: [], timeoutMs: 5000 } }));
    expect(problem.what).toMatch(/there is no program 'no-such-router-program'/);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
