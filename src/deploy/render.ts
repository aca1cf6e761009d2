import type { DgdApi } from './dynamo.js';

/** One component of a deployment, before it takes the form of an API version. */
export interface Component {
  readonly name: string;
  readonly type: 'frontend' | 'worker' | 'prefill' | 'decode';
  readonly replicas: number;
  /** Pods per replica. */
  readonly nodeCount: number;
  /** GPUs of one pod; 0 for the frontend. */
  readonly gpusPerPod: number;
  /** The pod asks for one RDMA device per GPU. */
  readonly rdma: boolean;
  readonly image: string;
  /** Needed where the image's tag is no version; null otherwise. */
  readonly runtimeVersion: string | null;
  readonly command: readonly string[];
  readonly args: readonly string[];
}

/** A deployment, before it takes the form of an API version. */
export interface Graph {
  readonly name: string;
  readonly namespace: string | null;
  /** Environment of every component. */
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly components: readonly Component[];
  /** `spec.experimental.kvTransferPolicy`. */
  readonly kvTransferPolicy?: Readonly<Record<string, unknown>>;
}

type Fields = Record<string, unknown>;

/** Secret with the Hugging Face token (key `HF_TOKEN`) that worker pods read. */
export const TOKEN_SECRET = 'hf-token-secret';
const SHARED_MEMORY = '16Gi';
const RDMA_RESOURCE = 'rdma/ib';

/** The DynamoGraphDeployment in one API version (spec: dgd sections 1.1 to 1.3), keys in a fixed order, no nulls. */
export function renderGraph(graph: Graph, api: DgdApi): Fields {
  const spec: Fields = { backendFramework: 'vllm', ...(graph.kvTransferPolicy ? { experimental: { kvTransferPolicy: graph.kvTransferPolicy } } : {}) };
  if (api === 'v1beta1') {
    if (graph.env.length > 0) spec['env'] = [...graph.env];
    spec['components'] = graph.components.map(betaComponent);
  } else {
    if (graph.env.length > 0) spec['envs'] = [...graph.env];
    spec['services'] = Object.fromEntries(graph.components.map((component) => [component.name, alphaService(component)]));
  }
  return {
    apiVersion: `nvidia.com/${api}`,
    kind: 'DynamoGraphDeployment',
    metadata: { name: graph.name, ...(graph.namespace === null ? {} : { namespace: graph.namespace }) },
    spec,
  };
}

function betaComponent(component: Component): Fields {
  const gpus = String(component.gpusPerPod);
  const worker = component.gpusPerPod > 0;
  const devices = { 'nvidia.com/gpu': gpus, ...(component.rdma ? { [RDMA_RESOURCE]: gpus } : {}) };
  const main: Fields = {
    name: 'main',
    ...engineContainer(component),
    ...(worker ? { envFrom: [{ secretRef: { name: TOKEN_SECRET } }] } : {}),
    ...security(component),
    ...(worker ? { resources: { requests: { ...devices }, limits: { ...devices } } } : {}),
  };
  return {
    name: component.name,
    type: component.type,
    ...sizes(component),
    ...(worker ? { sharedMemorySize: SHARED_MEMORY } : {}),
    podTemplate: { spec: { containers: [main] } },
  };
}

function alphaService(component: Component): Fields {
  const gpus = String(component.gpusPerPod);
  const worker = component.gpusPerPod > 0;
  const devices = { gpu: gpus, ...(component.rdma ? { custom: { [RDMA_RESOURCE]: gpus } } : {}) };
  const role = component.type === 'prefill' || component.type === 'decode' ? { componentType: 'worker', subComponentType: component.type } : { componentType: component.type };
  return {
    ...role,
    ...sizes(component),
    ...(worker ? { envFromSecret: TOKEN_SECRET, sharedMemory: { size: SHARED_MEMORY }, resources: { requests: { ...devices }, limits: { ...devices } } } : {}),
    extraPodSpec: { mainContainer: { ...engineContainer(component), ...security(component) } },
  };
}

function sizes({ replicas, nodeCount, runtimeVersion }: Component): Fields {
  return {
    replicas,
    ...(nodeCount > 1 ? { multinode: { nodeCount } } : {}),
    ...(runtimeVersion === null ? {} : { runtimeVersionOverride: runtimeVersion }),
  };
}

function engineContainer({ image, command, args }: Component): Fields {
  return { image, command: [...command], args: [...args] };
}

function security({ rdma }: Component): Fields {
  return rdma ? { securityContext: { capabilities: { add: ['IPC_LOCK'] } } } : {};
}
