import type { RouterSpec } from '../scenario/scenario.js';
import type { RouterOverride } from '../workload/request-hints.js';
import type { RouterSetup } from './router.js';

/** The weights one router works with: a decode router ignores caches and prompt load. Source: spec router section 7.1. */
export function roleSpec(spec: RouterSpec, role: RouterSetup['role']): RouterSpec {
  switch (role) {
    case 'agg':
      return spec;
    case 'prefill':
      return { ...spec, trackActiveBlocks: false };
    case 'decode':
      return { ...spec, overlapScoreCredit: 0, assumeKvReuse: false, trackPrefillTokens: false };
  }
}

/** Settings of a router by request. */
export interface RequestSpecs {
  /** Of requests that replace nothing. */
  readonly own: RouterSpec;
  /** Of those that do; null = none does. */
  readonly replaced: ReadonlyMap<number, RouterSpec> | null;
}

/**
 * The settings that each request is routed by: what it replaces goes before the router's own, and the role of the pool
 * before both, as Dynamo does it for the decode stage. Equal replacements share one object. Source: spec router sections 2.2 and 7.1.
 */
export function requestSpecs({ spec, role, asked }: Pick<RouterSetup, 'spec' | 'role' | 'asked'>): RequestSpecs {
  const own = roleSpec(spec, role);
  const replaced = new Map<number, RouterSpec>();
  const known = new Map<string, RouterSpec>();
  for (const [request, { override }] of asked?.hints ?? []) {
    if (!override) continue;
    const key = JSON.stringify(override);
    let changed = known.get(key);
    if (!changed) known.set(key, (changed = roleSpec(withOverride(spec, override), role)));
    replaced.set(request, changed);
  }
  return { own, replaced: replaced.size > 0 ? replaced : null };
}

/** The settings that a request is routed by. */
export function specOf({ own, replaced }: RequestSpecs, request: number): RouterSpec {
  return replaced === null ? own : (replaced.get(request) ?? own);
}

/** True where some request's equal prompt blocks count once. */
export function someShare({ own, replaced }: RequestSpecs): boolean {
  return own.assumeKvReuse || [...(replaced?.values() ?? [])].some(({ assumeKvReuse }) => assumeKvReuse);
}

/** Without `sharedCacheMultiplier`: there are no shared caches. */
function withOverride(spec: RouterSpec, override: RouterOverride): RouterSpec {
  return {
    ...spec,
    overlapScoreCredit: override.overlapScoreCredit ?? spec.overlapScoreCredit,
    prefillLoadScale: override.prefillLoadScale ?? spec.prefillLoadScale,
    temperature: override.temperature ?? spec.temperature,
    assumeKvReuse: override.assumeKvReuse ?? spec.assumeKvReuse,
    trackPrefillTokens: override.trackPrefillTokens ?? spec.trackPrefillTokens,
  };
}
