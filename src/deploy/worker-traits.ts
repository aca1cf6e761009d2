import type { Problem } from '../core/problem.js';
import type { PoolSpec } from '../scenario/scenario.js';
import type { WorkerTraits } from '../scenario/worker-traits.js';

/** What no manifest can say of some pods of a component. */
const REFUSED: readonly { readonly trait: Exclude<keyof WorkerTraits, 'of' | 'labels'>; readonly what: string; readonly hint: string }[] = [
  { trait: 'device', what: 'the pods of a component are equal, and a manifest for CPU workers is not supported', hint: 'deploy the GPU workers alone, with policy least_loaded' },
  { trait: 'slowdown', what: 'the pods of a component are equal: a manifest cannot slow some of them down', hint: 'deploy without slowdown' },
  { trait: 'taints', what: 'workers of a deployment get taints from the labels of their nodes only', hint: 'write them as labels, and label the nodes' },
];

/** What sets workers of a pool apart and cannot be deployed; labels are those of nodes, where the cluster puts the pods. */
export function traitProblems({ role, workers = [] }: PoolSpec): Problem[] {
  const path = `deployment.${role}.workers`;
  const problems: Problem[] = REFUSED.filter(({ trait }) => workers.some((traits) => traits[trait] !== undefined)).map(({ trait, what, hint }) => ({ code: 'E-UNSUPPORTED', path: `${path}.${trait}`, what, hint }));
  if (workers.some(({ labels }) => labels)) problems.push({ code: 'W-COMPAT', path: `${path}.labels`, what: 'workers have the labels of the nodes they land on, which the cluster chooses', hint: 'label the nodes so' });
  return problems;
}
