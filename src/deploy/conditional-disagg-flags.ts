import type { RouterSpec } from '../scenario/scenario.js';
import type { DynamoVersion } from './dynamo.js';
import { FrontendFlags, type TooOld } from './frontend-flags.js';

const FLAG = '--router-conditional-disagg';

/** Frontend flags for requests that skip the prefill workers (spec: router section 7.2). `tooOld` words what a release cannot be given. */
export function conditionalDisaggFlags({ conditionalDisagg: spec }: RouterSpec, version: DynamoVersion, tooOld: TooOld): Pick<FrontendFlags, 'args' | 'problems'> {
  const flags = new FrontendFlags(version, tooOld);
  if (!spec) return flags;
  const { policy, islTokens, ratio, prefillBusy, decodeBusy } = spec;
  const words = [FLAG, `${FLAG}-policy`, policy];
  const add = (name: string, value: number | undefined): void => void (value !== undefined && words.push(`${FLAG}-${name}`, String(value)));
  if (policy !== 'prefill_load') {
    add('eff-isl-threshold', islTokens);
    add('eff-isl-ratio-threshold', ratio);
  }
  add('prefill-busy-threshold', prefillBusy);
  add('decode-busy-threshold', decodeBusy);
  flags.add('router.conditional_disagg', 'conditional disaggregation', '1.4', words);
  return flags;
}
