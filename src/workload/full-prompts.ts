import { WorkloadBuilder } from './builder.js';
import { expandRuns } from './expand-runs.js';
import type { Workload } from './workload.js';

/**
 * Delta sessions as rows that hold their whole prompts: one id per block of the trace's size, its content and all before
 * it. Prompts share what they shared; that generated text comes back in later prompts is kept in the ids of these, but an
 * engine no longer knows it when it is generated. Other workloads are answered as they are.
 */
export function fullPrompts(workload: Workload): Workload {
  if (!workload.newTokens) return workload;
  const { requestCount, traceBlockTokens, sessionNames, source } = workload;
  const { offsets, blocks, blockCount } = expandRuns(workload, traceBlockTokens);
  const builder = new WorkloadBuilder(workload.name, traceBlockTokens);
  for (const name of sessionNames) builder.addSession(name);
  for (let r = 0; r < requestCount; r++) {
    const ids = [...blocks.subarray(offsets[r]!, offsets[r + 1]!)];
    const promptTokens = workload.promptTokens[r]!;
    if (promptTokens % traceBlockTokens > 0) ids.push(blockCount + r);
    const hints = workload.hints?.get(r);
    builder.addRequest({ session: workload.session[r]!, arrivalMs: workload.arrivalMs[r]!, delayMs: workload.delayMs[r]!, promptTokens, outputTokens: workload.outputTokens[r]!, priority: workload.priority?.[r] ?? 0, strictPriority: workload.strictPriority?.[r] ?? 0, ...(hints && { hints }) }, ids);
  }
  return builder.finish(workload.warnings, source && { file: source.file, lines: [...source.lines] });
}
