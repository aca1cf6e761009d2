/** Settings of a KV router that one request replaces; absent = the router's own. Source: spec router section 2.2. */
export interface RouterOverride {
  readonly overlapScoreCredit?: number;
  readonly prefillLoadScale?: number;
  readonly temperature?: number;
  readonly assumeKvReuse?: boolean;
  readonly trackPrefillTokens?: boolean;
  readonly sharedCacheMultiplier?: number;
}

/** What one request asks of routers and caches. */
export interface RequestHints {
  /** Class of a router's queue, or family of classes. */
  readonly policyClass?: string;
  /** Taints its worker must have, weights of those it had better have, and the only workers it may go to. */
  readonly requiredTaints?: readonly string[];
  readonly preferredTaints?: Readonly<Record<string, number>>;
  readonly allowedWorkers?: readonly number[];
  /** The worker it goes to, and the data-parallel rank there; where prompts have workers of their own, the decode worker… */
  readonly worker?: number;
  readonly rank?: number;
  /** …and this is the prefill worker. */
  readonly prefillWorker?: number;
  readonly prefillRank?: number;
  /** Output tokens that a router may expect. */
  readonly expectedOutputTokens?: number;
  /** Time for which its prompt is to stay cached, ms. */
  readonly retainMs?: number;
  readonly override?: RouterOverride;
}
