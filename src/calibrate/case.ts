import { z } from 'zod';
import { InputError, type Problem } from '../core/problem.js';
import { readText } from '../core/read-text.js';
import { suggest } from '../scenario/suggest.js';
import { CASE_BACKENDS, type CaseBackend } from '../timing/calibration/effects.js';
import { RowText } from '../workload/formats/row-fields.js';

/**
 * One measured (or wanted) load on one deployment: corrected layout, launch settings, lengths. Holds no measured value.
 * Source: spec accuracy sections 1 and 6. In files the names are snake_case.
 */

interface CommonCase {
  readonly id: string;
  readonly backend: CaseBackend;
  readonly backendVersion: string | null;
  readonly model: string;
  readonly system: string;
  readonly precision: 'fp8' | 'fp4' | 'bf16' | 'int4' | null;
  readonly source: 'inferencex' | 'aic-gap';
  /** Date of the measurement, YYYY-MM-DD. */
  readonly measured: string | null;
  /** Nominal prompt and output lengths in tokens. */
  readonly isl: number;
  readonly osl: number;
  /** Lengths are uniform in [lengthLow, 1] · nominal, prompt and output apart. */
  readonly lengthLow: number;
  /** Requests in flight, closed loop, over the whole deployment. */
  readonly concurrency: number;
  readonly numPrompts: number;
  /** False: the first requests pay for compilation. */
  readonly warmedUp: boolean;
  readonly ignoreEos: boolean;
  readonly prefixCaching: boolean;
  readonly specDecode: 'none' | 'unknown' | 'mtp-likely';
  /** False: not fit for validation, for the reason in `why`. */
  readonly use: boolean;
  readonly why: string;
  /** Id of the case that lists the same measurement first. */
  readonly twinOf: string | null;
}

export interface AggCase extends CommonCase {
  readonly mode: 'agg';
  readonly gpus: number;
  readonly tp: number;
  readonly pp: number;
  readonly attentionDp: number;
  readonly moeTp: number;
  readonly moeEp: number;
  readonly maxNumBatchedTokens: number;
  /** Null: at least the concurrency. */
  readonly maxNumSeqs: number | null;
  /** Decode passes between two looks at the waiting requests (SGLang). */
  readonly receiveInterval: number;
  readonly columnsCorrected: boolean;
}

/** One pool of a disaggregated deployment. */
export interface CasePool {
  readonly tp: number;
  readonly pp: number;
  readonly attentionDp: number;
  readonly moeTp: number;
  readonly moeEp: number;
  /** Requests a worker takes at once; null: not known. */
  readonly batch: number | null;
  /** Null: not known. */
  readonly workers: number | null;
}

export interface DisaggCase extends CommonCase {
  readonly mode: 'disagg';
  readonly prefill: CasePool;
  readonly decode: CasePool;
}

export type Case = AggCase | DisaggCase;

/** Problems of one file that are told. */
const MOST_PROBLEMS = 20;

const whole = z.number().int().min(1).max(2 ** 31 - 1);

const common = {
  id: z.string().min(1),
  backend: z.enum(CASE_BACKENDS),
  backend_version: z.string().nullable(),
  model: z.string().min(1),
  system: z.string().min(1),
  precision: z.enum(['fp8', 'fp4', 'bf16', 'int4']).nullable(),
  source: z.enum(['inferencex', 'aic-gap']),
  measured: z.string().nullable(),
  isl: whole,
  osl: whole,
  length_low: z.number().gt(0).max(1),
  concurrency: whole,
  num_prompts: whole,
  warmed_up: z.boolean(),
  ignore_eos: z.boolean(),
  prefix_caching: z.boolean(),
  spec_decode: z.enum(['none', 'unknown', 'mtp-likely']),
  use: z.boolean(),
  why: z.string(),
  twin_of: z.string().nullable(),
};

const poolSchema = z.strictObject({ workers: whole.nullable(), batch: whole.nullable(), tp: whole, pp: whole, attention_dp: whole, moe_tp: whole, moe_ep: whole });

const caseSchema = z.discriminatedUnion('mode', [
  z.strictObject({
    mode: z.literal('agg'),
    ...common,
    gpus: whole,
    tp: whole,
    pp: whole,
    attention_dp: whole,
    moe_tp: whole,
    moe_ep: whole,
    max_num_batched_tokens: whole,
    max_num_seqs: whole.nullable(),
    receive_interval: whole,
    columns_corrected: z.boolean(),
  }),
  z.strictObject({ mode: z.literal('disagg'), ...common, prefill: poolSchema, decode: poolSchema }),
]);

const knownFields = (path: readonly PropertyKey[], mode: unknown): readonly string[] =>
  path.length > 0 ? Object.keys(poolSchema.shape) : Object.keys((caseSchema.options.find(({ shape }) => shape.mode.value === mode) ?? caseSchema.options[0]).shape);

/** Names of the fields of a case, all of them required, by mode. */
export function caseFields(): Readonly<Record<'agg' | 'disagg', readonly string[]>> {
  return { agg: knownFields([], 'agg'), disagg: knownFields([], 'disagg') };
}

/**
 * Cases of a JSONL file, in order; blank lines are skipped. Throws `InputError` with every bad field as
 * file:line:column: `E-SYNTAX`, `E-FIELD` for a field that does not exist, `E-CASE` for a missing or bad value, `E-FILE`.
 */
export function readCases(path: string): Case[] {
  return parseCases(readText(path), path);
}

/** `readCases` of text already read. */
export function parseCases(text: string, path: string): Case[] {
  const cases: Case[] = [];
  const problems: Problem[] = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    try {
      cases.push(parseCase(new RowText(path, index + 1, line)));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(...error.problems);
    }
  });
  if (problems.length > 0) throw new InputError(firstProblems(problems));
  if (cases.length === 0) throw new InputError({ code: 'E-CASE', file: path, what: 'holds no case', hint: 'write one JSON object a line' });
  return cases;
}

/** Those a reader can take in, and how many there are beside. */
export function firstProblems(problems: readonly Problem[]): Problem[] {
  const shown = problems.slice(0, MOST_PROBLEMS);
  const rest = problems.length - shown.length;
  const last = shown.at(-1)!;
  return rest > 0 ? [...shown.slice(0, -1), { ...last, hint: `${last.hint ?? ''} (and ${rest} more problems in this file)` }] : shown;
}

function parseCase(row: RowText): Case {
  row.object();
  const value = JSON.parse(row.text) as Readonly<Record<string, unknown>>;
  const parsed = caseSchema.safeParse(value);
  if (parsed.success) return camelCase(parsed.data) as unknown as Case;
  throw new InputError(
    parsed.error.issues.flatMap((issue) => {
      const at = issue.path as (string | number)[];
      if (issue.code !== 'unrecognized_keys') return row.problem(at, issue.message.replace(/^./, (first) => first.toLowerCase()), "'dynotwin predict --help' lists the fields of a case", 'E-CASE').problems;
      const known = knownFields(at, value['mode']);
      return issue.keys.flatMap((key) => {
        const near = suggest(key, known);
        return row.problem([...at, key], 'unknown field', near === undefined ? `a case knows ${known.join(', ')}` : `did you mean ${near}?`, 'E-FIELD').problems;
      });
    }),
  );
}

/** Snake-case names as camelCase, also inside objects. */
function camelCase(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return renamed(value, (name) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()));
}

/** A case as a line of a file. */
export function caseLine(one: Case): string {
  const snake = renamed(one as unknown as Readonly<Record<string, unknown>>, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return JSON.stringify(snake);
}

function renamed(value: Readonly<Record<string, unknown>>, rename: (name: string) => string): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [rename(name), typeof inner === 'object' && inner !== null ? renamed(inner as Readonly<Record<string, unknown>>, rename) : inner]),
  );
}
