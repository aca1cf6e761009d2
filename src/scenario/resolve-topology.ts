import { choice, field, map, ratio } from './field-kinds.js';
import type { Reader } from './reader.js';
import type { PoolSpec, RouterSpec, TopologySpec } from './scenario.js';
import { DOMAIN } from './worker-traits.js';

const PATH = 'router.topology';

/** `router.topology` */
export const TOPOLOGY_FIELD = field(
  map(
    {
      domains: field({ type: 'list', of: { type: 'text', example: 'zone' } }, 'Labels of workers (deployment.POOL.workers) that prefill and decode worker share'),
      enforcement: field(choice(['required', 'preferred']), 'A request fails rather than cross a domain, or crossing costs more', 'required'),
      weight: field(ratio, 'How much: the cost of workers in the domain is multiplied by exp(-tanh(weight)); preferred'),
    },
    { main: ['domains'] },
  ),
  'A KV transfer stays within topology domains: decode workers are chosen by the labels of the prefill worker; with prefill and decode pools and policy kv',
);

/** A router with `router.topology` (spec: router section 7.3). Fields without effect are set aside; problems: domains that are no labels, labels that no worker has. */
export function resolveTopology(reader: Reader, router: RouterSpec, pools: readonly PoolSpec[]): RouterSpec {
  if (!reader.has(PATH)) return router;
  if (router.policy !== 'kv') reader.unread(PATH, `not read by policy ${router.policy}`, 'remove it or set policy: kv');
  else if (pools.length < 2) reader.unread(PATH, 'there are no prefill and decode pools', 'remove it or add them');
  if (router.policy !== 'kv' || pools.length < 2) return router;
  if (pools[1]!.engine.name === 'sglang') reader.problem('E-COMBINATION', PATH, 'sglang reserves the decode worker before a prefill worker is chosen', 'use vllm or trtllm, or remove it');
  const domains = resolveDomains(reader, pools);
  const isPreferred = reader.choice(`${PATH}.enforcement`) === 'preferred';
  if (!isPreferred) reader.unread(`${PATH}.weight`, 'the domains are required', "remove it or set 'enforcement: preferred'");
  const weight = isPreferred ? reader.required(`${PATH}.weight`, reader.number(`${PATH}.weight`), 0, "preferred needs it: add 'weight: 0.85', 0 to 1") : undefined;
  return { ...router, topology: { domains, ...(weight === undefined ? {} : { weight }) } };
}

function resolveDomains(reader: Reader, pools: readonly PoolSpec[]): readonly string[] {
  const path = `${PATH}.domains`;
  const domains = (reader.list(path) as readonly string[] | undefined) ?? [];
  if (domains.length === 0) reader.problem(reader.has(path) ? 'E-RANGE' : 'E-MISSING', reader.has(path) ? path : PATH, 'names no domain', "add 'domains: [zone]'");
  for (const domain of domains) {
    if (!DOMAIN.test(domain)) reader.problem('E-TYPE', path, `'${domain}' is not the name of a domain`, 'use a-z, 0-9 and inner hyphens');
    const without = pools.find(({ workers }) => !workers?.some(({ labels }) => labels?.[domain] !== undefined));
    if (without) reader.problem('E-COMBINATION', path, `no ${without.role} worker has a label '${domain}'`, `add 'workers: [{of: [0], labels: {${domain}: a}}]' to the pool`);
  }
  if (new Set(domains).size < domains.length) reader.problem('E-DUPLICATE', path, 'names a domain twice', 'keep one');
  return domains;
}

/** The same as a file says it. */
export function topologyData({ topology }: RouterSpec): Readonly<Record<string, unknown>> {
  if (!topology) return {};
  return { topology: { domains: [...topology.domains], ...preference(topology) } };
}

function preference({ weight }: TopologySpec): Record<string, unknown> {
  return weight === undefined ? { enforcement: 'required' } : { enforcement: 'preferred', weight };
}
