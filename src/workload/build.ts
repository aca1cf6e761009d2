import { InputError } from '../core/problem.js';
import type { Fidelity, WorkloadSpec } from '../scenario/scenario.js';
import { WorkloadBuilder } from './builder.js';
import { checkDriver } from './check.js';
import { readTrace } from './formats/trace.js';
import { GENERATED_BLOCK_TOKENS } from './generate/drafts.js';
import { generateTrace, type TraceRow } from './generate/generate.js';
import { synthesizeLoad } from './synthetic.js';
import type { Workload } from './workload.js';

/**
 * Reads or makes the workload of a scenario, cut to `spec.requests`. `blockTokens` is the engine's
 * block size (plain synthetic prompts are made of such blocks); `seed` is the run's; `strict` refuses prompts that
 * their hash ids do not cover, else they are cut; `fidelity` decides what the references read differently.
 * Throws `InputError` with the reader's codes, or `E-TRACE` where an open loop lacks timestamps.
 */
export async function buildWorkload(spec: WorkloadSpec, { seed, blockTokens, strict, fidelity }: { readonly seed: number; readonly blockTokens: number; readonly strict: boolean; readonly fidelity: Fidelity }): Promise<Workload> {
  const { source, load, requests } = spec;
  switch (source.kind) {
    case 'trace': {
      const workload = await readTrace([source.path], spec.format, { blockTokens: spec.traceBlockTokens, strict, requests, fidelity, ...(spec.nestedTimestamps && { nestedTimestamps: spec.nestedTimestamps }) });
      const lanes = load.kind === 'speedup' ? load.lanes : undefined;
      checkDriver(workload, load.kind === 'concurrency' ? { kind: 'closed', concurrency: load.concurrency } : { kind: 'open', speedup: 1, ...(lanes === undefined ? {} : { lanes }) });
      return workload;
    }
    case 'synthetic':
      if (requests === null) throw new InputError({ code: 'E-MISSING', path: 'workload.requests', what: 'a synthetic load needs a count', hint: 'set workload.requests' });
      return synthesizeLoad({ ...source, count: Math.ceil(requests / (source.turns ?? 1)), load, blockTokens, seed });
    case 'generate':
      return rowsToWorkload(source.like, generateTrace({ ...source, seed }).slice(0, requests ?? undefined));
  }
}

/** Generated rows as a workload of independent requests. */
export function rowsToWorkload(name: string, rows: readonly TraceRow[]): Workload {
  const builder = new WorkloadBuilder(name, GENERATED_BLOCK_TOKENS);
  rows.forEach((row, i) => {
    const session = builder.addSession(`request_${i + 1}`);
    builder.addRequest({ session, arrivalMs: row.timestamp, delayMs: 0, promptTokens: row.input_length, outputTokens: row.output_length }, row.hash_ids);
  });
  return builder.finish([]);
}
