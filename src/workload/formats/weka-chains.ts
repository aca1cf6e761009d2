/** A request of a Weka play. Times in seconds. */
export interface WekaRequest {
  /** Unique in its play. */
  readonly id: string;
  /** Position among its siblings in the file. */
  readonly order: number;
  readonly startS: number;
  readonly endS: number;
  readonly model: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly hashes: readonly (number | bigint)[];
  /** Index of the entry in `requests`, and within a sub-agent. */
  readonly path: readonly (string | number)[];
}

/** A conversation: each request extends the one before. */
export interface Chain {
  requests: WekaRequest[];
  /** Request this chain branched off from. */
  fork: WekaRequest | null;
}

/** Times closer than this are equal, s. */
export const EPSILON_S = 1e-6;
/** A chain is re-joined to the one it branched from unless it starts later than this after its end, s … */
const SEAM_GAP_S = 3600;
/** … and shares less than this part of its prompt. */
const SEAM_OVERLAP = 0.5;
/** A first request with more output than this, one of whose blocks comes back, is no preamble. */
const PREAMBLE_TOKENS = 64;

interface OpenChain extends Chain {
  /** Last request with hashes. */
  tail: WekaRequest | null;
  depth: number;
  forkS: number;
  joined: boolean;
}

/**
 * Splits the requests of one level into conversations, the main one (that starts first) leading. A request extends the
 * chain with the longest tail that its own hashes begin with, of the same model, and whose tail has ended by then; else it forks
 * from the chain that shares most with it. Forks from a chain's last request are then re-joined to it, the one that
 * shares most first. A first request that shares nothing with the others opens the main chain.
 * Source: workload spec, section 1.7; compat S7.
 */
export function detectChains(unsorted: readonly WekaRequest[]): Chain[] {
  const requests = [...unsorted].sort(byTime);
  const preamble = opensAlone(requests) ? requests.shift()! : null;
  const chains: OpenChain[] = [];
  for (const request of requests) {
    const target = request.hashes.length === 0 ? chains[0] : extended(chains, request);
    if (target) extend(target, request);
    else if (chains.every(({ tail }) => tail === null) && chains.length > 0) extend(chains[0]!, request);
    else chains.push(forked(chains, request));
  }
  rejoin(chains);
  const live = chains.filter(({ joined }) => !joined).sort((a, b) => byTime(a.requests[0]!, b.requests[0]!));
  if (preamble) live[0]!.requests = [preamble, ...live[0]!.requests].sort(byTime);
  return live;
}

function byTime(a: WekaRequest, b: WekaRequest): number {
  return a.startS - b.startS || a.order - b.order;
}

function opensAlone(requests: readonly WekaRequest[]): boolean {
  const [first, ...others] = requests;
  if (!first || others.length === 0 || first.hashes.length === 0) return false;
  if (others.some(({ hashes }) => common(first.hashes, hashes) > 0)) return false;
  if (first.outputTokens <= PREAMBLE_TOKENS) return true;
  const seen = new Set(others.flatMap(({ hashes }) => hashes));
  return !first.hashes.some((hash) => seen.has(hash));
}

function extend(chain: OpenChain, request: WekaRequest): void {
  if (request.hashes.length > 0) chain.tail = request;
  chain.requests.push(request);
}

function extended(chains: readonly OpenChain[], request: WekaRequest): OpenChain | undefined {
  let best: OpenChain | undefined;
  for (const chain of chains) {
    const { tail } = chain;
    if (!tail || tail.model !== request.model || tail.endS > request.startS + EPSILON_S) continue;
    if (common(tail.hashes, request.hashes) < tail.hashes.length) continue;
    if (!best || tail.hashes.length > best.tail!.hashes.length) best = chain;
  }
  return best;
}

/** A new chain; from the one whose tail shares most with it, of several the longer tail. */
function forked(chains: readonly OpenChain[], request: WekaRequest): OpenChain {
  let from: WekaRequest | null = null;
  let depth = 0;
  for (const { tail } of chains) {
    const shared = tail ? common(tail.hashes, request.hashes) : 0;
    if (shared > depth || (shared > 0 && shared === depth && tail!.hashes.length > from!.hashes.length)) [from, depth] = [tail, shared];
  }
  const chain: OpenChain = { requests: [], fork: from, tail: null, depth, forkS: request.startS, joined: false };
  extend(chain, request);
  return chain;
}

function rejoin(chains: readonly OpenChain[]): void {
  for (const owner of chains) {
    while (!owner.joined && owner.tail) {
      const { tail } = owner;
      const forks = chains.filter((chain) => chain !== owner && !chain.joined && chain.fork === tail);
      const elected = forks.filter((chain) => continues(chain, tail)).sort((a, b) => b.depth - a.depth || a.forkS - b.forkS)[0];
      if (!elected) break;
      owner.requests.push(...elected.requests);
      owner.tail = elected.tail;
      elected.joined = true;
      for (const chain of forks) {
        const depth = chain.joined ? 0 : common(owner.tail!.hashes, chain.requests[0]!.hashes);
        if (depth > 0) Object.assign(chain, { fork: owner.tail, depth });
      }
    }
  }
}

function continues(chain: OpenChain, tail: WekaRequest): boolean {
  const first = chain.requests[0]!;
  const gapS = first.startS - tail.endS;
  const overlap = chain.depth / Math.max(1, tail.hashes.length);
  return gapS >= -EPSILON_S && first.model === tail.model && !(gapS > SEAM_GAP_S && overlap < SEAM_OVERLAP);
}

function common(a: readonly (number | bigint)[], b: readonly (number | bigint)[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
