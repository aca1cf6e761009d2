import type { ConditionalDisaggSpec } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';

/** What a router would do with a request now, without doing it. Reused: read before the next look. */
export interface Outlook {
  /** The worker it would take. */
  worker: number;
  /** Prefix of the prompt that this worker caches, as far as the router has heard, tokens. */
  cachedTokens: number;
  /** Blocks of that worker's active requests and of this one; NaN where blocks are not counted. */
  potentialBlocks: number;
  /** Prompt tokens that it has still to compute. */
  prefillTokens: number;
}

/** A pool's router as conditional disaggregation looks at it. */
export interface PeekablePool {
  /**
   * Chooses as `route` would, books nothing; null = the request would be turned away. Draws what that choice draws, and
   * nothing where the worker is known beforehand.
   */
  peek(request: number): Outlook | null;
  /** The draws of the last `peek` count as not made. */
  putBack(): void;
}

/** Of a pool, per rank. */
export interface PoolSize {
  readonly kvBlocks: number;
  readonly batchTokens: number;
}

/** Little of the prompt is to be computed: in tokens, and as a share of it. */
export function isShort({ islTokens, ratio }: ConditionalDisaggSpec, promptTokens: number, cachedTokens: number): boolean {
  const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
  return uncachedTokens < islTokens && uncachedTokens / Math.max(promptTokens, 1) < ratio;
}

/** The prefill worker has more prompt tokens before it than the threshold; so it counts where a request would be turned away (null). */
export function isBusy({ prefillBusy }: ConditionalDisaggSpec, prefillTokens: number | null, batchTokens: number): boolean {
  return prefillTokens === null || (prefillBusy !== undefined && prefillTokens > prefillBusy * batchTokens);
}

/** The decode worker would not pass its threshold; without one there is always room, and with one never where its load or its size is not known. */
export function hasRoom({ decodeBusy }: ConditionalDisaggSpec, potentialBlocks: number, kvBlocks: number | null): boolean {
  return decodeBusy === undefined || (kvBlocks !== null && potentialBlocks <= decodeBusy * kvBlocks);
}

/**
 * Says which requests of a disaggregated deployment a decode worker takes whole, its prompt included. The decode router
 * is asked first, the prefill router where prompt load matters. Draws are kept where a request is taken: the decode
 * router has then chosen; else both generators stand as they stood, and the request is routed as if nobody had looked.
 * Nobody looks where a request names its prefill worker. Source: spec router section 7.2.
 */
export class BypassRule {
  constructor(
    private readonly spec: ConditionalDisaggSpec,
    private readonly promptTokens: ArrayLike<number>,
    private readonly prefill: PeekablePool & { readonly size: PoolSize },
    private readonly decode: PeekablePool & { readonly size: PoolSize },
    private readonly hints?: Workload['hints'],
  ) {}

  /** The decode worker that takes this request, and what it caches of it; null = it goes through a prefill worker. */
  outlook(request: number): Outlook | null {
    if (this.hints?.get(request)?.prefillWorker !== undefined) return null;
    const seen = this.decode.peek(request);
    if (seen !== null && this.mayBypass(request, seen)) return seen;
    this.decode.putBack();
    return null;
  }

  private mayBypass(request: number, { cachedTokens, potentialBlocks }: Outlook): boolean {
    const { spec, decode } = this;
    if (!hasRoom(spec, potentialBlocks, decode.size.kvBlocks)) return false;
    return (spec.policy !== 'prefill_load' && isShort(spec, this.promptTokens[request]!, cachedTokens)) || (spec.policy !== 'isl_bounding' && this.prefillIsBusy(request));
  }

  private prefillIsBusy(request: number): boolean {
    const { prefill, spec } = this;
    const seen = prefill.peek(request);
    prefill.putBack();
    return isBusy(spec, seen?.prefillTokens ?? null, prefill.size.batchTokens);
  }
}
