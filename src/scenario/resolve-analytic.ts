import type { Reader } from './reader.js';
import { refuseWorkers } from './resolve-workers.js';
import type { EngineSpec, PoolSpec, RouterSpec, Scenario } from './scenario.js';

/** Fields that decide how a simulation goes and that closed forms do not know. */
const INERT: readonly (readonly [path: string, what: string])[] = [
  ['router', 'closed forms spread sessions evenly'],
  ['run.seed', 'closed forms draw nothing'],
  ['run.max_time', 'closed forms describe a steady state'],
  ['run.capture', 'closed forms see no single request'],
  ['report.interval', 'closed forms describe a steady state'],
  ['report.warmup', 'closed forms describe a steady state'],
  ['frontend', 'closed forms know no frontend'],
  ['deployment.kv_transfer', 'closed forms charge no transfers'],
];
const INERT_ENGINE = ['preemption', 'schedule_policy', 'clip_max_new_tokens', 'schedule_conservativeness', 'decode_interval', 'receive_interval', 'admission'] as const;
const HINT = 'remove it or set run.estimator: simulate';

/** Spreads evenly and looks at nothing; the weights are the defaults. */
export const EVEN: RouterSpec = {
  policy: 'round_robin', overlapScoreCredit: 1, overlapScoreCreditDecay: 0, prefillLoadScale: 1, decodeActiveRequestWeight: 0, temperature: 0,
  trackActiveBlocks: true, trackPrefillTokens: true, assumeKvReuse: true, indexVisible: 'pass_end',
};

/** Formats that hold what single requests went through. */
const REQUEST_FORMATS = ['csv', 'jsonl', 'aiperf'] as const;

/**
 * What is left of a scenario that closed forms answer (spec: scenario section 2.2, `run.estimator`): fields that only a simulation reads have no
 * effect and take one value, so that candidates which differ in them alone are equal. Problems: a workload without a closed form.
 */
export function resolveAnalytic(reader: Reader, scenario: Scenario): Scenario {
  const { frontend: _frontend, frontendReplicas: _replicas, ...rest } = scenario;
  const { deployment, run, report: { warmupRequests: _warmup, ...report } } = rest;
  checkWorkload(reader, scenario);
  if (reader.has('deployment.speculative')) reader.problem('E-UNSUPPORTED', 'deployment.speculative', 'closed forms do not know draft tokens here', HINT);
  if (scenario.slo && scenario.slo.at !== 'mean') reader.problem('E-COMBINATION', 'slo.at', `closed forms give means, not ${scenario.slo.at}`, "write 'at: mean' or set run.estimator: simulate");
  for (const { role } of deployment.pools) refuseWorkers(reader, `deployment.${role}.workers`, HINT);
  const wrong = report.formats.find((format) => REQUEST_FORMATS.some((one) => one === format));
  if (wrong !== undefined) reader.problem('E-COMBINATION', 'report.formats', `closed forms see no single request to write as ${wrong}`, HINT);

  if (reader.text('router.policy') === 'round_robin') reader.harmlesslyUnread('router.policy');
  reader.unreadFields('timing.overhead', 'closed forms add nothing to the kernels of a pass', HINT);
  for (const [path, what] of INERT) reader.unreadFields(path, what, HINT);
  for (const prefix of ['deployment', ...deployment.pools.map(({ role }) => `deployment.${role}`)]) {
    for (const name of INERT_ENGINE) reader.unreadFields(`${prefix}.engine.${name}`, 'closed forms know no order of requests', HINT);
    reader.unreadFields(`${prefix}.kv.eviction`, 'closed forms evict nothing', HINT);
  }
  return {
    ...rest,
    deployment: {
      ...deployment,
      pools: deployment.pools.map(({ workers: _workers, ...pool }): PoolSpec => ({ ...pool, engine: plainEngine(pool.engine) })),
      kvTransfer: deployment.kvTransfer && { bytesPerSecond: null, latencyMs: 0, charge: 'missing', contention: 'none', bytesPerToken: 0, bytesPerRequest: 0 },
    },
    router: EVEN,
    run: { ...run, seed: 42, maxTimeMs: null, capture: [] },
    report: { ...report, intervalMs: 10_000 },
  };
}

function checkWorkload(reader: Reader, { workload: { source, load } }: Scenario): void {
  if (source.kind !== 'synthetic') return reader.problem('E-COMBINATION', `workload.${source.kind}`, 'closed forms know synthetic loads only', "write 'synthetic: {isl: 1024, osl: 128}' or set run.estimator: simulate");
  if ((source.turns ?? 1) > 1) reader.problem('E-COMBINATION', 'workload.synthetic.turns', 'closed forms know no sessions', HINT);
  if (load.kind !== 'concurrency') reader.problem('E-COMBINATION', `workload.load.${load.kind}`, 'closed forms know constant concurrency only', "write 'concurrency: 16' or set run.estimator: simulate");
}

function plainEngine({ blockManager: _manager, admission: _admission, sglang, ...engine }: EngineSpec): EngineSpec {
  if (!sglang) return { ...engine, preemption: 'lifo' };
  const { receiveInterval: _interval, ...queue } = sglang;
  return { ...engine, preemption: 'lifo', sglang: { ...queue, schedulePolicy: 'fifo', clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 } };
}
