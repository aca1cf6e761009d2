import type { Problem } from '../core/problem.js';
import type { TopologySpec } from '../scenario/scenario.js';
import { atLeast, type DynamoVersion } from './dynamo.js';
import type { TooOld } from './frontend-flags.js';

/** Node labels of the domains that Kubernetes itself knows. */
const LABEL_KEYS: Readonly<Record<string, string>> = { region: 'topology.kubernetes.io/region', zone: 'topology.kubernetes.io/zone', host: 'kubernetes.io/hostname' };

/** `spec.experimental.kvTransferPolicy` for `router.topology`, or why there is none (spec: dgd section 1.5). */
export function kvTransferPolicy(topology: TopologySpec | undefined, version: DynamoVersion, tooOld: TooOld): { readonly policy?: Readonly<Record<string, unknown>>; readonly problems: readonly Problem[] } {
  if (!topology) return { problems: [] };
  const { domains, weight } = topology;
  const path = 'router.topology.domains';
  const [domain] = domains;
  const labelKey = LABEL_KEYS[domain!];
  const problems: Problem[] = [];
  if (!atLeast(version, '1.2')) problems.push(tooOld('router.topology', 'a KV transfer policy', '1.2'));
  if (domains.length > 1) problems.push({ code: 'E-UNSUPPORTED', path, what: 'a KV transfer policy has one domain', hint: 'name one' });
  else if (labelKey === undefined) problems.push({ code: 'E-UNSUPPORTED', path, what: `no node label is known for domain '${domain}'`, hint: `deployable are ${Object.keys(LABEL_KEYS).join(', ')}` });
  if (problems.length > 0) return { problems };
  return { policy: { domain, labelKey, ...(weight === undefined ? { enforcement: 'required' } : { enforcement: 'preferred', preferredWeight: weight }) }, problems };
}
