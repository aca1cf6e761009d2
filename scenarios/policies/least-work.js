/**
 * A routing policy of one's own: the worker that would have the fewest prompt tokens to compute, counting those it is
 * busy with; a session stays where it is while that means at most eight blocks more.
 *
 * @type {import('dynotwin').PolicyModule['createPolicy']}
 */
export function createPolicy(pool) {
  const SLACK_TOKENS = 8 * pool.blockTokens;
  const home = new Map();
  return {
    select(request, candidates, state) {
      const work = (candidate) => candidate.activePrefillTokens + request.promptTokens - candidate.cachedTokens;
      const least = Math.min(...candidates.map(work));
      const best = candidates.filter((candidate) => work(candidate) === least);
      const known = candidates.find(({ worker }) => worker === home.get(request.session));
      const chosen = known && work(known) <= least + SLACK_TOKENS ? known : best[state.random.integer(best.length)];
      home.set(request.session, chosen.worker);
      return chosen;
    },
  };
}
