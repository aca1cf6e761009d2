import { describe, expect, it } from 'vitest';
import type { Scenario } from '../../src/scenario/scenario.js';
import { checkRepeatable, repeatedScenario, shiftedArrivals } from '../../src/sweep/repeats.js';
import { distinct, workloadOf } from '../support/simulate.js';

const workload = workloadOf([
  { ids: distinct(4), output: 1, arrivalMs: 0 },
  { ids: distinct(4), output: 1, arrivalMs: 100, session: 's' },
  { ids: distinct(4), output: 1, session: 's', delayMs: 5 },
  { ids: distinct(4), output: 1, arrivalMs: 300 },
]);
const scenario = (source: object, load: object, report: object = {}): Scenario => ({ name: 'x', workload: { source, load }, run: { seed: 3 }, report }) as unknown as Scenario;
const TRACE = { kind: 'trace', path: 't.jsonl' };

describe('repeats', () => {
  it('begin a trace elsewhere: a circle with one mean gap at its seam', () => {
    // Gaps of 150 on the mean: a circle of 450, begun at 225.
    expect([...shiftedArrivals(workload, 0.5).arrivalMs]).toEqual([150, 250, NaN, 0]);
    expect(shiftedArrivals(workload, 0)).toBe(workload);
    expect(shiftedArrivals(workload, 0.5).promptTokens).toBe(workload.promptTokens);
  });

  it('take the next seeds', () => {
    const rate = scenario({ kind: 'synthetic' }, { kind: 'rate', seed: 9 });
    expect(repeatedScenario(rate, 0)).toBe(rate);
    expect(repeatedScenario(rate, 2)).toMatchObject({ run: { seed: 5 }, workload: { load: { seed: 11 } } });
  });

  it('are refused where none would differ', () => {
    const check = (...of: Parameters<typeof scenario>) => (): void => checkRepeatable(scenario(...of), workload);
    expect(check(TRACE, { kind: 'concurrency' })).toThrow('E-UNSUPPORTED: --repeat: x: a trace in a closed loop');
    expect(check(TRACE, { kind: 'speedup' }, { warmupRequests: 2 })).toThrow('E-COMBINATION: --repeat');
    expect(() => checkRepeatable(scenario(TRACE, { kind: 'speedup' }), { ...workload, graph: {} as never })).toThrow('agentic');
    expect(check(TRACE, { kind: 'speedup' })).not.toThrow();
    expect(check({ kind: 'synthetic' }, { kind: 'concurrency' }, { warmupRequests: 2 })).not.toThrow();
  });
});
