import { z } from 'zod';
import { basename } from 'node:path';
import { percentileLinear } from '../../core/distribution.js';
import { InputError } from '../../core/problem.js';
import { wholeText } from '../../workload/formats/lines.js';
import type { Imported, RequestTiming, Tally, ImportOptions } from './imported.js';
import { jsonlFiles, jsonLines, parsedObject, type JsonLine } from './lines.js';

/** What a Dynamo frontend says of each request: `nvext.timing` of its answers, or its request trace. Source: workload section 1.5. */

const number = z.number().nullish().transform((value) => value ?? null);
const text = z.string().nullish().transform((value) => value ?? null);
const timingSchema = z.looseObject({
  request_id: text, model: text, input_tokens: number, output_tokens: number, prefill_wait_time_ms: number, prefill_time_ms: number, ttft_ms: number, total_time_ms: number, kv_hit_rate: number,
});

/**
 * Reads answers (JSON, or one a line) with `nvext.timing`, or the records of a request trace, plain or wrapped in `event`, `.gz` or not, or
 * the files of a folder. Events of other kinds and records without any time are counted as left out. Throws `E-SYNTAX`, `E-ROW`.
 */
export async function importRequestTiming(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const files = jsonlFiles(source);
  const whole = files.length === 1 ? parsedObject(await wholeText(files[0]!)) : null;
  const rows: RequestTiming[] = [];
  const add = (line: JsonLine): void => {
    const row = timingOf(line, options);
    if (typeof row === 'string') tally.drop(row);
    else rows.push(row);
  };
  if (whole !== null) add({ value: whole, file: files[0]!, line: 1 });
  else for await (const line of jsonLines(files, () => tally.drop('last line, cut off'))) add(line);
  if (rows.length === 0) throw new InputError({ code: 'E-ROW', file: source, what: 'holds no timing of a request', hint: "give answers with nvext.timing, or a trace with 'request_end' records" });
  return { shape: 'requests', rows };
}

function timingOf({ value, file, line }: JsonLine, { model }: ImportOptions): RequestTiming | string {
  const record = (value['event'] ?? value) as Readonly<Record<string, unknown>>;
  const extension = record['nvext'] as { readonly timing?: Readonly<Record<string, unknown>> } | undefined;
  const usage = record['usage'] as { readonly prompt_tokens?: unknown; readonly completion_tokens?: unknown } | undefined;
  const answer = extension?.timing && { request_id: record['id'], model: record['model'], input_tokens: usage?.prompt_tokens, output_tokens: usage?.completion_tokens, ...extension.timing };
  const raw = answer ?? (record['event_type'] === 'request_end' ? record['request'] : undefined);
  if (raw === undefined) return typeof record['event_type'] === 'string' ? `event ${record['event_type']}` : 'answer without timing';
  const parsed = timingSchema.safeParse(raw);
  if (!parsed.success) throw new InputError({ code: 'E-ROW', file, line, path: parsed.error.issues[0]!.path.join('.'), what: parsed.error.issues[0]!.message, hint: 'correct or remove the line' });
  const { request_id: id, prefill_wait_time_ms: wait, prefill_time_ms: prefill, ttft_ms: ttft, total_time_ms: total, kv_hit_rate: hits, input_tokens: input, output_tokens: output } = parsed.data;
  if ([wait, prefill, ttft, total].every((time) => time === null)) return 'request without times';
  return {
    source: basename(file), request_id: id ?? `line ${line}`, model: model ?? parsed.data.model, input_tokens: input, output_tokens: output,
    prefill_wait_ms: wait, prefill_ms: prefill, ttft_ms: ttft, total_ms: total, kv_hit_rate: hits,
    frontend_ms: ttft === null || wait === null || prefill === null ? null : ttft - wait - prefill,
  };
}

/** What is summarised of requests. */
const TIMING_METRICS = ['prefill_wait_ms', 'prefill_ms', 'ttft_ms', 'total_ms', 'kv_hit_rate', 'frontend_ms'] as const;

/** Number of requests with each metric, its median and 90th percentile (linear between samples); metrics that no request has are left out. */
export function summariseTiming(rows: readonly RequestTiming[]): { readonly metric: string; readonly n: number; readonly median: number; readonly p90: number }[] {
  return TIMING_METRICS.flatMap((metric) => {
    const sorted = Float64Array.from(rows.flatMap((row) => row[metric] ?? [])).sort();
    return sorted.length === 0 ? [] : [{ metric, n: sorted.length, median: percentileLinear(sorted, 50), p90: percentileLinear(sorted, 90) }];
  });
}
