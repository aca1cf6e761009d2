import { InputError, type Problem } from '../core/problem.js';
import { readText } from '../core/read-text.js';
import type { RouteDecision, RouteDecisions } from '../metrics/route-decisions.js';
import { kvRouter } from './kv.js';
import type { Router, RouterSetup } from './router.js';
import { show } from './own-policy.js';

/** A choice of a log. */
export interface RecordedRoute {
  /** 0-based row it stands in. */
  readonly row: number;
  readonly worker: number;
  readonly rank: number;
  /** In blocks; null = not recorded. */
  readonly cost: number | null;
}

/** The choices of a log by request and decision, both 0-based. */
export class RecordedRoutes {
  private readonly routes = new Map<number, (RecordedRoute | undefined)[]>();
  count = 0;

  /** @param file name for messages */
  constructor(readonly file: string) {}

  /** False when the decision has a choice already. */
  add(line: number, decision: number, route: RecordedRoute): boolean {
    const own = this.routes.get(line) ?? [];
    if (own[decision]) return false;
    own[decision] = route;
    this.routes.set(line, own);
    this.count++;
    return true;
  }

  at(line: number, decision: number): RecordedRoute | undefined {
    return this.routes.get(line)?.[decision];
  }
}

const COLUMNS = ['line', 'decision', 'worker', 'dp_rank', 'cost'] as const;
/** Decisions of one request at most. */
const MOST_DECISIONS = 1000;

/** Reads `{columns: [line, decision, worker, dp_rank, cost], rows}`; `cost` may be left out or null. Throws `E-FILE` and `E-ROUTES` naming file and row. */
export function readRecordedRoutes(file: string): RecordedRoutes {
  const refuse = (what: string, hint: string, code = 'E-ROUTES'): InputError => new InputError({ code, file, what, hint });
  let data: unknown;
  try {
    data = JSON.parse(readText(file));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw refuse('not valid JSON', "write {\"columns\": [\"line\", \"decision\", \"worker\", \"dp_rank\", \"cost\"], \"rows\": […]}", 'E-SYNTAX');
  }
  const { columns, rows } = (data ?? {}) as { columns?: unknown; rows?: unknown };
  if (!Array.isArray(columns) || !Array.isArray(rows)) throw refuse('has no columns and rows', "write {\"columns\": [\"line\", \"decision\", \"worker\", \"dp_rank\", \"cost\"], \"rows\": […]}");
  const at = Object.fromEntries(COLUMNS.map((name) => [name, columns.indexOf(name)])) as Record<(typeof COLUMNS)[number], number>;
  const missing = COLUMNS.find((name) => name !== 'cost' && at[name] < 0);
  if (missing !== undefined) throw refuse(`has no column ${missing}`, `name the columns ${COLUMNS.join(', ')}`);
  const routes = new RecordedRoutes(file);
  rows.forEach((cells: unknown, row) => {
    if (!Array.isArray(cells)) throw refuse(`row ${row} is no list`, 'write one list of values per decision');
    const whole = (name: 'line' | 'decision' | 'worker' | 'dp_rank'): number => {
      const value: unknown = cells[at[name]];
      if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
      throw refuse(`row ${row}: ${name} is ${show(value)}`, 'write a whole number from 0 on');
    };
    const cost: unknown = at.cost < 0 ? null : cells[at.cost];
    if (cost !== null && cost !== undefined && !Number.isFinite(cost)) throw refuse(`row ${row}: cost is ${show(cost)}`, 'write a number or null');
    const [line, decision] = [whole('line'), whole('decision')];
    if (decision >= MOST_DECISIONS) throw refuse(`row ${row}: decision is ${decision}`, "number a request's decisions from 0 on");
    if (routes.add(line, decision, { row, worker: whole('worker'), rank: whole('dp_rank'), cost: (cost ?? null) as number | null })) return;
    throw refuse(`row ${row} repeats decision ${decision} of line ${line}`, 'keep one row per decision');
  });
  return routes;
}

/** A log and how far each request has come in it; shared by the pools of one run. */
export class FollowedRoutes {
  private readonly decisions: RouteDecision[] = [];
  private readonly taken = new Map<number, number>();

  constructor(private readonly routes: RecordedRoutes) {}

  /** The place of the next recorded choice for a request, noted with what our costs say of it. */
  follow(request: number, places: readonly number[], costs: Float64Array, { role, ranks }: Pick<RouterSetup, 'role' | 'ranks'>): number {
    const decision = this.taken.get(request) ?? 0;
    this.taken.set(request, decision + 1);
    const route = this.routes.at(request, decision);
    const refuse = (problem: Pick<Problem, 'what' | 'hint'>): InputError => new InputError({ code: 'E-ROUTES', file: this.routes.file, ...problem });
    if (!route) throw refuse({ what: `has no row for decision ${decision} (${role}) of line ${request}`, hint: 'the log must hold every decision of the workload; lines and decisions count from 0' });
    const index = route.rank < ranks ? places.indexOf(route.worker * ranks + route.rank) : -1;
    if (index < 0) {
      const named = ranks === 1 && route.rank === 0 ? `worker ${route.worker}` : `rank ${route.rank} of worker ${route.worker}`;
      throw refuse({ what: `row ${route.row}: line ${request} goes to ${named}, which the ${role} pool does not have`, hint: `its workers are 0 to ${Math.floor(Math.max(...places) / ranks)}, with ranks 0 to ${ranks - 1}` });
    }
    let best = 0;
    for (let i = 1; i < costs.length; i++) if (costs[i]! < costs[best]!) best = i;
    this.decisions.push({
      line: request,
      decision,
      pool: role,
      worker: route.worker,
      dp_rank: route.rank,
      recorded_cost: route.cost,
      own_cost: costs[index]!,
      best_cost: costs[best]!,
      best_worker: Math.floor(places[best]! / ranks),
      best_dp_rank: places[best]! % ranks,
    });
    return places[index]!;
  }

  /** What was followed so far. */
  seen(): RouteDecisions {
    return { file: this.routes.file, decisions: this.decisions, unused: this.routes.count - this.decisions.length };
  }
}

/** The KV router's books and costs under choices from a log. */
export function recordedRouter(setup: RouterSetup): Router {
  const { followed } = setup;
  if (!followed) throw new Error('policy recorded without recorded routes');
  return kvRouter({ ...setup, forced: (request, places, costs) => followed.follow(request, places, costs, setup) });
}
