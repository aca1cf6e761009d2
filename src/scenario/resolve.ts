import type { Environment } from './environment.js';
import { KV_ROUTER_FIELDS } from './router-fields.js';
import type { Reader } from './reader.js';
import { resolveAdmission } from './resolve-admission.js';
import { resolveAnalytic } from './resolve-analytic.js';
import { choosesPools, resolveConditionalDisagg } from './resolve-conditional-disagg.js';
import { resolveDeployment } from './resolve-deployment.js';
import { resolveKvRouter } from './resolve-kv-router.js';
import { resolvePolicy } from './resolve-other-policies.js';
import { OWN_POLICY_FIELDS, resolveOwnPolicy, wantedPolicy } from './resolve-policy.js';
import { resolveReplicas } from './resolve-replicas.js';
import { resolveTopology } from './resolve-topology.js';
import { settleDevices, withoutDevices } from './resolve-workers.js';
import { resolveWorkload } from './resolve-workload.js';
import type { EngineName, Fidelity, FrontendSpec, PoolSpec, ReportSpec, RouterSpec, RunSpec, Scenario, SloSpec, WorkloadSpec } from './scenario.js';

/**
 * Fills in every default and checks what needs more than one field, a model or a table. Problems
 * are collected in the reader; the result means something only when there are none.
 */
export function resolveScenario(reader: Reader, environment: Environment, name: string): Scenario {
  const run = resolveRun(reader);
  const { deployment, timing } = resolveDeployment(reader, environment, run);
  const pools = deployment.pools;
  const workload = resolveWorkload(reader, run, pools[0]?.engine.blockTokens ?? 64);
  const choiceOfWorkers = pools.some((pool) => pool.replicas * (pool.engine.ranks ?? 1) > 1);
  const base: Scenario = {
    name: reader.text('name') ?? name,
    workload,
    deployment,
    router: resolveTopology(reader, resolveConditionalDisagg(reader, resolveAdmission(reader, resolveRouter(reader, defaultVisibility(run.fidelity, pools[0]?.engine.name ?? 'vllm'), choiceOfWorkers, pools, workload.source.kind), choiceOfWorkers, deployment.model), pools), pools),
    ...resolveFrontend(reader),
    timing,
    slo: resolveSlo(reader, run.estimator === 'analytic' ? 'mean' : 'p99'),
    gpuHourPrice: resolvePrice(reader, environment, deployment.hardware),
    run,
    report: resolveReport(reader, workload.requests),
  };
  const scenario = { ...settleDevices(reader, base), ...resolveReplicas(reader, { ...base, choiceOfWorkers: choiceOfWorkers || base.router.conditionalDisagg !== undefined }) };
  return run.estimator === 'analytic' ? resolveAnalytic(reader, scenario) : scenario;
}

function resolveRun(reader: Reader): RunSpec {
  return {
    seed: reader.number('run.seed') ?? 42,
    fidelity: reader.choice<Fidelity>('run.fidelity') ?? 'realistic',
    maxTimeMs: reader.number('run.max_time') ?? null,
    capture: unique(reader.list('run.capture') as RunSpec['capture'] | undefined ?? []),
    ...(reader.choice('run.estimator') === 'analytic' ? { estimator: 'analytic' as const } : {}),
  };
}

function resolveReport(reader: Reader, requests: number | null): ReportSpec {
  const warmup = reader.number('report.warmup') ?? 0;
  if (requests !== null && warmup > 0 && warmup >= requests) reader.problem('E-RANGE', 'report.warmup', `${warmup} of ${requests} requests leaves none to measure`, 'write less, or add requests');
  return {
    ...(warmup > 0 ? { warmupRequests: warmup } : {}),
    intervalMs: reader.number('report.interval') ?? 10_000,
    formats: unique(reader.list('report.formats') as ReportSpec['formats'] | undefined ?? ['json']),
    ...(reader.boolean('report.uncertainty') === true ? { uncertainty: true as const } : {}),
  };
}

/** A price, or the catalogue's where it is asked for by name. */
function resolvePrice(reader: Reader, environment: Environment, hardware: string | null): number | null {
  const path = 'cost.gpu_hour';
  if (reader.text(path) !== 'default') return reader.number(path) ?? null;
  if (hardware !== null) return environment.gpuHourPrice(hardware);
  if (!reader.has('deployment.hardware')) reader.problem('E-MISSING', 'deployment.hardware', 'required by cost.gpu_hour default', "add 'hardware: h200_sxm', or a price");
  return null;
}

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

function resolveSlo(reader: Reader, usualAt: SloSpec['at']): SloSpec | null {
  if (!reader.has('slo')) return null;
  const slo: SloSpec = {
    ttftMs: reader.number('slo.ttft') ?? null,
    itlMs: reader.number('slo.itl') ?? null,
    e2eMs: reader.number('slo.e2e') ?? null,
    at: reader.choice<SloSpec['at']>('slo.at') ?? usualAt,
  };
  const bounds = ['ttft', 'itl', 'e2e'].filter((bound) => reader.has(`slo.${bound}`));
  if (bounds.length === 0) reader.problem('E-MISSING', 'slo', 'no bound is set', "add 'ttft: 500 ms', 'itl: 50 ms' or 'e2e: 10 s'");
  if (bounds.includes('e2e') && bounds.length > 1) {
    reader.problem('E-CONFLICT', 'slo.e2e', `slo.${bounds[0]} is set at line ${reader.line(`slo.${bounds[0]}`)}`, 'keep e2e, or ttft and itl');
  }
  return slo;
}

/** Absent where nothing takes time. */
function resolveFrontend(reader: Reader): { frontend?: FrontendSpec } {
  const path = 'frontend.preprocess';
  const frontend: FrontendSpec = {
    baseMs: reader.number(`${path}.base`) ?? reader.number(path) ?? 0,
    tokensPerSecond: reader.number(`${path}.rate`) ?? null,
    cores: reader.number(`${path}.cores`) ?? 1,
    dispatchMs: reader.number('frontend.dispatch') ?? 0,
  };
  const isFree = frontend.baseMs === 0 && frontend.tokensPerSecond === null;
  if (isFree && reader.has(`${path}.cores`)) reader.unreadField(`${path}.cores`, 'preprocessing takes no time', "remove it or add 'base' or 'rate'");
  return isFree && frontend.dispatchMs === 0 ? {} : { frontend: isFree ? { ...frontend, cores: 1 } : frontend };
}

/** When the blocks of a pass show, by profile and engine (spec: scenario section 2.1, compat C3). */
function defaultVisibility(fidelity: Fidelity, engine: EngineName): RouterSpec['indexVisible'] {
  return fidelity === 'dynosim' && engine !== 'sglang' ? 'pass_start' : 'pass_end';
}

function resolveRouter(reader: Reader, visibleByDefault: RouterSpec['indexVisible'], ofWorkers: boolean, pools: readonly PoolSpec[], source: WorkloadSpec['source']['kind']): RouterSpec {
  const asked = wantedPolicy(reader.text('router.policy') ?? (reader.boolean('router.load_aware') === true ? 'kv' : 'round_robin'));
  const choiceOfWorkers = ofWorkers || choosesPools(reader, asked, pools);
  const wanted = choiceOfWorkers ? withoutDevices(reader, asked, pools) : asked;
  const policy = choiceOfWorkers ? wanted : 'round_robin';
  const hasCosts = policy === 'kv' || policy === 'recorded';
  const number = (name: string, fallback: number): number => (hasCosts ? reader.number(`router.${name}`) : undefined) ?? fallback;
  const flag = (name: string, fallback: boolean): boolean => (hasCosts ? reader.boolean(`router.${name}`) : undefined) ?? fallback;
  if (policy !== wanted) {
    reader.unreadField('router.policy', 'there is only one worker to choose', 'remove it or add replicas');
    for (const name of [...KV_ROUTER_FIELDS, ...OWN_POLICY_FIELDS]) reader.unread(`router.${name}`, 'there is only one worker to choose', 'remove it or add replicas');
  } else if (!choiceOfWorkers) {
    reader.harmlesslyUnread('router.policy');
  }
  if (policy === 'direct' && source !== 'trace') reader.problem('E-COMBINATION', 'router.policy', 'direct sends each request to the worker it names, and only those of a trace name one', "set 'workload.trace', with nvext.backend_instance_id in its rows");
  if (policy === 'recorded') reader.unread('router.temperature', 'recorded choices are not drawn', 'remove it');
  else if (policy !== 'kv') for (const name of KV_ROUTER_FIELDS) reader.unread(`router.${name}`, `not read by policy ${policy}`, 'remove it or set policy: kv');
  const visible = hasCosts || policy === 'module' || policy === 'exec' ? reader.choice<RouterSpec['indexVisible']>('router.index.visible') : undefined;
  const spec: RouterSpec = {
    policy,
    ...resolveOwnPolicy(reader, policy),
    overlapScoreCredit: number('overlap_score_credit', 1),
    overlapScoreCreditDecay: number('overlap_score_credit_decay', 0),
    prefillLoadScale: number('prefill_load_scale', 1),
    decodeActiveRequestWeight: number('decode_active_request_weight', 0),
    temperature: policy === 'kv' ? number('temperature', 0) : 0,
    trackActiveBlocks: flag('track_active_blocks', true),
    trackPrefillTokens: flag('track_prefill_tokens', true),
    assumeKvReuse: flag('assume_kv_reuse', true),
    indexVisible: visible ?? visibleByDefault,
    ...resolvePolicy(reader, policy, choiceOfWorkers),
  };
  if (hasCosts) return resolveKvRouter(reader, spec, visibleByDefault);
  reader.unreadField('router.load_aware', 'read by policy kv only', 'remove it');
  return spec;
}
