/** JSON object of unknown content. */
export type Fields = Readonly<Record<string, unknown>>;

/** A component of either API version, in one shape; absent or ill-typed parts are empty (the shape check reports them). */
export interface ComponentView {
  readonly name: string;
  /** Where it stands: `spec.components.1` or `spec.services.Frontend`. */
  readonly path: string;
  /** frontend, worker, prefill, decode, planner, epp; null = not said. */
  readonly type: string | null;
  readonly replicas: number;
  readonly nodeCount: number;
  readonly gpusPerPod: number;
  readonly scalingAdapter: boolean;
  readonly main: Fields | null;
  /** Containers beside `main`, init containers included. */
  readonly sidecars: readonly Fields[];
  readonly podAnnotations: Fields;
  /** Command and arguments as words. */
  readonly words: readonly string[];
  readonly raw: Fields;
}

const WORKER_TYPES: readonly (string | null)[] = ['worker', 'prefill', 'decode'];

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isWorker(component: ComponentView): boolean {
  return WORKER_TYPES.includes(component.type);
}

/** The components of a manifest (spec: dgd section 1.3). */
export function componentsOf(manifest: Fields): ComponentView[] {
  const spec = fieldsOf(manifest['spec']);
  if (manifest['apiVersion'] === 'nvidia.com/v1alpha1') {
    return Object.entries(fieldsOf(spec['services'])).map(([name, service]) => alphaView(name, fieldsOf(service)));
  }
  return listOf(spec['components']).map((component, index) => betaView(index, fieldsOf(component)));
}

function betaView(index: number, raw: Fields): ComponentView {
  const template = fieldsOf(raw['podTemplate']);
  const pod = fieldsOf(template['spec']);
  const containers = listOf(pod['containers']).map(fieldsOf);
  const main = containers.find((container) => container['name'] === 'main') ?? null;
  return {
    ...commonView(raw, main),
    name: text(raw['name']) ?? '',
    path: `spec.components.${index}`,
    type: text(raw['type']),
    gpusPerPod: deviceCount(fieldsOf(main?.['resources']), 'nvidia.com/gpu'),
    scalingAdapter: raw['scalingAdapter'] !== undefined,
    sidecars: [...containers.filter((container) => container !== main), ...listOf(pod['initContainers']).map(fieldsOf)],
    podAnnotations: fieldsOf(fieldsOf(template['metadata'])['annotations']),
  };
}

function alphaView(name: string, raw: Fields): ComponentView {
  const pod = fieldsOf(raw['extraPodSpec']);
  const main = pod['mainContainer'] === undefined ? null : fieldsOf(pod['mainContainer']);
  const componentType = text(raw['componentType']);
  return {
    ...commonView(raw, main),
    name,
    path: `spec.services.${name}`,
    type: componentType === 'worker' ? (text(raw['subComponentType']) ?? 'worker') : componentType,
    gpusPerPod: deviceCount(fieldsOf(raw['resources']), 'gpu'),
    scalingAdapter: fieldsOf(raw['scalingAdapter'])['enabled'] === true,
    sidecars: [...listOf(pod['containers']), ...listOf(pod['initContainers'])].map(fieldsOf),
    podAnnotations: fieldsOf(fieldsOf(raw['extraPodMetadata'])['annotations']),
  };
}

function commonView(raw: Fields, main: Fields | null): Pick<ComponentView, 'raw' | 'main' | 'replicas' | 'nodeCount' | 'words'> {
  const multinode = raw['multinode'] === undefined ? null : fieldsOf(raw['multinode']);
  return {
    raw,
    main,
    replicas: number(raw['replicas']) ?? 1,
    nodeCount: multinode === null ? 1 : (number(multinode['nodeCount']) ?? 2),
    words: [...listOf(main?.['command']), ...listOf(main?.['args'])].flatMap((word) => (typeof word === 'string' ? word.split(/\s+/) : [])),
  };
}

/** The request, else the limit: what the operator reads. */
function deviceCount(resources: Fields, key: string): number {
  const value = fieldsOf(resources['requests'])[key] ?? fieldsOf(resources['limits'])[key];
  return value === undefined ? 0 : Number(value);
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

/** Value of a flag written `--name value` or `--name=value`; the last one counts; null = absent. */
export function flagValue(words: readonly string[], flag: string): string | null {
  let value: string | null = null;
  words.forEach((word, index) => {
    if (word === flag) value = words[index + 1] ?? '';
    else if (word.startsWith(`${flag}=`)) value = word.slice(flag.length + 1);
  });
  return value;
}
