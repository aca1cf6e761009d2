import { formatQuantity } from '../core/units.js';
import type { Reader } from './reader.js';
import type { ReplicasSpec, Scenario } from './scenario.js';

/** What the effect of replicas depends on. */
export interface ReplicasContext extends Pick<Scenario, 'router' | 'frontend' | 'deployment' | 'run'> {
  /** Requests may go to several workers. */
  readonly choiceOfWorkers: boolean;
}

const PATH = 'frontend.replicas';
const SYNC = 'frontend.sync';

/** `frontend.replicas`, `balance` and `sync`; absent where one frontend does the same. Source: spec scenario section 2.3, extensions section 11. */
export function resolveReplicas(reader: Reader, context: ReplicasContext): { frontendReplicas?: ReplicasSpec } {
  const count = reader.number(PATH) ?? 1;
  const why = inertBecause(count, context);
  if (why !== null) {
    if (count > 1) reader.unreadField(PATH, why, 'remove it');
    const hint = count > 1 ? 'remove it' : "remove it or add 'replicas: 2'";
    reader.unread('frontend.balance', why, hint);
    if (reader.choice(SYNC) !== 'off') unreadSync(reader, why, hint);
    return {};
  }
  if (context.router.policy === 'recorded') reader.problem('E-COMBINATION', PATH, 'a log of choices is that of one router', 'follow it with one replica');
  const syncMs = resolveSync(reader, context);
  return { frontendReplicas: { count, balance: reader.choice<ReplicasSpec['balance']>('frontend.balance') ?? 'round_robin', ...(syncMs === undefined ? {} : { syncMs }) } };
}

/** Null where replicas differ from one frontend. */
function inertBecause(count: number, { choiceOfWorkers, frontend }: ReplicasContext): string | null {
  if (count === 1) return 'there is one replica';
  const takesTime = frontend !== undefined && (frontend.baseMs > 0 || frontend.tokensPerSecond !== null);
  return choiceOfWorkers || takesTime ? null : 'there is only one worker to choose, and preprocessing takes no time';
}

function resolveSync(reader: Reader, context: ReplicasContext): number | undefined {
  if (!reader.has(SYNC) || reader.choice(SYNC) === 'off') return undefined;
  const why = untoldBecause(context);
  if (why === null) return reader.number(`${SYNC}.delay`) ?? 0;
  unreadSync(reader, why, 'remove it');
  return undefined;
}

/** A mapping without a field has no effect to complain of but its own. */
function unreadSync(reader: Reader, why: string, hint: string): void {
  reader.unreadField(SYNC, why, hint);
  if (reader.has(SYNC) && !reader.has(`${SYNC}.delay`)) reader.problem('E-NO-EFFECT', SYNC, why, hint);
}

/** Null where a replica would choose otherwise for what others tell it. */
function untoldBecause({ choiceOfWorkers, router, deployment, run }: ReplicasContext): string | null {
  if (!choiceOfWorkers) return 'there is only one worker to choose';
  if (router.policy === 'oracle') return 'the oracle knows what every replica does';
  // Of a worker's ranks the least loaded is taken (spec: accuracy section 2).
  if (run.fidelity === 'realistic' && deployment.pools.some(({ engine }) => (engine.ranks ?? 1) > 1)) return null;
  switch (router.policy) {
    case 'round_robin':
    case 'random':
      return `policy ${router.policy} counts no loads`;
    case 'scorers':
      return router.scorers?.active_requests === undefined ? 'no scorer counts what the replica has sent (active_requests)' : null;
    case 'kv':
      return router.trackActiveBlocks || router.trackPrefillTokens || router.decodeActiveRequestWeight > 0 ? null : 'the router counts no loads';
    default:
      return null;
  }
}

/** The same as a file says it. */
export function replicasData(spec: ReplicasSpec | undefined): Record<string, unknown> {
  if (spec === undefined) return {};
  return { replicas: spec.count, balance: spec.balance, ...(spec.syncMs === undefined ? {} : { sync: { delay: formatQuantity(spec.syncMs, 'time') } }) };
}
