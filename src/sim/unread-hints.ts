import type { Problem } from '../core/problem.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { RequestHints, RouterOverride } from '../workload/request-hints.js';
import { isOwn } from './lanes.js';

/** Who might read hints. */
export interface HintReader {
  readonly router: RouterSpec;
  /** Prompts have workers of their own. */
  readonly isDisaggregated: boolean;
}

/** Field of a trace's rows that holds a hint, and why it changes nothing under this router; null = it is read. */
type Hint = readonly [path: string, unread: (reader: HintReader) => string | null];

const always = (why: string) => (): string => why;
/** Policies of one's own are handed the hint. */
const unlessOwn =
  (unread: Hint[1]): Hint[1] =>
  (reader) =>
    isOwn(reader.router.policy) ? null : unread(reader);

const HINTS: Readonly<Record<Exclude<keyof RequestHints, 'override'>, Hint>> = {
  policyClass: ['policy_class', unlessOwn(({ router }) => (router.queueClasses ? null : 'router.queue.classes is not set'))],
  requiredTaints: ['routing_constraints.required_taints', unlessRecorded],
  preferredTaints: ['routing_constraints.preferred_taints', unlessOwn(({ router }) => (router.policy === 'kv' ? null : `policy ${router.policy} weighs no costs`))],
  allowedWorkers: ['routing_constraints.allowed_worker_ids', unlessRecorded],
  worker: ['nvext.backend_instance_id', unlessRecorded],
  rank: ['nvext.dp_rank', unlessRecorded],
  prefillWorker: ['nvext.prefill_worker_id', ofPrefill],
  prefillRank: ['nvext.prefill_dp_rank', ofPrefill],
  expectedOutputTokens: ['nvext.agent_hints.osl', unlessOwn(({ router }) => unfaded(router))],
  retainMs: ['nvext.cache_control', always('there is no host cache tier to keep the prompt in')],
};

/** Field that holds the settings that a row replaces; of each of them, under a policy that has them. */
const OVERRIDE = 'router_config_override';
const OVERRIDES: Readonly<Record<keyof RouterOverride, Hint>> = {
  overlapScoreCredit: ['overlap_score_credit', ({ router }) => (router.index?.mode === 'none' ? 'without an index nothing is credited' : null)],
  prefillLoadScale: ['prefill_load_scale', ({ router }) => (router.selection === 'lmetric' ? 'selection lmetric multiplies prompt work and load' : null)],
  temperature: ['router_temperature', ({ router }) => (router.policy === 'recorded' ? 'recorded choices are not drawn' : null)],
  assumeKvReuse: ['assume_kv_reuse', unshared],
  trackPrefillTokens: ['track_prefill_tokens', () => null],
  sharedCacheMultiplier: ['shared_cache_multiplier', always('there are no shared caches')],
};

/** A log is followed whatever requests ask. */
function unlessRecorded({ router }: HintReader): string | null {
  return router.policy === 'recorded' ? 'recorded choices are followed as they are' : null;
}

function ofPrefill(reader: HintReader): string | null {
  return reader.isDisaggregated ? unlessRecorded(reader) : 'there are no prefill workers';
}

/** True for policies that weigh costs by these settings. */
function hasCosts(policy: RouterSpec['policy']): boolean {
  return policy === 'kv' || policy === 'recorded';
}

/** Why an expected output length changes nothing (spec: router section 4.4). */
function unfaded({ policy, outputBlocks }: RouterSpec): string | null {
  if (!hasCosts(policy)) return `policy ${policy} counts no output blocks`;
  if (outputBlocks === 'full') return 'output blocks do not fade: router.output_decay is false';
  return outputBlocks === undefined ? 'output blocks are not counted: router.track_output_blocks is not set' : null;
}

/** Why it is all the same whether equal prompt blocks count once (spec: router section 7.1). */
function unshared({ router, isDisaggregated }: HintReader): string | null {
  if (isDisaggregated) return 'a prefill router counts no blocks, and a decode router shares none';
  return router.trackActiveBlocks ? null : 'blocks of running requests are not counted';
}

/** Hints of rows that this router makes nothing of. */
export function unreadHints(hints: ReadonlyMap<number, RequestHints> | undefined, reader: HintReader): Problem[] {
  const rows = new Map<string, { count: number; why: string }>();
  const note = (path: string, why: string | null): void => {
    if (why === null) return;
    const seen = rows.get(path) ?? { count: 0, why };
    seen.count++;
    rows.set(path, seen);
  };
  for (const { override, ...asked } of hints?.values() ?? []) {
    for (const name of Object.keys(asked) as (keyof typeof asked)[]) note(HINTS[name][0], HINTS[name][1](reader));
    if (!override || isOwn(reader.router.policy)) continue;
    if (!hasCosts(reader.router.policy)) note(OVERRIDE, `policy ${reader.router.policy} has no such settings`);
    else for (const name of Object.keys(override) as (keyof RouterOverride)[]) note(`${OVERRIDE}.${OVERRIDES[name][0]}`, OVERRIDES[name][1](reader));
  }
  return [...rows].map(([path, { count, why }]) => ({ code: 'W-NO-EFFECT', path, what: `on ${count} ${count === 1 ? 'row' : 'rows'} of the trace changes nothing: ${why}` }));
}
