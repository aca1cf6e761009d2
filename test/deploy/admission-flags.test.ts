import { describe, expect, it } from 'vitest';
import { frontendCommand } from '../../src/deploy/commands.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { parseDynamoVersion } from '../../src/deploy/dynamo.js';

describe('frontend flags of queues, limits and affinity', () => {
  const line = (more: Partial<RouterSpec>, version = '1.4.0') => frontendCommand({ ...REPLAY_ROUTER, ...more }, parseDynamoVersion(version));

  it('says what was simulated', () => {
    expect(line({ queue: { policy: 'wspt', threshold: 0.5 } }).args.slice(-4)).toEqual(['--router-queue-threshold', '0.5', '--router-queue-policy', 'wspt']);
    expect(line({ overload: { decodeBlocks: 0.9, prefillTokens: 7, prefillFraction: 2 } }).args.slice(-6)).toEqual(['--active-decode-blocks-threshold', '0.9', '--active-prefill-tokens-threshold', '7', '--active-prefill-tokens-threshold-frac', '2']);
    expect(line({ policy: 'round_robin', affinity: { ttlMs: 60_000, soft: false } }).args).toEqual(['--router-mode', 'round-robin', '--router-session-affinity-ttl-secs', '60']);
  });

  it('sets one threshold in releases that queue by themselves, and switches their limits on', () => {
    const { args } = line({ queue: { policy: 'lcfs', threshold: 4 }, overload: { decodeBlocks: 1 } }, '1.2.0');
    expect(args.filter((arg) => arg === '--router-queue-threshold')).toHaveLength(1);
    expect(args.slice(-2)).toEqual(['--admission-control', 'token-capacity']);
  });

  it('refuses what a release has no flag for', () => {
    const paths = (more: Partial<RouterSpec>, version?: string) => line(more, version).problems.map(({ code, path }) => `${code} ${path}`);
    expect(paths({ queue: { policy: 'lcfs', threshold: 4 } })).toEqual(['E-UNSUPPORTED router.queue.policy']);
    expect(paths({ affinity: { ttlMs: 1000, soft: true } })).toEqual(['E-UNSUPPORTED router.affinity.soft']);
    expect(paths({ affinity: { ttlMs: 1000, soft: false, by: 'sibling_group' } })).toEqual(['E-UNSUPPORTED router.affinity.by']);
    expect(paths({ affinity: { ttlMs: 1000, soft: false } }, '1.2.0')).toEqual([expect.stringContaining('router.affinity')]);
  });
});
