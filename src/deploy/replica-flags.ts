import type { Problem } from '../core/problem.js';
import type { ReplicasSpec, RouterSpec } from '../scenario/scenario.js';
import type { FrontendFlags } from './frontend-flags.js';

/**
 * Frontend flags for replicas that tell each other what they book (spec: router section 2.1), and what a manifest does not settle: who gets
 * which request is up to the service before them, how long a message takes to the cluster.
 */
export function replicaFlags(replicas: ReplicasSpec | undefined, { policy }: RouterSpec): Pick<FrontendFlags, 'args' | 'problems'> {
  if (replicas === undefined) return { args: [], problems: [] };
  const { balance, syncMs } = replicas;
  const problems: Problem[] = [];
  if (balance !== 'random') problems.push({ code: 'W-COMPAT', path: 'frontend.balance', what: `a Kubernetes service spreads connections at random, not requests by ${balance}` });
  if (syncMs === undefined) return { args: [], problems };
  if (policy === 'kv') problems.push({ code: 'W-COMPAT', path: 'frontend.sync.delay', what: `messages between replicas take as long as the cluster makes them; simulated were ${syncMs} ms` });
  else problems.push({ code: 'E-UNSUPPORTED', path: 'frontend.sync', what: `frontends of policy ${policy} do not tell each other their loads`, hint: 'deploy with sync: off, or policy kv' });
  return { args: policy === 'kv' ? ['--router-replica-sync'] : [], problems };
}
