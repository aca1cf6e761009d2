import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError, type Problem } from '../core/problem.js';
import { generateDgd } from '../deploy/dgd.js';
import type { DgdApi } from '../deploy/dynamo.js';
import type { Environment } from '../scenario/environment.js';
import { loadScenario, loadSweep } from '../scenario/load.js';
import type { Scenario } from '../scenario/scenario.js';
import { readSweepJson } from '../sweep/document.js';
import { createEnvironment } from '../timing/environment.js';
import { manifestOptions } from './manifest-options.js';
import { print, printWarnings } from './output.js';

const APIS: readonly DgdApi[] = ['v1alpha1', 'v1beta1'];
/** Ids named in a message at most. */
const IDS_SHOWN = 20;

interface DeployOptions {
  readonly candidate?: string;
  readonly kind: string;
  readonly api?: string;
  readonly dynamo?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly set: readonly string[];
  readonly out?: string;
  readonly overwrite?: boolean;
  readonly quiet?: boolean;
}

/** What to deploy: a scenario, and its id where it is a candidate. */
interface Chosen {
  readonly scenario: Scenario;
  readonly candidate?: string;
  readonly warnings: readonly Problem[];
}

/** `deploy RUN|FILE`: the manifest of a run, of a candidate of a sweep, or of a scenario. */
export function registerDeploy(program: Command): void {
  program
    .command('deploy')
    .description('write the Kubernetes manifest (DynamoGraphDeployment) of a run, of a candidate of a sweep, or of a scenario')
    .argument('<run|file>', 'folder that run, sweep or plan wrote, or a scenario file')
    .option('--candidate <id>', 'candidate of a sweep or plan folder (default: its first recommendation)')
    .option('--kind <kind>', 'of manifest: dgd', 'dgd')
    .option('--api <version>', `${APIS.join(' or ')} (default: the newest the release serves)`)
    .option('--dynamo <version>', 'Dynamo release (default: the one that carries the simulated engine version)')
    .option('--name <name>', "of the deployment (default: from the scenario's name)")
    .option('--namespace <name>', 'Kubernetes namespace')
    .option('--set <path=yaml>', 'set a field of the scenario; may be given more than once', (value: string, all: string[]) => [...all, value], [] as string[])
    .option('--out <file>', 'write the manifest here instead of to stdout')
    .option('--overwrite', 'replace an existing --out')
    .option('--quiet', 'no warnings on stderr')
    .action((source: string, options: DeployOptions) => deploy(source, options));
}

function deploy(source: string, options: DeployOptions): void {
  if (options.kind !== 'dgd') {
    throw new InputError({ code: 'E-UNSUPPORTED', path: '--kind', what: `'${options.kind}' manifests are not written yet`, hint: 'use --kind dgd' });
  }
  const api = parseApi(options.api);
  if (options.out !== undefined) checkTarget(options.out, options.overwrite === true);
  const environment = createEnvironment();
  const { scenario, candidate, warnings } = choose(source, options, environment);
  const made = generateDgd(scenario, {
    api,
    dynamoVersion: options.dynamo,
    name: options.name,
    namespace: options.namespace,
    candidate,
    ...manifestOptions(scenario, environment),
  });
  printWarnings([...warnings, ...made.warnings], options.quiet === true);
  if (options.out === undefined) {
    print(made.yaml);
  } else {
    writeFileWhole(options.out, made.yaml);
    print(options.out);
  }
}

function parseApi(text: string | undefined): DgdApi | undefined {
  const api = APIS.find((known) => known === text);
  if (text === undefined || api !== undefined) return api;
  throw new InputError({ code: 'E-ENUM', path: '--api', what: `'${text}' is not one of ${APIS.join(', ')}`, hint: 'choose one of these' });
}

function choose(source: string, options: DeployOptions, environment: Environment): Chosen {
  const sets = options.set;
  if (source === '-') return single(source, options, environment);
  if (!existsSync(source)) {
    throw new InputError({ code: 'E-FILE', file: source, what: 'no such file or folder', hint: "give a folder that 'run', 'sweep' or 'plan' wrote, or a scenario file" });
  }
  if (!statSync(source).isDirectory()) return single(source, options, environment);
  if (existsSync(join(source, 'sweep.json'))) {
    if (sets.length === 0) return fromSweep(source, options.candidate, environment);
    throw new InputError({ code: 'E-COMBINATION', path: '--set', what: 'a candidate of a sweep is fixed', hint: 'deploy a scenario file with --set' });
  }
  if (existsSync(join(source, 'scenario.yaml'))) return single(join(source, 'scenario.yaml'), options, environment);
  throw new InputError({ code: 'E-KIND', file: source, what: 'holds neither sweep.json nor scenario.yaml', hint: "give a folder that 'run', 'sweep' or 'plan' wrote" });
}

function single(file: string, { candidate, set }: DeployOptions, environment: Environment): Chosen {
  const { scenario, warnings } = loadScenario(file, { sets: set, environment });
  if (candidate === undefined) return { scenario, warnings };
  throw new InputError({ code: 'E-NO-EFFECT', path: '--candidate', what: `'${file}' is one scenario and has no candidates`, hint: 'give the folder of a sweep or plan, or leave --candidate out' });
}

/** The scenario of a candidate comes from sweep.yaml, as the sweep itself resolved it. */
function fromSweep(folder: string, wanted: string | undefined, environment: Environment): Chosen {
  const file = join(folder, 'sweep.json');
  const stored = readSweepJson(readFileSync(file, 'utf8'), file);
  const id = wanted ?? stored.recommendations[0]?.candidate.id;
  if (id === undefined) {
    const near = stored.nearestMisses.map((miss) => miss.id);
    throw new InputError({ code: 'E-MISSING', file: folder, path: '--candidate', what: 'the sweep recommends no candidate', hint: `name one${near.length > 0 ? `; closest were ${near.join(', ')}` : ''}` });
  }
  const known = stored.candidates.map((candidate) => candidate.id);
  if (!known.includes(id)) {
    const more = known.length > IDS_SHOWN ? ` and ${known.length - IDS_SHOWN} more in candidates.csv` : '';
    throw new InputError({ code: 'E-ENUM', file: folder, path: '--candidate', what: `'${id}' is not a candidate of this sweep`, hint: `known are ${known.slice(0, IDS_SHOWN).join(', ')}${more}` });
  }
  const { sweep } = loadSweep(join(folder, 'sweep.yaml'), { environment });
  const candidate = sweep.candidates.find((one) => one.id === id);
  if (candidate !== undefined) return { scenario: candidate.scenario, candidate: id, warnings: [] };
  throw new InputError({ code: 'E-CONFLICT', file: join(folder, 'sweep.yaml'), what: `no longer gives candidate ${id} of sweep.json`, hint: 'run the sweep again' });
}
