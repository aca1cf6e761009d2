import type { Problem } from '../core/problem.js';
import { COMPONENT_NAME } from './names.js';
import { fieldsOf, listOf, type Fields } from './view.js';

/** What a field may hold. */
interface Kind {
  readonly expected: string;
  readonly accepts: (value: unknown) => boolean;
}
type Shape = Readonly<Record<string, Kind>>;

const isMap = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const text: Kind = { expected: 'text', accepts: isText };
const flag: Kind = { expected: 'true or false', accepts: (value) => typeof value === 'boolean' };
const map: Kind = { expected: 'a mapping', accepts: isMap };
const list: Kind = { expected: 'a list', accepts: Array.isArray };
const texts: Kind = { expected: 'a list of text (quote numbers)', accepts: (value) => Array.isArray(value) && value.every(isText) };
const textMap: Kind = { expected: 'a mapping to text', accepts: (value) => isMap(value) && Object.values(value).every(isText) };
const quantity: Kind = {
  expected: 'a quantity that is not negative, such as 16Gi',
  accepts: (value) => (typeof value === 'number' ? Number.isInteger(value) && value >= 0 : typeof value === 'string' && /^\+?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[munkMGTPE]|[eE][-+]?\d+)?$/.test(value)),
};
const oneOf = (...values: readonly string[]): Kind => ({ expected: `one of ${values.join(', ')}`, accepts: (value) => values.includes(value as string) });
const integer = (least: number): Kind => ({ expected: `an integer of at least ${least}`, accepts: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) < 2 ** 31 });
const matching = (pattern: RegExp, expected: string): Kind => ({ expected, accepts: (value) => typeof value === 'string' && pattern.test(value) });

const domain = matching(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a domain of a-z, 0-9 and inner hyphens');
const version = matching(/^(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})$/, 'a release as major.minor.patch');
const framework = oneOf('sglang', 'vllm', 'trtllm');
const componentName: Kind = { expected: '1 to 63 letters, digits and inner hyphens', accepts: (value) => typeof value === 'string' && value.length <= 63 && COMPONENT_NAME.test(value) };

const COMMON_SPEC: Shape = { annotations: textMap, labels: textMap, backendFramework: framework, priorityClassName: text, restart: map, topologyConstraint: map, experimental: map };
const BETA_SPEC: Shape = { ...COMMON_SPEC, env: list, components: list };
const ALPHA_SPEC: Shape = { ...COMMON_SPEC, envs: list, services: map, pvcs: list };

const COMMON_COMPONENT: Shape = {
  replicas: integer(0), minAvailable: integer(1), multinode: map, modelRef: map, globalDynamoNamespace: flag, topologyConstraint: map,
  scalingAdapter: map, frontendSidecar: text, eppConfig: map, runtimeVersionOverride: version,
};
const BETA_COMPONENT: Shape = {
  ...COMMON_COMPONENT, name: componentName, type: oneOf('frontend', 'worker', 'prefill', 'decode', 'planner', 'epp'), podTemplate: map, sharedMemorySize: quantity,
  compilationCache: map, experimental: map,
};
const ALPHA_SERVICE: Shape = {
  ...COMMON_COMPONENT, componentType: text, subComponentType: text, resources: map, envs: list, envFromSecret: text, sharedMemory: map, volumeMounts: list,
  extraPodSpec: map, extraPodMetadata: map, annotations: textMap, labels: textMap, livenessProbe: map, readinessProbe: map, ingress: map, serviceName: text,
  checkpoint: map, failover: map, gpuMemoryService: map, autoscaling: map, dynamoNamespace: text,
};
const MULTINODE: Shape = { nodeCount: integer(2) };
const ALPHA_RESOURCES: Shape = { requests: map, limits: map, claims: list };
const ALPHA_DEVICES: Shape = { cpu: text, memory: text, gpu: text, gpuType: text, custom: textMap };
const KV_TRANSFER: Shape = {
  domain, labelKey: text, clusterTopologyName: text, enforcement: oneOf('required', 'preferred'),
  preferredWeight: { expected: 'a number from 0 to 1', accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1 },
};
const MAX_COMPONENTS = 25;

/** Fields, types and enumerations of both API versions (spec: dgd section 1); the contents of pod specs only where they matter here. */
export function checkShape(manifest: Fields): Problem[] {
  const beta = manifest['apiVersion'] === 'nvidia.com/v1beta1';
  const spec = fieldsOf(manifest['spec']);
  const problems = nulls(manifest, '');
  problems.push(...checkFields(spec, 'spec', beta ? BETA_SPEC : ALPHA_SPEC));
  problems.push(...checkTopology(spec['topologyConstraint'], 'spec.topologyConstraint', beta));
  problems.push(...checkKvTransfer(fieldsOf(spec['experimental'])['kvTransferPolicy']));
  if (beta) listOf(spec['components']).forEach((component, index) => problems.push(...checkBetaComponent(component, `spec.components.${index}`)));
  else for (const [name, service] of Object.entries(fieldsOf(spec['services']))) problems.push(...checkAlphaService(name, service, `spec.services.${name}`));
  const count = beta ? listOf(spec['components']).length : 0;
  if (count > MAX_COMPONENTS) problems.push({ code: 'E-RANGE', path: 'spec.components', what: `${count} components are more than ${MAX_COMPONENTS}` });
  return problems;
}

function checkBetaComponent(component: unknown, path: string): Problem[] {
  if (!isMap(component)) return [wrongType(path, map)];
  const problems = checkFields(component, path, BETA_COMPONENT);
  if (component['name'] === undefined) problems.push({ code: 'E-MISSING', path: `${path}.name`, what: 'a component needs a name' });
  const containers = listOf(fieldsOf(fieldsOf(component['podTemplate'])['spec'])['containers']);
  containers.forEach((container, index) => problems.push(...checkContainer(container, `${path}.podTemplate.spec.containers.${index}`)));
  return [...problems, ...checkFields(component['multinode'], `${path}.multinode`, MULTINODE), ...checkFields(component['topologyConstraint'], `${path}.topologyConstraint`, { packDomain: domain })];
}

function checkAlphaService(name: string, service: unknown, path: string): Problem[] {
  if (!isMap(service)) return [wrongType(path, map)];
  const resources = fieldsOf(service['resources']);
  return [
    ...(componentName.accepts(name) ? [] : [wrongType(path, componentName)]),
    ...checkFields(service, path, ALPHA_SERVICE),
    ...checkFields(service['multinode'], `${path}.multinode`, MULTINODE),
    ...checkFields(service['topologyConstraint'], `${path}.topologyConstraint`, { packDomain: domain }),
    ...checkFields(service['scalingAdapter'], `${path}.scalingAdapter`, { enabled: flag }),
    ...checkFields(service['sharedMemory'], `${path}.sharedMemory`, { size: quantity, disabled: flag }),
    ...checkFields(service['resources'], `${path}.resources`, ALPHA_RESOURCES),
    ...['requests', 'limits'].flatMap((side) => checkFields(resources[side], `${path}.resources.${side}`, ALPHA_DEVICES)),
    ...checkContainer(fieldsOf(service['extraPodSpec'])['mainContainer'], `${path}.extraPodSpec.mainContainer`),
  ];
}

function checkContainer(container: unknown, path: string): Problem[] {
  if (container === undefined) return [];
  if (!isMap(container)) return [wrongType(path, map)];
  const known: readonly (readonly [string, Kind])[] = [['name', text], ['image', text], ['command', texts], ['args', texts], ['env', list], ['resources', map]];
  return known.flatMap(([key, kind]) => (container[key] === undefined || kind.accepts(container[key]) ? [] : [wrongType(`${path}.${key}`, kind)]));
}

function checkTopology(value: unknown, path: string, beta: boolean): Problem[] {
  if (value === undefined) return [];
  const name = beta ? 'clusterTopologyName' : 'topologyProfile';
  const problems = checkFields(value, path, { [name]: text, packDomain: domain });
  if (fieldsOf(value)[name] === undefined) problems.push({ code: 'E-MISSING', path: `${path}.${name}`, what: 'a topology constraint names its topology' });
  return problems;
}

/** Rules of spec: dgd section 1.5. */
function checkKvTransfer(value: unknown): Problem[] {
  if (value === undefined) return [];
  const path = 'spec.experimental.kvTransferPolicy';
  const policy = fieldsOf(value);
  const problems = checkFields(value, path, KV_TRANSFER);
  if (policy['domain'] === undefined) problems.push({ code: 'E-MISSING', path: `${path}.domain`, what: 'a transfer policy needs a domain' });
  if ((policy['labelKey'] === undefined) === (policy['clusterTopologyName'] === undefined)) {
    problems.push({ code: 'E-CONFLICT', path, what: 'exactly one of labelKey and clusterTopologyName is needed' });
  }
  if ((policy['enforcement'] === 'preferred') !== (policy['preferredWeight'] !== undefined)) {
    problems.push({ code: 'E-COMBINATION', path: `${path}.preferredWeight`, what: 'goes with enforcement preferred, and only with it' });
  }
  const key = policy['labelKey'];
  if (typeof key === 'string' && (key.length > 317 || (key.includes('/') && key.indexOf('/') > 253))) {
    problems.push({ code: 'E-RANGE', path: `${path}.labelKey`, what: 'longer than 317 characters, or its prefix than 253' });
  }
  return problems;
}

function checkFields(value: unknown, path: string, shape: Shape): Problem[] {
  if (value === undefined || value === null) return [];
  if (!isMap(value)) return [wrongType(path, map)];
  return Object.entries(value).flatMap(([key, content]) => {
    const kind = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (kind === undefined) return [{ code: 'E-FIELD', path: `${path}.${key}`, what: 'unknown field', hint: `known are ${Object.keys(shape).join(', ')}` }];
    return content === null || kind.accepts(content) ? [] : [wrongType(`${path}.${key}`, kind)];
  });
}

function wrongType(path: string, kind: Kind): Problem {
  return { code: kind.expected.startsWith('one of') ? 'E-ENUM' : 'E-TYPE', path, what: `expected ${kind.expected}` };
}

/** The API server's strict check rejects explicit nulls (spec: dgd section 1.2). */
function nulls(value: unknown, path: string): Problem[] {
  if (value === null) return [{ code: 'E-TYPE', path, what: 'null is not allowed', hint: 'leave the field out' }];
  if (typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, content]) => nulls(content, path === '' ? key : `${path}.${key}`));
}
