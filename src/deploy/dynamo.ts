import { InputError } from '../core/problem.js';

/** The two served versions of the DynamoGraphDeployment API. */
export type DgdApi = 'v1alpha1' | 'v1beta1';

/** Releases of Dynamo and the vLLM in their runtime image, newest first (spec: dgd section 3.1). */
const RELEASES: readonly { readonly dynamo: string; readonly vllm: string }[] = [
  { dynamo: '1.3.0', vllm: '0.24.0' },
  { dynamo: '1.2.0', vllm: '0.20.1' },
  { dynamo: '1.1.0', vllm: '0.19.0' },
  { dynamo: '1.0.0', vllm: '0.16.0' },
  { dynamo: '0.9.0', vllm: '0.14.1' },
  { dynamo: '0.8.0', vllm: '0.12.0' },
];
const OLDEST = '0.8';
/** Newest line whose flags are known (its development branch). */
export const NEWEST_DYNAMO = '1.4.0';

/** A Dynamo release as `M.m.p`. */
export interface DynamoVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

/** Reads `M.m.p`. Throws `E-TYPE` for another form and `E-UNSUPPORTED` for a release whose flags are not known. */
export function parseDynamoVersion(text: string): DynamoVersion {
  const match = /^(\d{1,4})\.(\d{1,4})\.(\d{1,4})$/.exec(text);
  if (match === null) {
    throw new InputError({ code: 'E-TYPE', path: '--dynamo', what: `'${text}' is not a release`, hint: `write major.minor.patch, such as ${RELEASES[0]!.dynamo}` });
  }
  const version = { major: Number(match[1]), minor: Number(match[2]), text };
  if (!atLeast(version, OLDEST) || line(version) > line(readLine(NEWEST_DYNAMO))) {
    throw new InputError({ code: 'E-UNSUPPORTED', path: '--dynamo', what: `Dynamo ${text} is not known here`, hint: `choose a release from ${OLDEST} to ${NEWEST_DYNAMO}` });
  }
  return version;
}

/** True when `version` belongs to release line `since` (`M.m`) or a later one. */
export function atLeast(version: Pick<DynamoVersion, 'major' | 'minor'>, since: string): boolean {
  return line(version) >= line(readLine(since));
}

/** vLLM version in the runtime image of this release; null = not known. */
export function pinnedVllm(version: DynamoVersion): string | null {
  return RELEASES.find((release) => line(readLine(release.dynamo)) === line(version))?.vllm ?? null;
}

/** The release whose image carries this vLLM; the newest one when none does. */
export function dynamoForVllm(vllm: string): string {
  return (RELEASES.find((release) => release.vllm === vllm) ?? RELEASES[0]!).dynamo;
}

/** v1beta1 is served from 1.2 on; older operators know v1alpha1 only (spec: dgd section 1). */
export function defaultApi(version: DynamoVersion): DgdApi {
  return atLeast(version, '1.2') ? 'v1beta1' : 'v1alpha1';
}

/** The runtime image of workers and frontend. */
export function runtimeImage(version: DynamoVersion): string {
  return `nvcr.io/nvidia/ai-dynamo/vllm-runtime:${version.text}`;
}

/** True when the operator can read a version off the tag: `[vV]M.m.p[-pre][+build]`, digest ignored (spec: dgd section 8 rule 2). */
export function hasVersionTag(image: string): boolean {
  const tag = /:([^:/@]+)(?:@.*)?$/.exec(image)?.[1] ?? '';
  return /^[vV]?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.test(tag);
}

function readLine(text: string): { major: number; minor: number } {
  const [major, minor] = text.split('.').map(Number);
  return { major: major!, minor: minor! };
}

function line(version: { readonly major: number; readonly minor: number }): number {
  return version.major * 10_000 + version.minor;
}
