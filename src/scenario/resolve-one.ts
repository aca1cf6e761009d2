import type { Problem } from '../core/problem.js';
import { checkTree, type Setting, type Settings } from './check.js';
import type { Environment } from './environment.js';
import { SCENARIO_FIELDS } from './fields.js';
import { Reader, under, type Inert } from './reader.js';
import { resolveScenario } from './resolve.js';
import type { Scenario } from './scenario.js';
import type { MapTree } from './tree.js';

/** Blocks that decide whether a field of a block is read: with an error in them nothing can be said. */
const DECIDED_BY: Readonly<Record<string, readonly string[]>> = {
  deployment: ['deployment', 'timing', 'run'],
  router: ['router', 'deployment', 'run'],
  timing: ['timing', 'deployment', 'run'],
};

export interface ResolvedOne {
  /** Means something only when `problems` is empty. */
  readonly scenario: Scenario;
  readonly problems: readonly Problem[];
  /** Fields without effect whose case is clear. */
  readonly complaints: readonly Inert[];
  /** Paths of all fields that are set, and of those that changed nothing. */
  readonly set: readonly string[];
  readonly inert: readonly string[];
}

/** Checks and resolves one scenario tree. Pools in `absent` are left out, their fields without effect. */
export function resolveOne(tree: MapTree, name: string, environment: Environment, absent: readonly string[] = []): ResolvedOne {
  const problems: Problem[] = [];
  const checked = checkTree(tree, SCENARIO_FIELDS, problems);
  const { settings, dropped } = withoutPools(checked, absent);
  const reader = new Reader(settings, problems);
  const scenario = resolveScenario(reader, environment, name);
  const { complaints, paths } = reader.inert();
  const broken = new Set(problems.map((problem) => problem.path?.split('.')[0]));
  const clear = complaints.filter(({ setting }) => {
    const block = setting.path.split('.')[0]!;
    return !(DECIDED_BY[block] ?? [block]).some((other) => broken.has(other));
  });
  const unused = dropped.map((setting): Inert => ({ setting, what: 'no candidate has this pool', hint: 'remove it' }));
  return {
    scenario,
    problems,
    complaints: [...clear, ...unused],
    set: [...checked.leaves.keys()],
    inert: [...paths, ...dropped.map((setting) => setting.path)],
  };
}

function withoutPools(settings: Settings, absent: readonly string[]): { settings: Settings; dropped: Setting[] } {
  const gone = (path: string): boolean => absent.some((role) => under(path, `deployment.${role}`));
  const kept = (map: ReadonlyMap<string, Setting>): Map<string, Setting> => new Map([...map].filter(([path]) => !gone(path)));
  return {
    settings: { root: settings.root, leaves: kept(settings.leaves), blocks: kept(settings.blocks) },
    dropped: [...settings.leaves.values()].filter((setting) => gone(setting.path)),
  };
}

/** The problem of a field without effect: a warning when it was inherited. */
export function noEffect({ setting, what, hint }: Inert): Problem {
  return { code: setting.inherited ? 'W-NO-EFFECT' : 'E-NO-EFFECT', ...setting.key, path: setting.path, what, hint };
}
