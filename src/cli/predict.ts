import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { Command } from 'commander';
import { caseFields, readCases } from '../calibrate/case.js';
import { evidenceCounts, PREDICTION_COLUMNS, predictCases, predictionsCsv } from '../calibrate/predict.js';
import { loadRealisticProfile } from '../timing/calibration/profile.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { positiveInteger } from './options.js';
import { print } from './output.js';
import { addThreadOptions, withSimulations, type ThreadOptions } from './simulations.js';

interface PredictOptions extends ThreadOptions {
  readonly cases: string;
  readonly out: string;
  readonly profile?: string;
  readonly overwrite?: boolean;
}

/** `predict --cases F --out F`: mean TTFT and TPOT of every case, with intervals and what they rest on. */
export function registerPredict(program: Command): void {
  addThreadOptions(
    program
      .command('predict')
      .description('predict mean TTFT and TPOT of deployments under load, with 90 % intervals')
      .requiredOption('--cases <file>', 'JSONL, one deployment and load a line')
      .requiredOption('--out <file>', `CSV to write, whole or not at all: ${PREDICTION_COLUMNS.join(', ')}`)
      .option('--profile <file>', "realistic.yaml that 'calibrate fit' wrote (default: the one that ships)")
      .option('--overwrite', 'replace an existing file that is no earlier prediction'),
    positiveInteger('--parallel'),
  )
    .addHelpText('after', helpText)
    .action(predict);
}

/** What stands in a line of cases and how to read the answers. */
function helpText(): string {
  const { agg, disagg } = caseFields();
  return `
Fields of a case, all required, no others allowed:
  mode agg:     ${agg.join(', ')}
  mode disagg:  ${disagg.filter((name) => !agg.includes(name)).join(' and ')} ({workers, batch, tp, pp, attention_dp, moe_tp, moe_ep}) in place of gpus to columns_corrected
Load is a closed loop at concurrency with num_prompts requests, all first ones sent at once; lengths are uniform in [length_low, 1] of isl and osl.
Evidence, best first: measured_group, other_system, backend_mean, borrowed_tables. A case that cannot be simulated has empty numbers and a reason.
`;
}

async function predict({ cases: file, out, profile, overwrite, parallel, quiet }: PredictOptions): Promise<void> {
  checkTarget(out, overwrite === true || isReplaceable(out));
  const cases = readCases(file);
  const { calibration } = loadRealisticProfile(profile);
  const rows = await withSimulations({ parallel, quiet }, (simulations) => predictCases(cases, calibration, simulations));
  writeFileWhole(out, predictionsCsv(rows));
  const counts = [...evidenceCounts(rows)].sort().map(([name, count]) => `${count} ${name.replace('_', ' ')}`);
  print(`${rows.length} cases (${counts.join(', ')}) written to ${out}`);
}

/** True for what nobody misses: an empty file, or predictions of an earlier run. */
function isReplaceable(path: string): boolean {
  if (path === '' || !existsSync(path)) return false;
  const head = Buffer.alloc(256);
  try {
    const file = openSync(path, 'r');
    const length = readSync(file, head);
    closeSync(file);
    return length === 0 || head.toString('utf8', 0, length).startsWith(PREDICTION_COLUMNS.join(','));
  } catch {
    return false;
  }
}
