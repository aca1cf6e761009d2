import { InputError, type Problem } from '../core/problem.js';

/** `plan` without a file: the flags as they stand on the command line. */
export interface PlanFlags {
  readonly model?: string;
  readonly hardware?: string;
  readonly gpus?: string;
  readonly isl?: string;
  readonly osl?: string;
  readonly ttft?: string;
  readonly itl?: string;
  readonly rate?: string;
  readonly concurrency?: string;
}

export const REQUIRED_FLAGS = ['model', 'hardware', 'gpus', 'isl', 'osl'] as const;
const OTHER_FLAGS = ['ttft', 'itl', 'rate', 'concurrency'] as const;

/** Flags of `PlanFlags` that are set, spelt as on the command line. */
export function givenFlags(flags: PlanFlags): string[] {
  return [...REQUIRED_FLAGS, ...OTHER_FLAGS].filter((name) => flags[name] !== undefined).map((name) => `--${name}`);
}

/**
 * The sweep that answers "what should these GPUs look like?": both modes, every layout that fills
 * them, round robin and KV routing. Without a load the concurrency is swept too. Values go in as
 * written, so that the loader judges them. Throws `InputError` naming every flag that is missing.
 */
export function planDocument(flags: PlanFlags): Record<string, unknown> {
  const problems: Problem[] = REQUIRED_FLAGS.filter((name) => flags[name] === undefined).map((name) => ({
    code: 'E-MISSING',
    path: `--${name}`,
    what: 'required when plan is given no file',
    hint: `add --${name}, or give a sweep file`,
  }));
  if (flags.rate !== undefined && flags.concurrency !== undefined) {
    problems.push({ code: 'E-CONFLICT', path: '--concurrency', what: '--rate is set too', hint: 'keep one' });
  }
  if (problems.length > 0) throw new InputError(problems);

  const { model, hardware, gpus, isl, osl, ttft, itl, rate, concurrency } = flags;
  const load = rate !== undefined ? { rate } : { concurrency: scalar(concurrency) ?? 16 };
  const bounds = { ...(ttft === undefined ? {} : { ttft }), ...(itl === undefined ? {} : { itl }) };
  return {
    name: 'plan',
    workload: { synthetic: { isl: scalar(isl), osl: scalar(osl) }, load, ...(rate === undefined ? {} : { requests: 500 }) },
    deployment: { model, hardware },
    ...(Object.keys(bounds).length === 0 ? {} : { slo: bounds }),
    space: {
      topology: { modes: ['agg', 'disagg'], gpus: scalar(gpus) },
      'router.policy': ['round_robin', 'kv'],
      ...(rate === undefined && concurrency === undefined ? { 'workload.load.concurrency': { from: 4, to: 256, scale: 'log2' } } : {}),
    },
    objectives: ['max tok_s_per_gpu', 'max tok_s_per_user'],
  };
}

/** Numbers as numbers, everything else as written. */
function scalar(text: string | undefined): string | number | undefined {
  return text !== undefined && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}
