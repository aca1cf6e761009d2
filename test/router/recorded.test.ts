import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Observations } from '../../src/metrics/observations.js';
import { routeDecisionsCsv, routeDecisionsText } from '../../src/metrics/route-decisions.js';
import { readRecordedRoutes, RecordedRoutes } from '../../src/router/recorded.js';
import { drive } from '../../src/sim/drive.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { problemOf } from '../support/refused.js';
import { configOf, distinct, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin routes '));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SGLANG = { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 } as const;
const PREFIX = tokens(1, 16);
const REQUESTS: readonly LiteralRequest[] = [0, 1, 2, 3].map((i) => ({ ids: [...PREFIX, ...distinct(8)], output: 3, arrivalMs: i * 7 }));

type Row = readonly [line: number, decision: number, worker: number, rank: number, cost: number | null];

function follow(rows: readonly Row[], setup: Setup = {}): Observations {
  const routes = new RecordedRoutes('routes.json');
  rows.forEach(([line, decision, worker, rank, cost], row) => routes.add(line, decision, { row, worker, rank, cost }));
  const workload = workloadOf(REQUESTS);
  const config = configOf({ workers: 3, engine: { prefixCaching: true }, ...setup, router: { policy: 'recorded', ...setup.router } });
  const simulation = new Simulation({ ...config, routes }, workload, expandBlocks(workload, 4));
  drive(simulation);
  return simulation.observe();
}

/** The KV router's own choices, as a log. */
function logOf(setup: Setup): Row[] {
  const workload = workloadOf(REQUESTS);
  const config = configOf({ workers: 3, engine: { prefixCaching: true }, ...setup, router: { policy: 'kv', ...setup.router } });
  const simulation = new Simulation(config, workload, expandBlocks(workload, 4));
  drive(simulation);
  const { prefillWorker, decodeWorker } = simulation.observe().requests;
  const ranks = setup.engine?.ranks ?? 1;
  const columns = config.pools.length > 1 ? [prefillWorker, decodeWorker] : [decodeWorker];
  return REQUESTS.flatMap((_, line) => columns.map((column, decision): Row => [line, decision, Math.floor(column[line]! / ranks), column[line]! % ranks, null]));
}

describe('recorded choices', () => {
  it('are followed, with the own cost of each and the cheapest', () => {
    const seen = follow([[0, 0, 2, 0, 12], [1, 0, 1, 0, null], [2, 0, 2, 0, 99], [3, 0, 0, 0, null]]);
    expect([...seen.requests.decodeWorker]).toEqual([2, 1, 2, 0]);
    const { decisions, unused } = seen.decisions!;
    expect(unused).toBe(0);
    // 24 tokens in 6 blocks on an idle pool: 6 of prompt work and 6 added blocks, on every worker.
    expect(decisions[0]).toEqual({ line: 0, decision: 0, pool: 'agg', worker: 2, dp_rank: 0, recorded_cost: 12, own_cost: 12, best_cost: 12, best_worker: 0, best_dp_rank: 0 });
    // Worker 2 caches the prefix, but its 24 tokens are still to be computed: it is dearer than an idle worker.
    expect(decisions[1]).toMatchObject({ worker: 1, own_cost: 12, best_cost: 12, recorded_cost: null });
    expect(decisions[2]).toMatchObject({ worker: 2, recorded_cost: 99 });
    expect(routeDecisionsText(seen.decisions!)).toContain('4 recorded decisions of routes.json followed');
    expect(routeDecisionsText(seen.decisions!)).toMatch(/1 differ from the recorded one by more than 0.000001/);
    const csv = routeDecisionsCsv(seen.decisions!).split('\n');
    expect(csv[0]).toBe('line,decision,pool,worker,dp_rank,recorded_cost,own_cost,best_cost,best_worker,best_dp_rank,cost_difference,regret');
    expect(csv[1]).toBe('0,0,agg,2,0,12,12,12,0,0,0,0');
    expect(csv).toHaveLength(6);
  });

  it.for<[string, Setup]>([
    ['aggregated', {}],
    ['on ranks', { engine: { prefixCaching: true, ranks: 2 } }],
    ['disaggregated', { workers: [2, 2] }],
    ['disaggregated, destination first', { workers: [2, 2], engine: { name: 'sglang', prefixCaching: true, sglang: SGLANG } }],
  ])('of the KV router itself are the cheapest: %s', ([, setup]) => {
    const rows = logOf(setup);
    const reserveFirst = setup.engine?.name === 'sglang';
    const inOrder = reserveFirst ? rows.map(([line, decision, ...rest]): Row => [line, 1 - decision, ...rest]) : rows;
    const { decisions } = follow(inOrder, setup).decisions!;
    expect(decisions).toHaveLength(rows.length);
    for (const { own_cost, best_cost } of decisions) expect(own_cost).toBe(best_cost);
  });

  it('know the costs they are given', () => {
    const first = follow(logOf({ workers: [2, 2] }), { workers: [2, 2] }).decisions!.decisions;
    const again = follow(first.map(({ line, decision, worker, dp_rank, own_cost }): Row => [line, decision, worker, dp_rank, own_cost]), { workers: [2, 2] }).decisions!.decisions;
    for (const { recorded_cost, own_cost } of again) expect(own_cost).toBe(recorded_cost);
    const other = follow(first.map(({ line, decision, worker, dp_rank, own_cost }): Row => [line, decision, worker, dp_rank, own_cost]), { workers: [2, 2], router: { prefillLoadScale: 2 } }).decisions!.decisions;
    expect(other.some(({ recorded_cost, own_cost }) => own_cost !== recorded_cost)).toBe(true);
  });

  it('that lack a decision, or name a worker or rank that is not there, are one error', () => {
    expect(problemOf(() => follow([[0, 0, 0, 0, null]]))).toMatchObject({ code: 'E-ROUTES', file: 'routes.json', what: 'has no row for decision 0 (agg) of line 1' });
    expect(problemOf(() => follow([[0, 0, 3, 0, null]])).what).toBe('row 0: line 0 goes to worker 3, which the agg pool does not have');
    expect(problemOf(() => follow([[0, 0, 0, 1, null]])).what).toBe('row 0: line 0 goes to rank 1 of worker 0, which the agg pool does not have');
  });

  it('beyond the workload are counted', () => {
    expect(follow([...logOf({}), [9, 0, 0, 0, null]]).decisions!.unused).toBe(1);
  });
});

describe('a file of recorded choices', () => {
  const COLUMNS = ['line', 'decision', 'worker', 'dp_rank', 'cost'];
  const read = (data: unknown): RecordedRoutes => {
    const path = join(folder, 'routes.json');
    writeFileSync(path, typeof data === 'string' ? data : JSON.stringify(data));
    return readRecordedRoutes(path);
  };

  it('may have its columns in any order, and no costs', () => {
    expect(read({ columns: COLUMNS, rows: [[3, 1, 2, 0, 7.5]] }).at(3, 1)).toEqual({ row: 0, worker: 2, rank: 0, cost: 7.5 });
    expect(read({ columns: ['worker', 'note', 'line', 'dp_rank', 'decision'], rows: [[2, 'x', 3, 0, 1]] }).at(3, 1)).toEqual({ row: 0, worker: 2, rank: 0, cost: null });
  });

  it.for<[string, unknown, string, RegExp]>([
    ['no JSON', '{', 'E-SYNTAX', /not valid JSON/],
    ['no table', [1], 'E-ROUTES', /has no columns and rows/],
    ['a missing column', { columns: COLUMNS.filter((name) => name !== 'worker'), rows: [] }, 'E-ROUTES', /has no column worker/],
    ['a row that is none', { columns: COLUMNS, rows: [[0, 0, 0, 0, 0], 5] }, 'E-ROUTES', /row 1 is no list/],
    ['a negative line', { columns: COLUMNS, rows: [[-1, 0, 0, 0, 0]] }, 'E-ROUTES', /row 0: line is -1/],
    ['a worker by name', { columns: COLUMNS, rows: [[0, 0, 'a', 0, 0]] }, 'E-ROUTES', /row 0: worker is 'a'/],
    ['a cost by name', { columns: COLUMNS, rows: [[0, 0, 0, 0, 'x']] }, 'E-ROUTES', /row 0: cost is 'x'/],
    ['a huge decision', { columns: COLUMNS, rows: [[0, 1e9, 0, 0, 0]] }, 'E-ROUTES', /row 0: decision is 1000000000/],
    ['a decision twice', { columns: COLUMNS, rows: [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]] }, 'E-ROUTES', /row 1 repeats decision 0 of line 0/],
  ])('with %s is refused', ([, data, code, what]) => {
    const problem = problemOf(() => read(data));
    expect(problem).toMatchObject({ code, file: join(folder, 'routes.json') });
    expect(problem.what).toMatch(what);
    expect(problem.hint).toBeDefined();
  });

  it('that is not there is E-FILE', () => {
    expect(problemOf(() => readRecordedRoutes(join(folder, 'none.json')))).toMatchObject({ code: 'E-FILE' });
  });
});
