import type { Problem } from '../core/problem.js';
import { atLeast, hasVersionTag, NEWEST_DYNAMO, parseDynamoVersion, type DynamoVersion } from './dynamo.js';
import { DGD_NAME, NAMESPACE_NAME, nameFits, SERVICE_NAME_LIMIT, serviceName, strictNameBudget } from './names.js';
import { checkServing } from './serving.js';
import { checkShape } from './shape.js';
import { componentsOf, fieldsOf, listOf, type ComponentView, type Fields } from './view.js';

/**
 * The checks of spec: dgd section 8 that need no cluster: fields of section 1, the webhooks' rules for
 * a new object, and what nobody checks but a working deployment needs.
 *
 * `manifest` is one parsed DynamoGraphDeployment of either API version; `dynamoVersion` the operator's
 * release (rules changed between releases). Returns problems: `E-…` = rejected or not working, `W-…` = doubtful.
 */
export function validateDgd(manifest: unknown, dynamoVersion: string = NEWEST_DYNAMO): Problem[] {
  const object = fieldsOf(manifest);
  const version = parseDynamoVersion(dynamoVersion);
  const heading = checkHeading(object);
  if (heading.length > 0) return heading;
  const components = componentsOf(object);
  return [
    ...checkShape(object),
    ...checkNames(object, components, version),
    ...checkAnnotations(object, components),
    ...checkTopology(object, components),
    ...checkRestart(object),
    ...checkGrove(object, components),
    ...alphaRules(object, components),
    ...components.flatMap((component) => checkComponent(component, version)),
    ...checkServing(object, components, version),
  ];
}

function checkHeading(object: Fields): Problem[] {
  if (object['apiVersion'] !== 'nvidia.com/v1alpha1' && object['apiVersion'] !== 'nvidia.com/v1beta1') {
    return [{ code: 'E-ENUM', path: 'apiVersion', what: `'${String(object['apiVersion'])}' is not nvidia.com/v1alpha1 or nvidia.com/v1beta1` }];
  }
  if (object['kind'] !== 'DynamoGraphDeployment') return [{ code: 'E-KIND', path: 'kind', what: `'${String(object['kind'])}' is not DynamoGraphDeployment` }];
  return [];
}

/** Rules 1 and 8, and names of Kubernetes. */
function checkNames(object: Fields, components: readonly ComponentView[], version: DynamoVersion): Problem[] {
  if (components.length === 0) return [{ code: 'E-MISSING', path: 'spec', what: 'a deployment needs at least one component' }];
  const { name, namespace } = fieldsOf(object['metadata']);
  const problems: Problem[] = [];
  const seen = new Set<string>();
  for (const component of components) {
    const key = component.name.toLowerCase();
    if (seen.has(key)) problems.push({ code: 'E-DUPLICATE', path: component.path, what: `a component is named '${component.name}' already, but for upper and lower case` });
    seen.add(key);
  }
  if (namespace !== undefined && (typeof namespace !== 'string' || namespace.length > 63 || !NAMESPACE_NAME.test(namespace))) problems.push({ code: 'E-TYPE', path: 'metadata.namespace', what: `'${String(namespace)}' is not a namespace name` });
  if (typeof name !== 'string' || !DGD_NAME.test(name)) {
    problems.push({ code: 'E-TYPE', path: 'metadata.name', what: `'${String(name)}' is not a name`, hint: 'use a-z, 0-9 and inner hyphens, a letter first' });
    return problems;
  }
  if (!nameFits(name, components, !atLeast(version, '1.2'))) {
    const budget = strictNameBudget(components);
    const what = `'${name}' (${name.length}) is too long beside its components`;
    problems.push({ code: 'E-RANGE', path: 'metadata.name', what, hint: budget > 0 ? `use at most ${budget} characters` : 'shorten the names of the components' });
  }
  for (const component of components) {
    const service = serviceName(name, component.name);
    if (service.length > SERVICE_NAME_LIMIT) problems.push({ code: 'E-RANGE', path: 'metadata.name', what: `service name '${service}' has more than ${SERVICE_NAME_LIMIT} characters` });
  }
  return problems;
}

const EXECUTOR = 'nvidia.com/vllm-distributed-executor-backend';
const ANNOTATIONS: Readonly<Record<string, RegExp>> = {
  'nvidia.com/dynamo-operator-origin-version': /^v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/,
  [EXECUTOR]: /^(mp|ray)$/,
  'nvidia.com/grove-update-strategy': /^(RollingRecreate|OnDelete)$/,
  'nvidia.com/dynamo-kube-discovery-mode': /^(pod|container)$/,
};

/** Rule 5. */
function checkAnnotations(object: Fields, components: readonly ComponentView[]): Problem[] {
  const wrong = (annotations: Fields, path: string, keys: readonly string[]): Problem[] =>
    keys.filter((key) => annotations[key] !== undefined && !ANNOTATIONS[key]!.test(String(annotations[key]))).map((key) => ({ code: 'E-ENUM', path: `${path}.${key}`, what: `'${String(annotations[key])}' is not allowed` }));
  return [
    ...wrong(fieldsOf(fieldsOf(object['metadata'])['annotations']), 'metadata.annotations', Object.keys(ANNOTATIONS)),
    ...components.flatMap((component) => wrong(component.podAnnotations, `${component.path}.annotations`, [EXECUTOR])),
  ];
}

/** Rule 7, as far as it needs no cluster. */
function checkTopology(object: Fields, components: readonly ComponentView[]): Problem[] {
  const constraint = fieldsOf(object['spec'])['topologyConstraint'];
  const own = components.filter((component) => component.raw['topologyConstraint'] !== undefined);
  if (constraint === undefined) return own.map(({ path }) => ({ code: 'E-MISSING', path: `${path}.topologyConstraint`, what: 'needs spec.topologyConstraint' }));
  if (fieldsOf(constraint)['packDomain'] !== undefined || own.length === components.length) return [];
  return [{ code: 'E-MISSING', path: 'spec.topologyConstraint.packDomain', what: 'needed unless every component has its own' }];
}

function checkRestart(object: Fields): Problem[] {
  return fieldsOf(object['spec'])['restart'] === undefined ? [] : [{ code: 'E-COMBINATION', path: 'spec.restart', what: 'must not be set on a new deployment' }];
}

/** Rule 4: what only Grove can do. */
function checkGrove(object: Fields, components: readonly ComponentView[]): Problem[] {
  if (fieldsOf(fieldsOf(object['metadata'])['annotations'])['nvidia.com/enable-grove'] !== 'false') return [];
  const needing = components.filter((component) => component.raw['minAvailable'] !== undefined).map(({ path }) => `${path}.minAvailable`);
  if (fieldsOf(object['spec'])['priorityClassName'] !== undefined) needing.push('spec.priorityClassName');
  return needing.map((path) => ({ code: 'E-COMBINATION', path, what: 'needs Grove, which an annotation switches off' }));
}

/** Rules 2, 3 and 4 of one component. */
function checkComponent(component: ComponentView, version: DynamoVersion): Problem[] {
  const { path, raw, replicas } = component;
  const problems = checkImages(component, version);
  const minAvailable = raw['minAvailable'];
  if (typeof minAvailable === 'number' && replicas !== 0 && minAvailable > replicas) {
    problems.push({ code: 'E-RANGE', path: `${path}.minAvailable`, what: `${minAvailable} is more than the ${replicas} replicas` });
  }
  const sidecar = raw['frontendSidecar'];
  if (sidecar !== undefined && !component.sidecars.some((container) => container['name'] === sidecar)) {
    problems.push({ code: 'E-MISSING', path: `${path}.frontendSidecar`, what: `no container is named '${String(sidecar)}'` });
  }
  return [...problems, ...checkEpp(component)];
}

function checkImages({ path, raw, main, sidecars }: ComponentView, version: DynamoVersion): Problem[] {
  const problems: Problem[] = [];
  const image = main?.['image'];
  if (atLeast(version, '1.4')) {
    if (typeof image !== 'string' || image === '') problems.push({ code: 'E-MISSING', path, what: 'the main container needs an image' });
    else if (!hasVersionTag(image) && raw['runtimeVersionOverride'] === undefined) {
      problems.push({ code: 'E-MISSING', path: `${path}.runtimeVersionOverride`, what: `needed because the tag of '${image}' is no version` });
    }
  }
  for (const container of sidecars) {
    if (typeof container['image'] !== 'string' || container['image'] === '') problems.push({ code: 'E-MISSING', path, what: `container '${String(container['name'])}' needs an image` });
  }
  return problems;
}

function checkEpp({ path, raw, type, replicas, nodeCount }: ComponentView): Problem[] {
  const config = raw['eppConfig'];
  if (type !== 'epp') return config === undefined ? [] : [{ code: 'E-COMBINATION', path: `${path}.eppConfig`, what: 'belongs to a component of type epp' }];
  const sources = ['configMapRef', 'config'].filter((key) => fieldsOf(config)[key] !== undefined);
  const problems: Problem[] = [];
  if (sources.length !== 1) problems.push({ code: 'E-CONFLICT', path: `${path}.eppConfig`, what: 'exactly one of configMapRef and config is needed' });
  if (replicas !== 1 || nodeCount !== 1) problems.push({ code: 'E-RANGE', path, what: 'an epp has one replica on one node' });
  return problems;
}

/** Rule 12 and the v1alpha1 rules of the schema. */
function alphaRules(object: Fields, components: readonly ComponentView[]): Problem[] {
  if (object['apiVersion'] !== 'nvidia.com/v1alpha1') return [];
  const problems: Problem[] = [];
  listOf(fieldsOf(object['spec'])['pvcs']).map(fieldsOf).forEach((pvc, index) => {
    const needed = pvc['create'] === true ? ['name', 'size', 'storageClass', 'volumeAccessMode'] : ['name'];
    for (const key of needed.filter((key) => pvc[key] === undefined)) problems.push({ code: 'E-MISSING', path: `spec.pvcs.${index}.${key}`, what: 'required' });
  });
  for (const { path, raw } of components) {
    listOf(raw['volumeMounts']).map(fieldsOf).forEach((mount, index) => {
      if (mount['mountPoint'] === undefined && mount['useAsCompilationCache'] !== true) problems.push({ code: 'E-MISSING', path: `${path}.volumeMounts.${index}.mountPoint`, what: 'required' });
    });
    const ingress = fieldsOf(raw['ingress']);
    if (ingress['enabled'] === true && ingress['host'] === undefined) problems.push({ code: 'E-MISSING', path: `${path}.ingress.host`, what: 'required where ingress is enabled' });
    const memory = raw['sharedMemory'];
    if (memory !== undefined && fieldsOf(memory)['disabled'] !== true && /^0*(\.0*)?([A-Za-z]+)?$/.test(String(fieldsOf(memory)['size'] ?? ''))) {
      problems.push({ code: 'E-RANGE', path: `${path}.sharedMemory.size`, what: 'must be above 0 unless shared memory is disabled' });
    }
  }
  return problems;
}
