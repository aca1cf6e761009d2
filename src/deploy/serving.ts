import type { Problem } from '../core/problem.js';
import { atLeast, type DynamoVersion } from './dynamo.js';
import { fieldsOf, flagValue, isWorker, listOf, type ComponentView, type Fields } from './view.js';

/** Ports the operator gives to workers: system, NIXL, forward-pass metrics. */
const RESERVED_PORTS: readonly number[] = [9090, 19090, 20380];

/** What the components must say so that requests are served (spec: dgd sections 2.4, 2.5, 8). */
export function checkServing(object: Fields, components: readonly ComponentView[], version: DynamoVersion): Problem[] {
  return [
    ...checkBackends(object, components),
    ...components.filter((component) => backendOf(component) === 'vllm').flatMap((component) => checkVllmWorker(component, version)),
    ...checkBlockSizes(components),
    ...checkRoles(components),
    ...checkEvents(components),
  ];
}

/** The engine the operator sees in the command of a worker; null = none. */
function backendOf(component: ComponentView): string | null {
  if (!isWorker(component)) return null;
  return /python\S*\s(?:.*\s)?-m\s.*?dynamo\.(vllm|sglang|trtllm)\b/.exec(component.words.join(' '))?.[1] ?? null;
}

/** Rule 11. */
function checkBackends(object: Fields, components: readonly ComponentView[]): Problem[] {
  const declared = fieldsOf(object['spec'])['backendFramework'];
  const found = [...new Set(components.map(backendOf).filter((backend) => backend !== null))];
  if (found.length > 1) return [{ code: 'E-CONFLICT', path: 'spec', what: `workers of different engines: ${found.join(', ')}` }];
  if (declared === undefined || found.length === 0 || found[0] === declared) return [];
  return [{ code: 'E-CONFLICT', path: 'spec.backendFramework', what: `'${String(declared)}' is set and the workers run ${found[0]!}` }];
}

function checkVllmWorker(component: ComponentView, version: DynamoVersion): Problem[] {
  return [...checkGpus(component), ...checkTransfer(component, version), ...checkEventPort(component)];
}

function checkGpus({ path, words, gpusPerPod, nodeCount }: ComponentView): Problem[] {
  const flags = ['--tensor-parallel-size', '--pipeline-parallel-size', '--data-parallel-size'];
  const unseen = words.find((word) => /^-(tp|pp|dp)(=|$)/.test(word) || flags.some((flag) => word.startsWith(`${flag}=`)));
  if (nodeCount > 1 && unseen !== undefined) {
    return [{ code: 'E-COMBINATION', path, what: `with several nodes the operator does not read '${unseen}'`, hint: 'write the long flag and its value apart' }];
  }
  const read = (flag: string, short: string): number => Number(flagValue(words, flag) ?? flagValue(words, short) ?? 1);
  const parallel = read(flags[0]!, '-tp') * read(flags[1]!, '-pp') * read(flags[2]!, '-dp');
  const granted = gpusPerPod * nodeCount;
  if (parallel === granted) return [];
  return [{ code: 'E-FIT', path, what: `the command uses ${parallel} GPUs and the pods of a replica have ${granted}` }];
}

function checkTransfer({ path, type, words }: ComponentView, version: DynamoVersion): Problem[] {
  const connectors = connectorWords(words);
  const problems: Problem[] = [];
  if (connectors.length > 0 && atLeast(version, '1.0')) {
    problems.push({ code: 'E-UNSUPPORTED', path, what: `Dynamo ${version.text} rejects --connector`, hint: 'use --kv-transfer-config' });
  }
  if (type === 'prefill' && connectors.length === 0 && flagValue(words, '--kv-transfer-config') === null) {
    problems.push({ code: 'E-MISSING', path, what: 'a prefill worker needs --kv-transfer-config' });
  }
  if (type === 'decode' && (connectors.includes('kvbm') || words.some((word) => word.includes('DynamoConnector')))) {
    problems.push({ code: 'E-COMBINATION', path, what: 'KVBM attaches to aggregated and prefill workers, not to decode' });
  }
  return problems;
}

/** The values of `--connector`, which takes several. */
function connectorWords(words: readonly string[]): readonly string[] {
  const start = words.indexOf('--connector');
  if (start < 0) return [];
  const rest = words.slice(start + 1);
  const end = rest.findIndex((word) => word.startsWith('-'));
  return end < 0 ? rest : rest.slice(0, end);
}

function checkEventPort({ path, words }: ComponentView): Problem[] {
  const port = Number(/"endpoint"\s*:\s*"[^"]*:(\d+)"/.exec(words.join(' '))?.[1]);
  return RESERVED_PORTS.includes(port) ? [{ code: 'E-CONFLICT', path, what: `port ${port} of the KV events is taken by the operator` }] : [];
}

/** Prefill and decode must cut the cache alike. */
function checkBlockSizes(components: readonly ComponentView[]): Problem[] {
  const size = (type: string): { component: ComponentView; value: string | null }[] =>
    components.filter((component) => component.type === type && backendOf(component) === 'vllm').map((component) => ({ component, value: flagValue(component.words, '--block-size') }));
  const first = size('prefill')[0];
  if (first === undefined) return [];
  return size('decode')
    .filter(({ value }) => value !== first.value)
    .map(({ component, value }) => ({ code: 'E-COMBINATION', path: component.path, what: `block size ${value ?? 'unset'} here and ${first.value ?? 'unset'} on prefill` }));
}

function checkRoles(components: readonly ComponentView[]): Problem[] {
  const has = (type: string): boolean => components.some((component) => component.type === type);
  const problems: Problem[] = [];
  for (const { path } of components.filter(({ type }) => type === 'epp').slice(1)) problems.push({ code: 'E-DUPLICATE', path, what: 'a deployment has at most one epp' });
  if (!has('frontend') && !has('epp')) problems.push({ code: 'W-COMPAT', path: 'spec', what: 'no frontend: the deployment cannot be reached' });
  if (has('prefill') !== has('decode')) problems.push({ code: 'W-COMPAT', path: 'spec', what: `a ${has('prefill') ? 'prefill' : 'decode'} worker without its partner` });
  if (has('planner')) {
    for (const { path } of components.filter((component) => isWorker(component) && !component.scalingAdapter)) {
      problems.push({ code: 'W-COMPAT', path, what: 'the planner cannot scale a worker without scalingAdapter' });
    }
  }
  return problems;
}

/** KV routing by events needs workers that publish them. */
function checkEvents(components: readonly ComponentView[]): Problem[] {
  const frontend = components.find((component) => component.type === 'frontend');
  if (frontend === undefined || routerMode(frontend) !== 'kv' || frontend.words.some((word) => word === '--no-router-kv-events' || word === '--no-kv-events')) return [];
  const decodePublishes = frontend.words.includes('--router-conditional-disagg');
  return components
    .filter((component) => backendOf(component) === 'vllm' && (component.type !== 'decode' || decodePublishes) && flagValue(component.words, '--kv-events-config') === null)
    .map(({ path }) => ({ code: 'W-COMPAT', path, what: 'the router reads KV events and this worker publishes none' }));
}

function routerMode({ words, main, raw }: ComponentView): string | null {
  const variables = [...listOf(raw['envs']), ...listOf(main?.['env'])].map(fieldsOf);
  return flagValue(words, '--router-mode') ?? (variables.findLast(({ name }) => name === 'DYN_ROUTER_MODE')?.['value'] as string | undefined) ?? null;
}
