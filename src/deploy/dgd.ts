import { stringify } from 'yaml';
import { InputError, type Problem } from '../core/problem.js';
import type { DeploymentSpec, PoolSpec, Quant, Scenario } from '../scenario/scenario.js';
import { gpusPerWorker } from '../scenario/shape.js';
import { frontendCommand, tooOld, workerCommand } from './commands.js';
import { atLeast, defaultApi, dynamoForVllm, hasVersionTag, parseDynamoVersion, pinnedVllm, runtimeImage, type DgdApi, type DynamoVersion } from './dynamo.js';
import { kvTransferPolicy } from './kv-transfer-policy.js';
import { nameFrom, NAMESPACE_NAME } from './names.js';
import { replicaFlags } from './replica-flags.js';
import { renderGraph, TOKEN_SECRET, type Component, type Graph } from './render.js';
import { validateDgd } from './validate.js';
import { traitProblems } from './worker-traits.js';

/** What a manifest needs beside the scenario; everything has a default. */
export interface DgdOptions {
  /** Name of the deployment; default: the scenario's, made legal and short. */
  readonly name?: string;
  readonly namespace?: string;
  /** Default: the newest the release serves. */
  readonly api?: DgdApi;
  /** Dynamo release `M.m.p`; default: the one whose image carries the simulated vLLM, else the newest known. */
  readonly dynamoVersion?: string;
  /** Image of workers and frontend; default: the release's runtime image. */
  readonly image?: string;
  /** Candidate id, for the header. */
  readonly candidate?: string;
  /** GPUs of one node; default 8. More per worker makes it span nodes. */
  readonly gpusPerNode?: number | undefined;
  /** Bytes of a simulated KV-cache element; 1 asks vLLM for an FP8 cache, which it does not choose by itself. Default 2. */
  readonly kvElementBytes?: 1 | 2 | undefined;
  /** Precision at which vLLM serves the checkpoint, to tell a simulated one that it does not. Default: not compared. */
  readonly checkpointQuant?: Quant | undefined;
}

/** A manifest as data and as text. */
export interface DgdManifest {
  readonly manifest: Record<string, unknown>;
  /** YAML with a header that says what made it; the same bytes for the same input. */
  readonly yaml: string;
  readonly warnings: readonly Problem[];
}

const COMPONENT_NAMES: Readonly<Record<PoolSpec['role'], string>> = { agg: 'VllmWorker', prefill: 'VllmPrefillWorker', decode: 'VllmDecodeWorker' };
const DEFAULT_GPUS_PER_NODE = 8;
/** Fastest link that needs no RDMA: TCP (spec: kvbm section 6.3). */
const TCP_BYTES_PER_SECOND = 1e9;
/** Settings of the transport under NIXL (spec: dgd section 3.7). */
const RDMA_ENV = [
  { name: 'UCX_TLS', value: 'rc_x,rc,dc_x,dc,cuda_copy,cuda_ipc' },
  { name: 'UCX_RNDV_SCHEME', value: 'get_zcopy' },
  { name: 'UCX_RNDV_THRESH', value: '0' },
];

/**
 * The DynamoGraphDeployment that deploys what `scenario` simulates: aggregated or disaggregated, vLLM
 * (spec: dgd sections 1, 3, 8). A disaggregated deployment whose simulated link is faster than TCP
 * asks for one `rdma/ib` device per GPU, since nothing else reaches that speed between pods.
 *
 * Throws `InputError`: `E-MISSING` (no model), `E-UNSUPPORTED` (a release, policy or setting that the
 * release cannot be given), `E-COMBINATION`, and everything `validateDgd` finds wrong.
 */
export function generateDgd(scenario: Scenario, options: DgdOptions = {}): DgdManifest {
  refuseOtherEngines(scenario.deployment);
  const engineVersion = scenario.deployment.pools[0]?.engine.version ?? '';
  const version = parseDynamoVersion(options.dynamoVersion ?? dynamoForVllm(engineVersion));
  const api = options.api ?? defaultApi(version);
  const problems = [...optionProblems(options, api, version), ...versionProblems(version, engineVersion)];
  const model = deployableModel(scenario.deployment, problems);
  const components = [frontend(scenario, options, version, problems), ...scenario.deployment.pools.map((pool) => worker(scenario, pool, model, options, version, problems))];
  const rdma = needsRdma(scenario.deployment);
  problems.push(...linkProblems(scenario.deployment, rdma));
  const transfer = kvTransferPolicy(scenario.router.topology, version, (path, what, since) => tooOld(path, what, since, version));
  problems.push(...transfer.problems);
  const graph: Graph = { name: options.name ?? nameFrom(scenario.name, components), namespace: options.namespace ?? null, env: rdma ? RDMA_ENV : [], components, ...(transfer.policy ? { kvTransferPolicy: transfer.policy } : {}) };
  const manifest = renderGraph(graph, api);
  // What the generator has already refused need not be said again by its consequences.
  if (!problems.some(isError)) problems.push(...validateDgd(manifest, version.text));
  const errors = problems.filter(isError);
  if (errors.length > 0) throw new InputError(errors);
  return { manifest, yaml: header(scenario, options, version) + yamlText(manifest), warnings: problems };
}

/** Manifests run plain vLLM. */
function refuseOtherEngines({ pools }: DeploymentSpec): void {
  const other = pools.find(({ engine }) => engine.name !== 'vllm');
  if (other) throw new InputError({ code: 'E-UNSUPPORTED', path: 'deployment.engine', what: `manifests for ${other.engine.name} are not supported yet`, hint: "only 'vllm' can be deployed" });
  if (pools.some(({ engine }) => engine.speculative)) throw new InputError({ code: 'E-UNSUPPORTED', path: 'deployment.speculative', what: 'manifests with speculative decoding are not supported yet', hint: 'deploy without it' });
}

function isError(problem: Problem): boolean {
  return problem.code.startsWith('E-');
}

function optionProblems({ namespace }: DgdOptions, api: DgdApi, version: DynamoVersion): Problem[] {
  const problems: Problem[] = [];
  if (api !== defaultApi(version) && api === 'v1beta1') {
    problems.push({ code: 'E-COMBINATION', path: '--api', what: `Dynamo ${version.text} does not serve v1beta1`, hint: 'use --api v1alpha1, or --dynamo 1.2.0 or newer' });
  }
  if (namespace !== undefined && (!NAMESPACE_NAME.test(namespace) || namespace.length > 63)) {
    problems.push({ code: 'E-TYPE', path: '--namespace', what: `'${namespace}' is not a namespace name`, hint: 'use at most 63 of a-z, 0-9 and inner hyphens' });
  }
  return problems;
}

function versionProblems(version: DynamoVersion, engineVersion: string): Problem[] {
  const pinned = pinnedVllm(version);
  if (pinned === engineVersion) return [];
  const what = pinned === null ? `the vLLM of Dynamo ${version.text} is not known, simulated was ${engineVersion}` : `Dynamo ${version.text} runs vLLM ${pinned}, simulated was ${engineVersion}`;
  return [{ code: 'W-COMPAT', path: 'deployment.engine.version', what }];
}

function deployableModel({ model }: DeploymentSpec, problems: Problem[]): string {
  if (model === null) {
    problems.push({ code: 'E-MISSING', path: 'deployment.model', what: 'a manifest needs a model', hint: "add its Hugging Face name, such as 'model: Qwen/Qwen3-32B'" });
  } else if (model.endsWith('.json') || /^[./~]/.test(model)) {
    problems.push({ code: 'E-UNSUPPORTED', path: 'deployment.model', what: `'${model}' is a file on this machine, not in the pods`, hint: 'deploy needs a Hugging Face name' });
  }
  return model ?? '';
}

function frontend(scenario: Scenario, options: DgdOptions, version: DynamoVersion, problems: Problem[]): Component {
  const line = frontendCommand(scenario.router, version);
  const sync = replicaFlags(scenario.frontendReplicas, scenario.router);
  problems.push(...line.problems, ...sync.problems);
  const replicas = scenario.frontendReplicas?.count ?? 1;
  return { name: 'Frontend', type: 'frontend', replicas, nodeCount: 1, gpusPerPod: 0, rdma: false, ...image(options, version), command: line.command, args: [...line.args, ...sync.args] };
}

function worker(scenario: Scenario, pool: PoolSpec, model: string, options: DgdOptions, version: DynamoVersion, problems: Problem[]): Component {
  const line = workerCommand({ model, pool, kvRouting: scenario.router.policy === 'kv', decodePrefills: scenario.router.conditionalDisagg !== undefined, cache: pool.quant?.kv ?? (options.kvElementBytes === 1 ? 'fp8' : null), version });
  problems.push(...line.problems, ...quantProblems(pool, options.checkpointQuant), ...traitProblems(pool));
  const gpusPerNode = options.gpusPerNode ?? DEFAULT_GPUS_PER_NODE;
  const gpus = gpusPerWorker(pool);
  const nodeCount = Math.ceil(gpus / gpusPerNode);
  if (nodeCount > 1) problems.push(...spreadProblems(pool, gpusPerNode));
  return {
    name: COMPONENT_NAMES[pool.role],
    type: pool.role === 'agg' ? 'worker' : pool.role,
    replicas: pool.replicas,
    nodeCount,
    gpusPerPod: nodeCount > 1 ? gpusPerNode : gpus,
    rdma: needsRdma(scenario.deployment),
    ...image(options, version),
    command: line.command,
    args: line.args,
  };
}

/** Precisions that no flag of vLLM brings about: it serves what the checkpoint has. */
function quantProblems({ role, quant }: PoolSpec, checkpoint: Quant | undefined): Problem[] {
  if (quant === undefined || checkpoint === undefined) return [];
  return (['weights', 'moe', 'attention'] as const)
    .filter((part) => quant[part] !== checkpoint[part] && (part !== 'attention' || quant.kv === checkpoint.kv))
    .map((part) => ({ code: 'E-UNSUPPORTED', path: `deployment.${role}.quant.${part}`, what: `vLLM serves this checkpoint at ${checkpoint[part]}, not ${quant[part]}`, hint: 'name a checkpoint of that precision' }));
}

/** A worker of several nodes: full nodes, and whole data-parallel ranks on each (spec: dgd section 2.5). */
function spreadProblems(pool: PoolSpec, gpusPerNode: number): Problem[] {
  const { role, tp, pp = 1 } = pool;
  const gpus = gpusPerWorker(pool);
  const rank = tp * pp;
  if (gpus > rank && rank > gpusPerNode) {
    const what = `the operator cannot start data-parallel ranks of ${rank} GPUs on nodes of ${gpusPerNode}`;
    return [{ code: 'E-UNSUPPORTED', path: `deployment.${role}.dp`, what, hint: `use replicas instead of dp, or ${pp > 1 ? 'tp·pp' : 'tp'} of at most ${gpusPerNode}` }];
  }
  if (gpus > rank && gpusPerNode % rank !== 0) {
    return [{ code: 'E-FIT', path: `deployment.${role}.tp`, what: `ranks of ${rank} GPUs do not fill a node of ${gpusPerNode}`, hint: `use a ${pp > 1 ? 'tp·pp' : 'tp'} that divides ${gpusPerNode}` }];
  }
  if (gpus % gpusPerNode === 0) return [];
  const what = `${gpus} GPUs do not fill ${Math.ceil(gpus / gpusPerNode)} nodes of ${gpusPerNode}`;
  return [{ code: 'E-FIT', path: `deployment.${role}.${gpus > rank ? 'dp' : 'tp'}`, what, hint: `use at most ${gpusPerNode} GPUs per worker, or a multiple of it` }];
}

function image(options: DgdOptions, version: DynamoVersion): Pick<Component, 'image' | 'runtimeVersion'> {
  const name = options.image ?? runtimeImage(version);
  return { image: name, runtimeVersion: atLeast(version, '1.4') && !hasVersionTag(name) ? version.text : null };
}

function needsRdma({ mode, kvTransfer }: DeploymentSpec): boolean {
  return mode === 'disagg' && (kvTransfer?.bytesPerSecond ?? Infinity) > TCP_BYTES_PER_SECOND;
}

function linkProblems({ mode, kvTransfer }: DeploymentSpec, rdma: boolean): Problem[] {
  if (mode !== 'disagg') return [];
  const path = 'deployment.kv_transfer.bandwidth';
  const speed = kvTransfer?.bytesPerSecond ?? null;
  if (!rdma) return [{ code: 'W-COMPAT', path, what: 'disaggregated without RDMA: KV caches travel over TCP', hint: 'a bandwidth above 1 GB/s asks for RDMA devices' }];
  const simulated = speed === null ? 'instant transfers' : `${speed / 1e9} GB/s`;
  return [{ code: 'W-COMPAT', path, what: `${simulated} need RDMA between the pods: the manifest asks for rdma/ib`, hint: 'on EFA or AKS nodes name their resource instead' }];
}

function header(scenario: Scenario, { candidate }: DgdOptions, version: DynamoVersion): string {
  const origin = `scenario ${JSON.stringify(scenario.name)}${candidate === undefined ? '' : `, candidate ${candidate}`}`;
  return `# Written by dynotwin: ${origin}, for Dynamo ${version.text}.\n# Needs the secret ${TOKEN_SECRET} (key HF_TOKEN) in its namespace.\n`;
}

/** No line folding, and quotes around what a YAML 1.1 reader (kubectl) would not take for text. */
function yamlText(manifest: Record<string, unknown>): string {
  return stringify(manifest, { lineWidth: 0, compat: 'yaml-1.1', aliasDuplicateObjects: false });
}
