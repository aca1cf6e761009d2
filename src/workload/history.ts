import type { Problem } from '../core/problem.js';
import type { Workload } from './workload.js';

/**
 * Delta sessions are laid out before the run on the assumption that every turn makes its whole output.
 * Where a turn did not (rejected, or cut at the context length) and a later one was sent, the later prompts
 * were longer than in a real conversation by the missing tokens; one `W-HISTORY` says how often.
 *
 * @param outputTokens tokens each request emitted
 * @param wasSent whether a request arrived
 */
export function shortTurns(workload: Workload, outputTokens: Int32Array, wasSent: (request: number) => boolean): Problem[] {
  if (!workload.newTokens) return [];
  let turns = 0;
  let first = -1;
  for (let r = 0; r < workload.requestCount; r++) {
    const next = workload.nextTurn[r]!;
    if (next < 0 || outputTokens[r]! >= workload.outputTokens[r]! || !wasSent(next)) continue;
    if (turns++ === 0) first = r;
  }
  if (turns === 0) return [];
  const place = workload.source && { file: workload.source.file, line: workload.source.lines[first]! };
  const what = `${turns} ${turns === 1 ? 'turn' : 'turns'} of delta sessions made less output than asked, first here; the prompts after count it in full`;
  return [{ code: 'W-HISTORY', ...place, path: 'output_length', what, hint: 'give the engine more room, or shorten the outputs' }];
}
