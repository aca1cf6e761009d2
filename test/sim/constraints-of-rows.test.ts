import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { formatProblem, InputError } from '../../src/core/problem.js';
import { loadScenario } from '../../src/scenario/load.js';
import { executeScenario, prepareWorkload, type RunOutcome } from '../../src/sim/execute.js';
import { createEnvironment } from '../../src/timing/environment.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-constraints-'));
afterAll(() => rmSync(folder, { recursive: true }));

const row = (more: Record<string, unknown>): Record<string, unknown> => ({ timestamp: 0, input_length: 500, output_length: 4, hash_ids: [1], ...more });

/** A trace of these rows on two workers, the second of them gold. */
async function run(rows: readonly Record<string, unknown>[], router: string): Promise<RunOutcome> {
  writeFileSync(join(folder, 't.jsonl'), rows.map((each) => `${JSON.stringify(each)}\n`).join(''));
  const file = join(folder, 'scenario.yaml');
  writeFileSync(file, `workload: {trace: t.jsonl}
deployment: {model: meta-llama/Llama-3.1-8B, hardware: h200_sxm, agg: {replicas: 2, tp: 1, workers: [{of: [1], taints: [gold]}]}}
timing: roofline
router: ${router}
`);
  const { scenario } = loadScenario(file, { environment: createEnvironment() });
  return executeScenario(scenario, await prepareWorkload(scenario));
}

describe('rows of a trace', () => {
  it('go where they ask to go', async () => {
    const { report, observations } = await run([row({ routing_constraints: { required_taints: ['gold'] } }), row({ routing_constraints: { required_taints: ['silver'] } }), row({ nvext: { backend_instance_id: 1 } }), row({})], 'kv');
    expect([...observations.requests.decodeWorker]).toEqual([1, -1, 1, 0]);
    expect(report.requests).toMatchObject({ completed: 3, failed: 1 });
    expect(report.router).toEqual({ no_worker: 1 });
    expect(report.warnings.map(({ code }) => code)).toContain('W-NO-WORKER');
  });

  it('all name their worker under policy direct, or the first that does not is named', async () => {
    const { observations } = await run([row({ nvext: { backend_instance_id: 1 } }), row({ nvext: { backend_instance_id: 1 } })], 'direct');
    expect([...observations.requests.decodeWorker]).toEqual([1, 1]);
    const refusal = await run([row({ nvext: { backend_instance_id: 1 } }), row({})], 'direct').catch((error: unknown) => error);
    expect(formatProblem((refusal as InputError).problems[0]!)).toContain('t.jsonl:2: error E-TRACE: nvext.backend_instance_id: missing: policy direct needs the worker of every request');
  });
});
