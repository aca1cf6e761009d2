import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Check } from '../core/check.js';
import { writeFileWhole } from '../core/folder.js';
import { aiperfTable } from '../metrics/aiperf-table.js';
import type { Observations } from '../metrics/observations.js';
import { replayReport } from '../metrics/replay-report.js';
import { checkClasses } from '../router/request-classes.js';
import { replaySimulation, type ReplayDeployment } from '../sim/replay-config.js';
import { runSimulationAsync } from '../sim/run.js';
import { checkTargets } from '../sim/targets.js';
import { expandBlocks } from '../workload/expand.js';
import { checkDriver } from '../workload/check.js';
import { readTrace } from '../workload/formats/trace.js';
import type { Workload } from '../workload/workload.js';
import { addCheckOption, type CheckOption } from './options.js';
import { tuneForOneRun } from './one-run.js';
import { jsonText, print, printCheck, printWarnings } from './output.js';
import { addReplayFlags, planReplay, type ReplayFlags, type ReplayPlan } from './replay-flags.js';

/** `dynotwin replay`: the flags, table and files of `python -m dynamo.replay` 1.4. */
export function registerReplay(program: Command): void {
  const command = program
    .command('replay')
    .description('replay a trace with the flags and files of python -m dynamo.replay 1.4')
    .argument('[trace...]', 'trace file; several for --trace-format dynamo')
    .option('--report-json <path>', 'where the report goes (default ./dynamo_replay_report_<time>.json; a folder gets that name)')
    .option('--report-jsonl <path>', 'one row per request')
    .option('--quiet', 'no warnings');
  addReplayFlags(addCheckOption(command)).action(async (traces: string[], flags: ReplayFlags & CheckOption & { quiet?: boolean }) => {
    await replay(traces, flags, flags.quiet === true, flags.check ? new Check() : undefined);
  });
}

async function replay(traces: readonly string[], flags: ReplayFlags, quiet: boolean, check: Check | undefined): Promise<void> {
  const startMs = performance.now();
  tuneForOneRun();
  const plan = planReplay(traces, flags);
  const reportPath = reportTarget(flags['reportJson']);
  const rowsPath = flags['reportJsonl'];
  const workload = await loadReplayWorkload(plan);
  const observations = await simulateReplay(plan, workload, check);
  const report = replayReport(observations, { ...plan.sla, wallTimeMs: performance.now() - startMs });
  if (check) printCheck(check, quiet);
  printWarnings([...plan.warnings, ...observations.warnings], quiet);
  writeFileWhole(reportPath, jsonText(report), '--report-json');
  if (rowsPath !== undefined) {
    const { jsonLines, replayRows } = await import('../metrics/replay-rows.js');
    writeFileWhole(rowsPath, jsonLines(replayRows(observations)), '--report-jsonl');
  }
  print(aiperfTable(report, reportPath));
  if (observations.decisions) {
    const { routeDecisionsCsv, routeDecisionsText } = await import('../metrics/route-decisions.js');
    writeFileWhole(routesTarget(reportPath), routeDecisionsCsv(observations.decisions), '--report-json');
    print(`\n${routeDecisionsText(observations.decisions)}\nwritten to ${routesTarget(reportPath)}`);
  }
}

/** The plan's trace, or the synthetic load it asks for. */
export async function loadReplayWorkload(plan: ReplayPlan, slice: { readonly skip?: number; readonly requests?: number | null } = {}): Promise<Workload> {
  const { source, deployment } = plan;
  if (source.kind === 'trace') {
    const { paths, format, blockTokens, sharedPrefix } = source;
    const workload = await readTrace(paths, format, { blockTokens, sharedPrefix, strict: false, fidelity: deployment.fidelity, ...slice });
    checkDriver(workload, deployment.driver);
    return workload;
  }
  const { inputTokens, outputTokens, count, turns, interTurnDelayMs, load, sharedPrefix, seed } = source.load;
  const { synthesizeLoad } = await import('../workload/synthetic.js');
  return synthesizeLoad({
    isl: { kind: 'constant', value: inputTokens },
    osl: { kind: 'constant', value: outputTokens },
    sharedPrefix,
    count,
    turns,
    thinkTimeMs: { kind: 'constant', ms: interTurnDelayMs },
    load: load.kind === 'rate' ? { ...load, smoothness: 1, seed } : load,
    blockTokens: deployment.pools[0]!.args.engine.blockTokens,
    seed,
  });
}

/** Runs a plan on its workload; with a `check` under it. */
export async function simulateReplay(plan: ReplayPlan, workload: Workload, check?: Check): Promise<Observations> {
  const deployment = await deploymentOf(plan, workload);
  const table = expandBlocks(workload, plan.deployment.pools[0]!.args.engine.blockTokens);
  const config = replaySimulation(deployment);
  checkTargets(config.router, config.pools, workload);
  const observations = await runSimulationAsync(config, workload, table, check);
  return { ...observations, warnings: [...workload.warnings, ...observations.warnings] };
}

/** With the classes of its router's queue, to which every request must belong. */
async function deploymentOf({ deployment, classes }: ReplayPlan, workload: Workload): Promise<ReplayDeployment> {
  if (!classes) return deployment;
  const { readReplayClasses } = await import('./replay-classes.js');
  const queueClasses = readReplayClasses(classes);
  checkClasses(queueClasses, workload);
  return { ...deployment, router: { ...deployment.router, queueClasses } };
}

/** Beside the report: its name with _routes.csv. */
function routesTarget(reportPath: string): string {
  return `${reportPath.replace(/\.json$/, '')}_routes.csv`;
}

function reportTarget(wanted: string | undefined): string {
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('T', '_').slice(0, 15);
  const name = `dynamo_replay_report_${stamp}.json`;
  if (wanted === undefined) return name;
  const isFolder = /[\\/]$/.test(wanted) || (existsSync(wanted) && statSync(wanted).isDirectory());
  return isFolder ? join(wanted, name) : wanted;
}
