import { readFileSync } from 'node:fs';
import type { Problem } from '../core/problem.js';
import { checkTree } from './check.js';
import { atLeast, choice, count, field, map, type MapKind } from './field-kinds.js';
import { Reader } from './reader.js';
import type { QueueClass, QueueClasses, QueueLimits } from './router-spec.js';
import { dropNulls, parseTree, type MapTree, type Tree } from './tree.js';

const name = { type: 'text', example: 'chat' } as const;

/** Fields of a file of policy classes, or of one model's profile in it. Source: spec router section 5.4. */
const PROFILE = {
  default_policy_family: field(name, 'Family of requests that name none'),
  uncached_isl_buckets: field({ type: 'list', of: map({ min_tokens: field(count(0), 'Uncached prompt tokens from which on it is this bucket'), bucket: field(name, 'Its name') }) }, 'Buckets of prompts, the first from 0'),
  policy_classes: field(
    {
      type: 'list',
      of: map({
        name: field(name, 'Its name, unlike any other'),
        policy_family: field(name, 'With a bucket: requests of this family and bucket'),
        cache_bucket: field(name, 'See policy_family; without both it is for requests that name it'),
        queue_policy: field(choice(['fcfs', 'wspt', 'lcfs']), 'Order', 'fcfs'),
        quantum: field(count(1), 'Uncached prompt tokens it may send per round'),
        prefill_busy_threshold: field(count(0), 'Prompt tokens still to compute above which a worker is busy'),
        prefill_busy_threshold_frac: field(atLeast(0), "The same as a share of a pass's token budget"),
        busy_worker_ratio: field({ type: 'number', rule: { above: 0, max: 1 } }, 'Share of the workers that are busy from which on requests wait', '1'),
        request_queue_limit_per_worker: field(count(0), 'Requests that may wait, per worker'),
        raw_isl_token_queue_limit_per_worker: field(count(0), 'Prompt tokens that may wait, per worker'),
        cached_token_queue_limit_per_worker: field(count(0), 'Cached prompt tokens that may wait, per worker'),
      }),
    },
    'The classes, in the order in which they are served',
  ),
};
const FILE: MapKind = map({ ...PROFILE, models: field({ type: 'space', takes: 'profiles by model' }, 'Profiles that replace everything else for one model') });

/** Why a file of policy classes cannot be read; `reason` as the system words it. */
export interface Unreadable {
  readonly reason: string;
}

/** The text of a file, or why it cannot be read. */
export function textOf(file: string): string | Unreadable {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { reason: code === 'ENOENT' ? 'no such file' : `cannot be read (${code})` };
  }
}

/**
 * The classes of a model's queue from the text of a file: those of its profile, which replaces all the rest, or else of
 * the file itself. Null when something is wrong, which `problems` then say by line and field, also of profiles of other models.
 */
export function parsePolicyClasses(text: string, file: string, model: string | null, problems: Problem[]): QueueClasses | null {
  const found: Problem[] = [];
  const classes = classesOf(text, file, model, found);
  problems.push(...found);
  return found.length > 0 ? null : classes;
}

function classesOf(text: string, file: string, model: string | null, problems: Problem[]): QueueClasses | null {
  const tree = parseTree(text, { file, line: 1, col: 1 }, problems);
  if (!tree) return null;
  if (tree.kind !== 'map') {
    problems.push({ code: 'E-KIND', ...tree.at, what: 'not a file of policy classes', hint: 'write a mapping with policy_classes' });
    return null;
  }
  const whole = dropNulls(tree) as MapTree;
  const profiles = new Map([...profilesOf(whole, problems)].map(([key, profile]) => [key, readProfile(profile, file, `models.${key}`, problems)]));
  const root = new Reader(checkTree(whole, FILE, problems), problems);
  const hasRoot = profiles.size === 0 || [...whole.entries.keys()].some((key) => key !== 'models');
  const ownRoot = hasRoot ? profileFrom(root, file) : null;
  const own = model === null ? undefined : profiles.get(model);
  if (own || ownRoot) return own ?? ownRoot;
  problems.push({ code: 'E-MISSING', ...whole.at, path: 'policy_classes', what: `no classes for ${model === null ? 'a run without a model' : `model '${model}'`}`, hint: `profiles here: ${[...profiles.keys()].join(', ')}` });
  return null;
}

function profilesOf(tree: MapTree, problems: Problem[]): ReadonlyMap<string, MapTree> {
  const models = tree.entries.get('models')?.value;
  if (!models) return new Map();
  const refuse = (at: Tree['at'], path: string): void => void problems.push({ code: 'E-TYPE', ...at, path, what: 'is not a mapping', hint: "write 'models: {NAME: {policy_classes: […]}}'" });
  if (models.kind !== 'map') refuse(models.at, 'models');
  const entries = models.kind === 'map' ? [...models.entries] : [];
  return new Map(entries.flatMap(([key, { value }]) => (value.kind === 'map' ? [[key, value] as const] : (refuse(value.at, `models.${key}`), []))));
}

function readProfile(tree: MapTree, file: string, prefix: string, problems: Problem[]): QueueClasses {
  const own: Problem[] = [];
  const profile = profileFrom(new Reader(checkTree(tree, map(PROFILE), own), own), file);
  for (const problem of own) problems.push({ ...problem, path: `${prefix}.${problem.path}` });
  return profile;
}

function profileFrom(reader: Reader, path: string): QueueClasses {
  const buckets = bucketsFrom(reader);
  const classes = listAt(reader, 'policy_classes', (at) => classFrom(reader, at));
  const isWrong = reader.has('policy_classes') && !reader.settings.blocks.has('policy_classes');
  if (classes.length === 0 && !isWrong) reader.problem(reader.has('policy_classes') ? 'E-RANGE' : 'E-MISSING', 'policy_classes', 'no class', "add 'policy_classes: [{name: all, policy_family: all, cache_bucket: all, quantum: 4096, prefill_busy_threshold_frac: 1}]'");
  const defaultFamily = reader.text('default_policy_family');
  const profile: QueueClasses = { path, ...(defaultFamily === undefined ? {} : { defaultFamily }), buckets, classes };
  checkTogether(reader, profile);
  return profile;
}

function bucketsFrom(reader: Reader): QueueClasses['buckets'] {
  const list = 'uncached_isl_buckets';
  const buckets = listAt(reader, list, (at) => ({
    minTokens: reader.required(`${at}.min_tokens`, reader.number(`${at}.min_tokens`), NaN, "add 'min_tokens: 0'"),
    bucket: reader.required(`${at}.bucket`, reader.text(`${at}.bucket`), '', "add 'bucket: short'"),
  }));
  buckets.forEach(({ minTokens, bucket }, index) => {
    const at = `${list}.${index}`;
    const before = buckets[index - 1];
    if (index === 0 && minTokens > 0) reader.problem('E-RANGE', `${at}.min_tokens`, `the first bucket begins at ${minTokens}, not at 0`, 'write min_tokens: 0');
    if (before && minTokens <= before.minTokens) reader.problem('E-RANGE', `${at}.min_tokens`, `${minTokens} is not above ${before.minTokens} of the bucket before`, 'write the buckets in ascending order');
    if (bucket !== '' && buckets.findIndex((other) => other.bucket === bucket) < index) reader.problem('E-DUPLICATE', `${at}.bucket`, `'${bucket}' is the name of two buckets`, 'rename one');
  });
  return buckets;
}

function classFrom(reader: Reader, at: string): QueueClass {
  const own = { name: reader.required(`${at}.name`, reader.text(`${at}.name`), '', "add 'name: chat'"), family: reader.text(`${at}.policy_family`), bucket: reader.text(`${at}.cache_bucket`) };
  for (const [missing, there] of [['policy_family', 'cache_bucket'], ['cache_bucket', 'policy_family']] as const) {
    if (!reader.has(`${at}.${missing}`) && reader.has(`${at}.${there}`)) reader.problem('E-MISSING', `${at}.${missing}`, `required beside ${there}`, `add it, or remove ${there}: a class without both is for requests that name it`);
  }
  const thresholds = { busyTokens: reader.number(`${at}.prefill_busy_threshold`), busyFraction: reader.number(`${at}.prefill_busy_threshold_frac`) };
  const hasThreshold = reader.has(`${at}.prefill_busy_threshold`) || reader.has(`${at}.prefill_busy_threshold_frac`);
  if (!hasThreshold) {
    for (const each of ['queue_policy', 'busy_worker_ratio', 'request_queue_limit_per_worker', 'raw_isl_token_queue_limit_per_worker', 'cached_token_queue_limit_per_worker']) {
      if (reader.has(`${at}.${each}`)) reader.problem('E-NO-EFFECT', `${at}.${each}`, 'nobody of this class waits: it has no threshold', 'remove it, or add prefill_busy_threshold or prefill_busy_threshold_frac');
    }
  }
  return known({
    ...own,
    policy: reader.choice<QueueClass['policy']>(`${at}.queue_policy`) ?? 'fcfs',
    quantum: reader.required(`${at}.quantum`, reader.number(`${at}.quantum`), 1, "add 'quantum: 4096', tokens per round"),
    ...thresholds,
    busyRatio: reader.number(`${at}.busy_worker_ratio`),
    limits: known<QueueLimits>({
      requests: reader.number(`${at}.request_queue_limit_per_worker`),
      promptTokens: reader.number(`${at}.raw_isl_token_queue_limit_per_worker`),
      cachedTokens: reader.number(`${at}.cached_token_queue_limit_per_worker`),
    }),
  });
}

/** Names and combinations. */
function checkTogether(reader: Reader, { defaultFamily, buckets, classes }: QueueClasses): void {
  const inFamilies = classes.filter(({ family, bucket }) => family !== undefined && bucket !== undefined);
  const served = (family: string, bucket: string): boolean => inFamilies.some((each) => each.family === family && each.bucket === bucket);
  classes.forEach(({ name: own, family, bucket }, index) => {
    const at = `policy_classes.${index}`;
    const earlier = classes.slice(0, index);
    if (own !== '' && earlier.some((each) => each.name === own)) reader.problem('E-DUPLICATE', `${at}.name`, `'${own}' is the name of two classes`, 'rename one');
    if (family === undefined || bucket === undefined) return;
    if (!buckets.some((each) => each.bucket === bucket)) reader.problem('E-COMBINATION', `${at}.cache_bucket`, `there is no bucket '${bucket}'`, buckets.length > 0 ? `buckets here: ${buckets.map((each) => each.bucket).join(', ')}` : "add 'uncached_isl_buckets: [{min_tokens: 0, bucket: all}]'");
    if (earlier.some((each) => each.family === family && each.bucket === bucket)) reader.problem('E-DUPLICATE', `${at}.policy_family`, `family '${family}' with bucket '${bucket}' is already that of another class`, 'keep one');
  });
  const families = [...new Set(inFamilies.map(({ family }) => family!))];
  for (const family of families) {
    const place = `policy_classes.${classes.findIndex((each) => each.family === family)}.policy_family`;
    for (const { bucket } of buckets) if (!served(family, bucket)) reader.problem('E-COMBINATION', place, `no class serves family '${family}' with bucket '${bucket}'`, `add one with policy_family: ${family} and cache_bucket: ${bucket}`);
  }
  if (families.length > 0 && !reader.has('default_policy_family')) reader.problem('E-MISSING', 'default_policy_family', 'required where classes have families', `add 'default_policy_family: ${families[0]}'`);
  if (defaultFamily !== undefined && !families.includes(defaultFamily)) reader.problem('E-COMBINATION', 'default_policy_family', `no class has the family '${defaultFamily}'`, families.length > 0 ? `families here: ${families.join(', ')}` : 'remove it, or add a class of this family');
  if (families.length === 0 && buckets.length > 0) reader.problem('E-NO-EFFECT', 'uncached_isl_buckets', 'no class has a bucket', 'remove it, or add classes with policy_family and cache_bucket');
  if (classes.length > 0 && classes.every(({ busyTokens, busyFraction }) => busyTokens === undefined && busyFraction === undefined) && reader.problems.length === 0) {
    reader.problem('E-NO-EFFECT', 'policy_classes', 'no class has a threshold, so nobody ever waits', 'add prefill_busy_threshold or prefill_busy_threshold_frac to one');
  }
}

function listAt<T>(reader: Reader, list: string, read: (path: string) => T): T[] {
  const items: T[] = [];
  for (let index = 0; reader.has(`${list}.${index}`); index++) items.push(read(`${list}.${index}`));
  return items;
}

/** Without what is not there. */
function known<T extends object>(values: { [key in keyof T]: T[key] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
