import type { RouterSpec } from '../scenario/scenario.js';
import { atLeast, type DynamoVersion } from './dynamo.js';
import { FrontendFlags, type TooOld } from './frontend-flags.js';

/**
 * Frontend flags for what a router holds back, turns away or keeps together (spec: router sections 2.1, 7.4, 7.5).
 * `tooOld` words what a release cannot be given.
 */
export function admissionFlags({ queue, queueClasses, overload, affinity }: RouterSpec, version: DynamoVersion, tooOld: TooOld): Pick<FrontendFlags, 'args' | 'problems'> {
  const flags = new FrontendFlags(version, tooOld);
  const { args, problems } = flags;
  if (queue) flags.add('router.queue', 'a queue', '1.0', ['--router-queue-threshold', String(queue.threshold)]);
  if (queue && queue.policy !== 'fcfs') {
    // From 1.4 on the flag takes two policies; the third is for files of policy classes.
    if (queue.policy === 'lcfs' && atLeast(version, '1.4')) problems.push({ code: 'E-UNSUPPORTED', path: 'router.queue.policy', what: 'no flag of this release sets lcfs', hint: 'use fcfs or wspt' });
    else flags.add('router.queue.policy', `policy ${queue.policy}`, '1.2', ['--router-queue-policy', queue.policy]);
  }
  if (queueClasses) problems.push({ code: 'E-UNSUPPORTED', path: 'router.queue.classes', what: 'the manifest mounts no files', hint: "deploy without classes, then mount the file from a ConfigMap and give the frontend '--router-policy-config PATH'" });
  const limits: readonly (readonly [string, string, number | undefined])[] = [
    ['decode_blocks', '--active-decode-blocks-threshold', overload?.decodeBlocks],
    ['prefill_tokens', '--active-prefill-tokens-threshold', overload?.prefillTokens],
    ['prefill_fraction', '--active-prefill-tokens-threshold-frac', overload?.prefillFraction],
  ];
  for (const [name, flag, limit] of limits) if (limit !== undefined) flags.add(`router.overload.${name}`, 'a limit', '1.2', [flag, String(limit)]);
  if (overload && atLeast(version, '1.2') && !atLeast(version, '1.4')) args.push('--admission-control', 'token-capacity');
  if (affinity) flags.add('router.affinity', 'affinity', '1.4', ['--router-session-affinity-ttl-secs', String(Math.max(1, Math.round(affinity.ttlMs / 1000)))]);
  if (affinity?.by) problems.push({ code: 'E-UNSUPPORTED', path: 'router.affinity.by', what: 'the frontend keeps sessions, not groups of them', hint: 'deploy with by: session' });
  if (affinity?.soft) problems.push({ code: 'E-UNSUPPORTED', path: 'router.affinity.soft', what: 'the flag for soft affinity is not known', hint: 'deploy with soft: false' });
  return flags;
}
