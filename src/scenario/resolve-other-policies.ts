import { formatQuantity } from '../core/units.js';
import type { Reader } from './reader.js';
import { CACHE_AWARE_EVICTION_MS, CACHE_AWARE_TREE_TOKENS, DEVICE_RATIO, SCORER_NAMES, type OracleGoal, type RouterSpec, type ScorerName } from './scenario.js';

/** The field or mapping of each policy that has one of its own. */
const OWN_FIELD = { prefix_hash: 'prefix_hash', cache_aware: 'cache_aware', scorers: 'scorers', oracle: 'oracle', device_ratio: 'device_aware' } as const;
export const POLICY_FIELDS = Object.keys(OWN_FIELD);

/** Weights that llm-d's guides begin with. */
export const DEFAULT_SCORERS: Readonly<Partial<Record<ScorerName, number>>> = { prefix: 3, queue: 2, kv_usage: 2 };

/** Settings of the policies that read a mapping of their own; those of other policies have no effect. */
export function resolvePolicy(reader: Reader, policy: RouterSpec['policy'], choiceOfWorkers: boolean): Partial<RouterSpec> {
  for (const [name, owner] of Object.entries(OWN_FIELD)) {
    if (!choiceOfWorkers) reader.unread(`router.${name}`, 'there is only one worker to choose', 'remove it or add replicas');
    else if (policy !== owner) reader.unread(`router.${name}`, `not read by policy ${policy}`, `remove it or set policy: ${owner}`);
  }
  const number = (name: string, fallback: number): number => reader.number(`router.${policy}.${name}`) ?? fallback;
  switch (policy) {
    case 'prefix_hash':
      return { prefixHash: { tokens: number('tokens', 256), loadFactor: number('load_factor', 1.25), virtualNodes: number('virtual_nodes', 160) } };
    case 'cache_aware':
      return { cacheAware: { cacheThreshold: number('cache_threshold', 0.3), balanceAbsThreshold: number('balance_abs_threshold', 64), balanceRelThreshold: number('balance_rel_threshold', 1.5), ...resolveTrees(reader) } };
    case 'scorers':
      return { scorers: resolveScorers(reader) };
    case 'oracle':
      return { oracle: { minimise: reader.choice<OracleGoal>('router.oracle.minimise') ?? 'ttft' }, indexVisible: 'pass_start' };
    case 'device_aware':
      return { deviceRatio: reader.number('router.device_ratio') ?? DEVICE_RATIO };
    default:
      return {};
  }
}

/** What SGLang's router does by itself is left out. */
function resolveTrees(reader: Reader): Pick<NonNullable<RouterSpec['cacheAware']>, 'maxTreeTokens' | 'evictionMs'> {
  const isNever = reader.text('router.cache_aware.eviction_interval') === 'none';
  if (isNever) {
    reader.unread('router.cache_aware.max_tree_size', 'nothing is forgotten', 'remove it or eviction_interval: none');
    return { evictionMs: null };
  }
  const maxTreeTokens = reader.number('router.cache_aware.max_tree_size') ?? CACHE_AWARE_TREE_TOKENS;
  const evictionMs = reader.number('router.cache_aware.eviction_interval') ?? CACHE_AWARE_EVICTION_MS;
  return { ...(maxTreeTokens === CACHE_AWARE_TREE_TOKENS ? {} : { maxTreeTokens }), ...(evictionMs === CACHE_AWARE_EVICTION_MS ? {} : { evictionMs }) };
}

/** Those with a weight above 0, in the order of their names. */
function resolveScorers(reader: Reader): NonNullable<RouterSpec['scorers']> {
  if (!reader.has('router.scorers')) return DEFAULT_SCORERS;
  const weights: Partial<Record<ScorerName, number>> = {};
  for (const name of SCORER_NAMES) {
    const weight = reader.number(`router.scorers.${name}`) ?? 0;
    if (weight > 0) weights[name] = weight;
  }
  if (Object.keys(weights).length === 0) reader.problem('E-COMBINATION', 'router.scorers', 'no scorer has a weight above 0', "write for example 'scorers: {prefix: 3, queue: 2}'");
  return weights;
}

/** The mapping of a policy's own settings, as it is written. */
export function policyData({ prefixHash, cacheAware, scorers, oracle, deviceRatio }: RouterSpec): Record<string, unknown> {
  if (prefixHash) return { prefix_hash: { tokens: prefixHash.tokens, load_factor: prefixHash.loadFactor, virtual_nodes: prefixHash.virtualNodes } };
  if (cacheAware) {
    const { cacheThreshold, balanceAbsThreshold, balanceRelThreshold, maxTreeTokens = CACHE_AWARE_TREE_TOKENS, evictionMs = CACHE_AWARE_EVICTION_MS } = cacheAware;
    const trees = evictionMs === null ? { eviction_interval: 'none' } : { max_tree_size: maxTreeTokens, eviction_interval: formatQuantity(evictionMs, 'time') };
    return { cache_aware: { cache_threshold: cacheThreshold, balance_abs_threshold: balanceAbsThreshold, balance_rel_threshold: balanceRelThreshold, ...trees } };
  }
  if (oracle) return { oracle: { ...oracle } };
  if (deviceRatio !== undefined) return { device_ratio: deviceRatio };
  return scorers ? { scorers: { ...scorers } } : {};
}
