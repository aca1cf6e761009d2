/**
 * dynotwin's public face: load a scenario, run it, sweep a space, build the manifest.
 *
 * @example
 * const { scenario } = loadScenario('first-run.yaml', { environment: createEnvironment() });
 * const { report } = executeScenario(scenario, await prepareWorkload(scenario));
 */
export { Check } from './core/check.js';
export { InputError, RunError, formatProblem, type Problem } from './core/problem.js';
export type * from './scenario/scenario.js';
export { loadFile, loadScenario, loadSweep, type Loaded, type LoadOptions } from './scenario/load.js';
export { createEnvironment } from './timing/environment.js';
export { createTiming } from './timing/registry.js';
export { loadRealisticProfile, type RealisticProfile } from './timing/calibration/profile.js';
export { readCases, type Case } from './calibrate/case.js';
export { createForwardModel } from './timing/forward-model.js';
export { createStepTimes, type StepTimes } from './timing/step-times.js';
export { launchRecipe } from './timing/launch-recipe.js';
export { sglangMemoryFraction } from './timing/sglang-fraction.js';
export { searchAggregated, searchDisaggregated } from './analytic/search.js';
export { pickAutoscale, pickDefault, pickLoadMatch } from './analytic/pick.js';
export { enumerateParallel } from './analytic/parallel.js';
export { predictCases, type PredictionRow } from './calibrate/predict.js';
export { Simulations, simulationThreads } from './calibrate/simulations.js';
export type { PassShape, PassTiming, TimingDescription, TimingRules } from './timing/timing.js';
export type { BlockTable, Workload } from './workload/workload.js';
export { buildWorkload } from './workload/build.js';
export { expandBlocks } from './workload/expand.js';
export { readMooncake } from './workload/formats/mooncake.js';
export type { Candidate as RouteCandidate, Choice, Policy, PolicyModule, PolicyPool, PolicyState, RouteHints, RouteRequest } from './router/policy.js';
export type { RandomStream } from './core/random.js';
export { executeScenario, executeScenarioAsync, prepareWorkload, type RunOutcome } from './sim/execute.js';
export { Simulation } from './sim/simulation.js';
export type { SimulationConfig } from './sim/config.js';
export type { Observations, RequestColumns } from './metrics/observations.js';
export type { Report } from './metrics/report.js';
export { metricsOf } from './metrics/metrics-of.js';
export { runSweep } from './sweep/run.js';
export type { CandidateResult, Recommendation, SweepResult } from './sweep/result.js';
export { generateDgd } from './deploy/dgd.js';
