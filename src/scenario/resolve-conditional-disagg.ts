import type { Reader } from './reader.js';
import type { ConditionalDisaggSpec, PoolSpec, RouterSpec } from './scenario.js';

const PATH = 'router.conditional_disagg';
const ISL_TOKENS = 2048;
const RATIO = 0.7;

/** True where a KV router chooses between pools, however few workers they have. */
export function choosesPools(reader: Reader, policy: RouterSpec['policy'], pools: readonly PoolSpec[]): boolean {
  return policy === 'kv' && pools.length > 1 && reader.has(PATH);
}

/** A router with `router.conditional_disagg` (spec: router section 7.2). Fields without effect are set aside; problems: combinations that no request could ever keep. */
export function resolveConditionalDisagg(reader: Reader, router: RouterSpec, pools: readonly PoolSpec[]): RouterSpec {
  if (!reader.has(PATH)) return router;
  const decode = pools[1];
  if (router.policy !== 'kv') reader.unread(PATH, `not read by policy ${router.policy}`, 'remove it or set policy: kv');
  else if (decode === undefined) reader.unread(PATH, 'there are no prefill and decode pools', 'remove it or add them');
  if (router.policy !== 'kv' || decode === undefined) return router;
  const policy = reader.choice<ConditionalDisaggSpec['policy']>(`${PATH}.policy`) ?? 'isl_bounding';
  const decodeBusy = decodeThreshold(reader, router);
  const prefillBusy = policy === 'isl_bounding' ? undefined : prefillThreshold(reader, router, policy);
  const bounds = policy === 'prefill_load' ? undefined : lengthBounds(reader, router, decode, policy);
  for (const name of policy === 'prefill_load' ? ['isl', 'ratio'] : policy === 'isl_bounding' ? ['prefill_busy_threshold'] : []) {
    reader.unread(`${PATH}.${name}`, `policy ${policy} does not look at it`, 'remove it or set policy: isl_or_load');
  }
  return {
    ...router,
    conditionalDisagg: { policy, ...(bounds ?? { islTokens: ISL_TOKENS, ratio: RATIO }), ...(prefillBusy === undefined ? {} : { prefillBusy }), ...(decodeBusy === undefined ? {} : { decodeBusy }) },
  };
}

function lengthBounds(reader: Reader, { index }: RouterSpec, { engine }: PoolSpec, policy: string): Pick<ConditionalDisaggSpec, 'islTokens' | 'ratio'> {
  const why = index?.mode === 'none' ? 'the router has no index' : engine.prefixCaching ? null : 'decode workers cache no prefixes';
  if (why !== null) reader.problem('E-COMBINATION', PATH, `${why}, so no prompt is known to be cached and policy ${policy} never finds one short`, 'use policy prefill_load, or let them cache and the router hear of it');
  return { islTokens: reader.number(`${PATH}.isl`) ?? ISL_TOKENS, ratio: reader.number(`${PATH}.ratio`) ?? RATIO };
}

/** The queue's threshold where it has none of its own. */
function prefillThreshold(reader: Reader, { queue, trackPrefillTokens }: RouterSpec, policy: string): number {
  const path = `${PATH}.prefill_busy_threshold`;
  if (!trackPrefillTokens) reader.problem('E-COMBINATION', `${PATH}.policy`, `${policy} looks at prompt tokens, and none are counted (track_prefill_tokens: false)`, 'use policy isl_bounding, or count them');
  return reader.required(path, reader.number(path) ?? queue?.threshold, 0, `policy ${policy} needs it, or router.queue.threshold: add 'prefill_busy_threshold: 1', a share of the token budget of a pass`);
}

function decodeThreshold(reader: Reader, { trackActiveBlocks }: RouterSpec): number | undefined {
  const path = `${PATH}.decode_busy_threshold`;
  if (!reader.has(path)) return undefined;
  if (!trackActiveBlocks) reader.problem('E-COMBINATION', path, 'no blocks are counted (track_active_blocks: false), so every decode worker would be too busy', 'remove one of the two');
  return reader.number(path);
}

/** The same as a file says it. */
export function conditionalDisaggData({ conditionalDisagg: spec }: RouterSpec): Readonly<Record<string, unknown>> {
  if (!spec) return {};
  return {
    conditional_disagg: {
      policy: spec.policy,
      ...(spec.policy === 'prefill_load' ? {} : { isl: spec.islTokens, ratio: spec.ratio }),
      ...(spec.prefillBusy === undefined ? {} : { prefill_busy_threshold: spec.prefillBusy }),
      ...(spec.decodeBusy === undefined ? {} : { decode_busy_threshold: spec.decodeBusy }),
    },
  };
}
