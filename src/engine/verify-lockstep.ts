import { ABOUT, type Check } from '../core/check.js';
import type { BlockView } from './verify.js';

/** Members of each bucket, counted again. */
let counted = new Int32Array(0);

/** The group's figures against its members, one by one. Source: spec fast-core sections 6 and 8. */
export function verifyLockstep(check: Check, { sequences, running, group, blockTokens }: Pick<BlockView, 'sequences' | 'running' | 'group' | 'blockTokens'>): void {
  if (counted.length < blockTokens) counted = new Int32Array(blockTokens);
  let members = 0;
  let knownTokens = 0;
  let nextFinish = Infinity;
  for (let request = running.first; request >= 0; request = running.next[request]!) {
    const bucket = sequences.bucket[request]!;
    if (bucket < 0) continue;
    members++;
    counted[bucket]!++;
    const known = sequences.known(request);
    const left = sequences.finishTick[request]! - group.tick;
    knownTokens += known + group.tick - sequences.joinTick[request]!;
    nextFinish = Math.min(nextFinish, left);
    check.equal(ABOUT.tokens, sequences.computed[request]!, known - 1, 'a member has computed all it knows but one token', request);
    check.that(ABOUT.tokens, left > 0, 'a member has tokens to come', request);
    const crossing = sequences.joinTick[request]! - sequences.computed[request]!;
    check.that(ABOUT.blocks, (crossing - bucket) % blockTokens === 0, 'a member is in the bucket of its next block', request);
  }
  check.equal(ABOUT.requests, group.count, members, 'the group counts its members');
  check.equal(ABOUT.tokens, group.knownTokens, knownTokens, 'known tokens of the group = sum over its members');
  check.equal(ABOUT.tokens, group.nextFinish(), nextFinish, 'the heap knows who finishes first');
  verifyWheel(check, group, blockTokens);
}

function verifyWheel(check: Check, group: BlockView['group'], blockTokens: number): void {
  let wrong = 0;
  for (let bucket = 0; bucket < blockTokens; bucket++) {
    const count = counted[bucket]!;
    if (count !== group.membersIn(bucket) || count > 0 !== group.isFilled(bucket)) wrong++;
    counted[bucket] = 0;
  }
  check.equal(ABOUT.blocks, wrong, 0, 'the wheel counts the members of each bucket, its bitmap marks those that have any; wrong buckets');
}
