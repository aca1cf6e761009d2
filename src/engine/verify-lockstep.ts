import { ABOUT, type Check } from '../core/check.js';
import type { BlockView } from './verify.js';

/**
 * The group's figures against its members, one by one. Source: spec fast-core sections 6 and 8.
 *
 * @param counted one zero per bucket, and so again afterwards
 */
export function verifyLockstep(check: Check, { sequences, running, group, blockTokens }: BlockView, counted: Int32Array): void {
  let members = 0;
  let knownTokens = 0;
  let longest = 0;
  let nextFinish = Infinity;
  for (let request = running.first; request >= 0; request = running.next[request]!) {
    const bucket = sequences.bucket[request]!;
    if (bucket < 0) continue;
    members++;
    counted[bucket]!++;
    const known = sequences.known(request);
    const left = sequences.finishTick[request]! - group.tick;
    knownTokens += known + group.tick - sequences.joinTick[request]!;
    longest = Math.max(longest, known + group.tick - sequences.joinTick[request]!);
    nextFinish = Math.min(nextFinish, left);
    check.equal(ABOUT.tokens, sequences.computed[request]!, known - 1, 'a member has computed all it knows but one token', request);
    check.that(ABOUT.tokens, left > 0, 'a member has tokens to come', request);
    const crossing = sequences.joinTick[request]! - sequences.computed[request]!;
    check.that(ABOUT.blocks, (crossing - bucket) % blockTokens === 0, 'a member is in the bucket of its next block', request);
  }
  check.equal(ABOUT.requests, group.count, members, 'the group counts its members');
  check.equal(ABOUT.tokens, group.knownTokens, knownTokens, 'known tokens of the group = sum over its members');
  check.equal(ABOUT.tokens, group.longestKnown(running.first), longest, 'the longest of the group = the longest of its members');
  check.equal(ABOUT.tokens, group.nextFinish(), nextFinish, 'the heap knows who finishes first');
  verifyWheel(check, group, blockTokens, counted);
}

/** From one bucket that is marked as filled to the next. */
function verifyWheel(check: Check, group: BlockView['group'], blockTokens: number, counted: Int32Array): void {
  let members = 0;
  for (let ahead = group.nextCrossing(0); ahead < blockTokens; ahead = group.nextCrossing(ahead + 1)) {
    const bucket = group.crossingBucket(ahead);
    members += counted[bucket]!;
    check.that(ABOUT.blocks, counted[bucket]! > 0, 'the bitmap marks only buckets that have members');
    check.equal(ABOUT.blocks, group.crossing(ahead), counted[bucket]!, 'the wheel counts the members of a bucket');
    counted[bucket] = 0;
  }
  check.equal(ABOUT.blocks, members, group.count, 'the buckets of the wheel have all members');
}
