import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { candidateId } from '../../src/scenario/hash.js';
import type { Candidate, Scenario, Sweep } from '../../src/scenario/scenario.js';
import { sweepJson } from '../../src/sweep/document.js';
import { runSweep } from '../../src/sweep/run.js';
import { resultsCsv } from '../../src/sweep/table.js';
import { disaggregated, MAX_BOTH, pool, scenario, sweep } from './fixtures/results.js';

const BASE = scenario();

function make(overrides: Partial<Scenario>, dimensions: Candidate['dimensions']): Candidate {
  const resolved = scenario(overrides);
  return { id: candidateId(resolved), dimensions, scenario: resolved };
}

/** Both modes, two concurrencies and two block sizes: six candidates over several workloads. */
function space(): Sweep {
  const candidates = [4, 8].flatMap((concurrency) => {
    const workload: Scenario['workload'] = { ...BASE.workload, load: { kind: 'concurrency', concurrency }, requests: 24 };
    const small = { ...pool('agg', 1, 1), engine: { ...pool('agg', 1, 1).engine, blockTokens: 16 } };
    return [
      make({ workload }, { mode: 'agg', layout: '2×tp1', concurrency }),
      make({ workload, deployment: { ...BASE.deployment, pools: [small] } }, { mode: 'agg', layout: '1×tp1', concurrency }),
      make({ workload, deployment: disaggregated(64e9) }, { mode: 'disagg', layout: '1×tp1 + 1×tp1', concurrency }),
    ];
  });
  return sweep(MAX_BOTH, { candidates });
}

describe('runSweep, on the compiled threads', () => {
  beforeAll(() => {
    if (!existsSync(new URL('../../dist/sweep/thread.js', import.meta.url))) throw new Error("dist/ is missing: run 'npm run build' first");
  });

  it('gives the same bytes with one thread and with two', async () => {
    const seen: number[] = [];
    const one = await runSweep(space(), { parallel: 1, onProgress: (done, total) => seen.push(done / total) });
    const two = await runSweep(space(), { parallel: 2 });
    expect(JSON.stringify(one)).toBe(JSON.stringify(two));
    expect(JSON.stringify(sweepJson(one))).toBe(JSON.stringify(sweepJson(two)));
    expect(resultsCsv(one.candidates)).toBe(resultsCsv(two.candidates));
    expect(seen.at(-1)).toBe(1);
    expect(one.candidates.map(({ status, reason }) => [status, reason])).toEqual(Array.from({ length: 6 }, () => ['completed', '']));
    expect(one.candidates.every(({ report }) => report!.requests.completed === 24)).toBe(true);
    expect(one.winnerSeries!.ttftMs).toHaveLength(24);
    expect(one.winnerSeries!.timeline).not.toBeNull();
  });

  it('a candidate whose run throws fails with the reason and the rest goes on', async () => {
    const good = space().candidates[0]!;
    const bad = make({ timing: { ...BASE.timing, source: 'no such source' as 'fixed' } }, {});
    const result = await runSweep(sweep(MAX_BOTH, { candidates: [bad, good] }), { parallel: 1 });
    const byId = new Map(result.candidates.map((one) => [one.candidate.id, one]));
    expect(byId.get(bad.id)!.status).toBe('failed');
    expect(byId.get(bad.id)!.reason).not.toBe('');
    expect(byId.get(good.id)!.feasible).toBe(true);
  });

  it('an unreadable trace is bad input, not a failed candidate', async () => {
    const missing = make({ workload: { ...BASE.workload, source: { kind: 'trace', path: 'no/such/trace.jsonl' }, load: { kind: 'speedup', speedup: 1 }, requests: null } }, {});
    await expect(runSweep(sweep(MAX_BOTH, { candidates: [missing] }), { parallel: 1 })).rejects.toThrow(InputError);
  });

  it('stops when aborted', async () => {
    const abort = new AbortController();
    const running = runSweep(space(), { parallel: 2, signal: abort.signal, onProgress: () => abort.abort(new Error('interrupted')) });
    await expect(running).rejects.toThrow('interrupted');
  });
});
