import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { isCommandPath } from './paths.js';
import type { RouterSpec, Scenario } from './scenario.js';

/** JSON with sorted keys and no spaces; numbers in their shortest round-trip form. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/**
 * SHA-256 (hex) of the canonical resolved scenario. A trace, a planner profile and what a router runs or follows count by their file names: their paths
 * depend on the current folder.
 */
export function scenarioHash(scenario: Scenario): string {
  const { source } = scenario.workload;
  const named = source.kind === 'trace' ? { ...source, path: posix.basename(source.path) } : source;
  const timing = scenario.timing.path === undefined ? scenario.timing : { ...scenario.timing, path: posix.basename(scenario.timing.path) };
  return createHash('sha256').update(canonicalJson({ ...scenario, router: namedFiles(scenario.router), timing, workload: { ...scenario.workload, source: named } })).digest('hex');
}

/** A router whose files are named without their folders. */
function namedFiles(router: RouterSpec): RouterSpec {
  const { module, exec, routes, queueClasses } = router;
  return {
    ...router,
    ...(module && { module: { ...module, path: posix.basename(module.path) } }),
    ...(exec && { exec: { ...exec, command: exec.command.map((word) => (isCommandPath(word) ? posix.basename(word) : word)) } }),
    ...(routes && { routes: { ...routes, path: posix.basename(routes.path) } }),
    ...(queueClasses && { queueClasses: { ...queueClasses, path: posix.basename(queueClasses.path) } }),
  };
}

/** `c-` and 10 hex digits of the hash. */
export function candidateId(scenario: Scenario): string {
  return `c-${scenarioHash(scenario).slice(0, 10)}`;
}
