import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { InputError } from '../../src/core/problem.js';
import { replayReport } from '../../src/metrics/replay-report.js';
import { replayRows } from '../../src/metrics/replay-rows.js';
import type { Observations } from '../../src/metrics/observations.js';
import type { RouteDecisions } from '../../src/metrics/route-decisions.js';
import { RecordedRoutes } from '../../src/router/recorded.js';
import { drive } from '../../src/sim/drive.js';
import { replaySimulation } from '../../src/sim/replay-config.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { loadReplayWorkload } from '../../src/cli/replay.js';
import { readCase, type RecordedCase } from './case.js';

export type Verdict = 'EXACT' | 'CLOSE' | 'OFF' | 'REFUSED';

export interface CaseResult {
  readonly name: string;
  readonly verdict: Verdict;
  /** Largest differences, or why it was refused. */
  readonly note: string;
}

/** Per-request times must agree within this, ms; figures of the report within this, relative. */
const TIME_MS = 1e-6;
const RELATIVE = 1e-9;
/**
 * A run that the peer itself does not repeat is close when every figure lies inside its spread, widened
 * by the spread's own width (it comes from few runs) and this share of the value. Extremes are left out:
 * one sample decides them.
 */
const SPREAD_MARGIN = 0.03;
/** Of ties that routers with choices of their own break. */
const FREE_SEEDS = [1n, 2n, 3n] as const;
/** Means of a few hundred randomly drawn requests may differ by this share. */
const DRAWN_MEANS = 0.25;

/** Every case folder below `folder`, in name order. */
export function caseFolders(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && ['case.json', 'config.json'].some((file) => existsSync(join(folder, entry.name, file))))
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** The folder that holds golden/ and traces/, found upwards from a case folder. */
function sharedRootOf(folder: string): string {
  for (let place = resolve(folder); place !== dirname(place); place = dirname(place)) {
    if (existsSync(join(place, 'golden')) && existsSync(join(place, 'traces'))) return place;
  }
  throw new Error(`${folder}: no folder above it holds golden/ and traces/`);
}

/** Runs one recorded case and compares everything that was recorded. */
export async function runCase(folder: string): Promise<CaseResult> {
  const name = folder.split(/[\\/]/).at(-1)!;
  try {
    const recorded = readCase(folder, sharedRootOf(folder));
    return { name, ...(await judge(recorded)) };
  } catch (error) {
    if (error instanceof InputError) return { name, verdict: 'REFUSED', note: error.problems[0]!.what };
    throw error;
  }
}

async function judge(recorded: RecordedCase): Promise<Omit<CaseResult, 'name'>> {
  const { plan } = recorded;
  const workload = await loadReplayWorkload(plan, { skip: recorded.skip, requests: recorded.take });
  const routes = recordedRoutes(recorded);
  const { router } = plan.deployment;
  const run = (deployment: typeof plan.deployment, seed?: bigint): Observations => {
    const simulation = new Simulation({ ...replaySimulation(deployment), ...(seed === undefined ? {} : { routerSeed: seed }) }, workload, expandBlocks(workload, deployment.pools[0]!.args.engine.blockTokens));
    drive(simulation);
    return simulation.observe();
  };
  const observations = run({ ...plan.deployment, ...(routes ? { routes, router: { ...router, policy: 'recorded' } } : {}) });
  const rows = compareRows(recorded, observations);
  const report = compareReport(recorded, observations);
  const repeatable = Object.keys(recorded.spread).length === 0;
  const costs = observations.decisions ? worstCost(observations.decisions, router.temperature) : 0;
  const note = [
    recorded.rows.size > 0 ? `times ${rows.worstMs.toExponential(1)} ms${rows.at}` : '',
    `report ${report.worst.toExponential(1)} ${report.key}`,
    routes ? `costs ${costs.toExponential(1)}` : '',
  ].filter(Boolean).join(', ');
  // With choices of their own, runs fall where the peer's do: both are few, so that a figure is off that lies outside with every seed.
  if (routes !== null && !repeatable) {
    const outside = FREE_SEEDS.map((seed) => compareReport(recorded, run(plan.deployment, seed)).outside).reduce((common, keys) => common.filter((key) => keys.includes(key)));
    if (outside.length > 0) return { verdict: 'OFF', note: `${note}; with its own choices outside the spread: ${outside.slice(0, 4).join(' ')}` };
  }
  if (rows.worstMs <= TIME_MS && costs <= 1e-6 && (report.worst <= RELATIVE || (routes !== null && !repeatable && recorded.rows.size > 0))) return { verdict: 'EXACT', note };
  if (!repeatable && report.outside.length === 0 && (recorded.rows.size === 0 || !routes)) return { verdict: 'CLOSE', note: `${note}, inside the peer's spread` };
  if (isDrawn(recorded) && report.worstMean <= DRAWN_MEANS) return { verdict: 'CLOSE', note: `drawn by the peer's own generator, means within ${(report.worstMean * 100).toFixed(0)} %` };
  return { verdict: 'OFF', note: `${note}${repeatable ? '' : `, ${report.outside.length} figures outside the spread: ${report.outside.slice(0, 4).join(' ')}`}` };
}

/** Arrivals, groups or accepted drafts that the peer draws with a generator of its own: only distributions can agree. */
function isDrawn({ plan }: RecordedCase): boolean {
  if (plan.deployment.pools[0]!.args.engine.speculative?.accept.some((rate) => rate > 0 && rate < 1)) return true;
  if (plan.source.kind !== 'synthetic') return false;
  const { load, sharedPrefix } = plan.source.load;
  return (load.kind === 'rate' && load.arrivals === 'poisson') || (sharedPrefix !== null && sharedPrefix.groups > 1);
}

/** The recorded router choices, where they are complete. */
function recordedRoutes(recorded: RecordedCase): RecordedRoutes | null {
  if (recorded.rows.size === 0 || recorded.plan.deployment.router.policy !== 'kv') return null;
  const complete = [...recorded.rows.values()].every((row) => Array.isArray(row['routes']) && row['routes'].length > 0);
  if (!complete) return null;
  const routes = new RecordedRoutes(recorded.name);
  for (const [line, row] of recorded.rows) {
    (row['routes'] as [number, number, number][]).forEach(([worker, rank, cost], decision) => routes.add(line, decision, { row: routes.count, worker, rank, cost }));
  }
  return routes;
}

/** Largest difference from a recorded cost, and at temperature 0 from the cheapest. */
function worstCost({ decisions }: RouteDecisions, temperature: number): number {
  return decisions.reduce((worst, { own_cost, recorded_cost, best_cost }) => Math.max(worst, Math.abs(own_cost - recorded_cost!), temperature === 0 ? own_cost - best_cost : 0), 0);
}

/** Recorded columns that are compared; the rest are names and derived figures. */
const COLUMNS = [
  'arrival_time_ms', 'first_admit_ms', 'first_token_ms', 'last_token_ms', 'terminal_time_ms', 'prefill_admit_ms', 'source_held_ms', 'destination_reserved_ms', 'destination_activated_ms',
  'decode_admit_ms', 'source_released_ms', 'output_length', 'reused_input_tokens', 'decode_reused_input_tokens', 'prefill_worker_idx', 'decode_worker_idx', 'terminal_status',
] as const;

/** Rows of equal lengths and arrival may stand for each other: the peer gives no identity. */
function compareRows(recorded: RecordedCase, observations: Observations): { worstMs: number; at: string } {
  const ours = replayRows(observations).map((row) => ({ ...row, line: parseInt(row.uuid.replaceAll('-', ''), 16) }) as Record<string, unknown>);
  const key = (row: Readonly<Record<string, unknown>>): string => `${(row['arrival_time_ms'] as number).toFixed(6)}/${row['input_length']}/${row['requested_output_length']}`;
  const order = (row: Readonly<Record<string, unknown>>): number => ((row['first_token_ms'] ?? row['terminal_time_ms']) as number) + ((row['last_token_ms'] as number) ?? 0) * 1e-4;
  const groups = new Map<string, Readonly<Record<string, unknown>>[]>();
  for (const row of ours) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  const peers = new Map<string, Readonly<Record<string, unknown>>[]>();
  for (const row of recorded.rows.values()) peers.set(key(row), [...(peers.get(key(row)) ?? []), row]);
  let worstMs = 0;
  let at = '';
  for (const [group, theirs] of peers) {
    const mine = (groups.get(group) ?? []).sort((a, b) => order(a) - order(b));
    theirs.sort((a, b) => order(a) - order(b));
    theirs.forEach((row, i) => {
      const difference = mine[i] && mine.length === theirs.length ? rowDifference(mine[i], row) : { ms: Infinity, column: 'missing' };
      if (difference.ms > worstMs) {
        worstMs = difference.ms;
        at = ` (line ${row['line'] ?? row['trace_index'] ?? row['request_id']}, ${difference.column})`;
      }
    });
  }
  return { worstMs, at };
}

function rowDifference(mine: Readonly<Record<string, unknown>>, theirs: Readonly<Record<string, unknown>>): { ms: number; column: string } {
  let worst = { ms: 0, column: '' };
  for (const column of COLUMNS) {
    if (!(column in theirs)) continue;
    const ours = mine[column] ?? null;
    const expected = theirs[column] ?? null;
    // The core names the only worker, the command line does not.
    if (column.endsWith('worker_idx') && ours === null) continue;
    const ms = typeof ours === 'number' && typeof expected === 'number' ? Math.abs(ours - expected) : ours === expected ? 0 : Infinity;
    if (ms > worst.ms) worst = { ms, column };
  }
  return worst;
}

function compareReport(recorded: RecordedCase, observations: Observations): { worst: number; worstMean: number; key: string; outside: string[] } {
  const ours = replayReport(observations, { ...recorded.plan.sla, wallTimeMs: 0 });
  let worst = 0;
  let worstMean = 0;
  let worstKey = '';
  const outside: string[] = [];
  for (const [key, expected] of Object.entries(recorded.report)) {
    if (typeof expected !== 'number' || !(key in ours)) continue;
    const mine = ours[key]!;
    const scale = Math.max(Math.abs(expected), key.startsWith('std_') ? Math.abs(recorded.report[key.replace('std_', 'mean_')]!) : 1e-12);
    const difference = mine === expected ? 0 : Math.abs(mine - expected) / scale;
    if (/^mean_(ttft|itl|tpot|e2e)/.test(key)) worstMean = Math.max(worstMean, difference);
    if (difference > worst) [worst, worstKey] = [difference, key];
    const [low, high] = recorded.spread[key] ?? [expected, expected];
    const margin = SPREAD_MARGIN * Math.max(Math.abs(low), Math.abs(high)) + (high - low);
    if (/^(min|max)_/.test(key)) continue;
    if (mine < low - margin || mine > high + margin) outside.push(key);
  }
  return { worst, worstMean, key: worstKey, outside };
}
