import { createHash } from 'node:crypto';
import { z } from 'zod';
import { InputError, type Problem } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import { canonicalJson } from '../../scenario/hash.js';
import { recordKey } from './measurement-files.js';
import { loadSchema, policySchema, type LoadModel, type Point } from './points.js';
import { encode, parseLine, requestSchema, WIRE_VERSION } from './wire.js';

/** Plan files: a header, then `load_model` and `measure` messages in the order they are sent. A model serves the points after it. */

const headerSchema = z.strictObject({
  type: z.literal('plan'),
  v: z.literal(WIRE_VERSION),
  /** See `planHash`. */
  plan_hash: z.string().regex(/^[0-9a-f]{64}$/),
  name: z.string(),
  /** Name of the hardware in the catalogue. */
  hardware: z.string(),
  /** Part of the GPU's own name, whatever its case. */
  gpu_name: z.string().min(1),
  /** Time of one run, s. */
  budget_s: z.number().positive(),
  policy: policySchema,
});
export type PlanHeader = z.infer<typeof headerSchema>;

/** A line of a plan. */
export type PlanStep = { readonly id: number; readonly load: LoadModel } | { readonly id: number; readonly point: Point };

export interface Plan {
  readonly file: string;
  readonly header: PlanHeader;
  readonly steps: readonly PlanStep[];
}

/** SHA-256 (hex) of a plan: canonical JSON of its header but for budget and hash, then the lines below as they are. A plan may be continued with another budget. */
export function planHash({ plan_hash: _hash, budget_s: _budget, ...header }: Omit<PlanHeader, 'plan_hash'> & { readonly plan_hash?: string }, lines: readonly string[]): string {
  return createHash('sha256').update([canonicalJson(header), ...lines].join('\n')).digest('hex');
}

/** Text of a plan file; ids are numbered from 1. */
export function planText(head: Omit<PlanHeader, 'type' | 'v' | 'plan_hash'>, steps: readonly ({ readonly load: LoadModel } | { readonly point: Point })[]): string {
  const lines = steps.map((step, index) =>
    encode('load' in step ? { v: WIRE_VERSION, id: index + 1, type: 'load_model', ...step.load } : { v: WIRE_VERSION, id: index + 1, type: 'measure', point: step.point }),
  );
  const start = { type: 'plan', v: WIRE_VERSION } as const;
  const header: PlanHeader = { ...start, plan_hash: planHash({ ...start, ...head }, lines), ...head };
  return `${[JSON.stringify(header), ...lines].join('\n')}\n`;
}

/** Reads a plan file; a pid stands once for each tensor-parallel degree. Throws `InputError`: `E-FILE`, `E-SYNTAX` (no JSON), `E-PLAN` (malformed, out of order, changed after it was written) with file and line. */
export function readPlan(file: string): Plan {
  return parsePlan(readText(file), file);
}

/** `readPlan` of text already read. */
export function parsePlan(text: string, file: string): Plan {
  const [first, ...rest] = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n') as [string, ...string[]];
  const header = parseOrRefuse(headerSchema, first, file, 1);
  if (planHash(header, rest) !== header.plan_hash) refuse({ file, line: 1, path: 'plan_hash', what: 'is not that of this plan: it was changed', hint: 'write the plan anew with dynotwin calibrate plan' });
  const steps: PlanStep[] = [];
  const seen = new Set<string>();
  rest.forEach((line, index) => {
    const step = planStep(line, file, index + 2);
    if ('point' in step) checkOrder(step.point, steps, seen, file, index + 2);
    steps.push(step);
  });
  if (seen.size === 0) refuse({ file, line: 1, what: 'measures no point', hint: 'add measure lines' });
  return { file, header, steps };
}

function planStep(line: string, file: string, number: number): PlanStep {
  const request = parseOrRefuse(requestSchema, line, file, number);
  if (request.type === 'measure') return { id: request.id, point: request.point };
  if (request.type === 'load_model') return { id: request.id, load: loadOf(request) };
  return refuse({ file, line: number, path: 'type', what: `'${request.type}' stands in no plan`, hint: 'write load_model and measure lines only' });
}

/** What is loaded, without the envelope. */
function loadOf(message: LoadModel): LoadModel {
  return loadSchema.strip().parse(message);
}

function checkOrder(point: Point, before: readonly PlanStep[], seen: Set<string>, file: string, line: number): void {
  const tp = before.findLast((step) => 'load' in step)?.load.shard.tp ?? null;
  if (point.kind === 'pass' && tp === null) refuse({ file, line, path: 'point', what: 'is a pass before any load_model', hint: 'put a load_model line before it' });
  if (seen.has(recordKey(tp, point.pid))) refuse({ file, line, path: 'point.pid', what: `'${point.pid}' stands twice`, hint: 'keep one of them; a repeat has its own pid' });
  if ((point.of === undefined) !== (point.repeat === undefined) || (point.of !== undefined && !seen.has(recordKey(tp, point.of)))) {
    refuse({ file, line, path: 'point.of', what: 'is no point before it', hint: 'name the pid that is repeated, and which repeat it is' });
  }
  seen.add(recordKey(tp, point.pid));
}

function parseOrRefuse<T>(schema: z.ZodType<T>, text: string, file: string, line: number): T {
  const parsed = parseLine(schema, text);
  if (parsed.ok) return parsed.value;
  if (parsed.path !== '') return refuse({ file, line, path: parsed.path, what: parsed.what, hint: 'write the plan with dynotwin calibrate plan' });
  throw new InputError({ code: 'E-SYNTAX', file, line, what: `the line ${parsed.what}`, hint: 'a plan has one JSON object on each line' });
}

function refuse(problem: Omit<Problem, 'code'>): never {
  throw new InputError({ code: 'E-PLAN', ...problem });
}
