import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadFile } from '../../src/scenario/load.js';
import type { Scenario } from '../../src/scenario/scenario.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { simulationConfig } from '../../src/sim/execute.js';
import { buildWorkload } from '../../src/workload/build.js';
import { environment, files, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const AT = { seed: 1, blockTokens: 16, strict: true, fidelity: 'realistic' } as const;

describe('sessions at a rate', () => {
  const text = (load: string, turns = 3): string => scenarioText('timing: polynomial').replace('osl: 128}, load: {concurrency: 16}', `osl: 128, turns: ${turns}}, load: {${load}}`);

  it('arrive by the session, the rest follows its think time', async () => {
    const scenario = scenarioOf(text('rate: 0.5 sessions/s, arrivals: constant'), ['workload.synthetic.think_time=2 s']);
    expect(scenario.workload).toMatchObject({ requests: 15, load: { kind: 'rate', requestsPerSecond: 0.5, arrivals: 'constant' } });
    const { arrivalMs, delayMs } = await buildWorkload(scenario.workload, AT);
    expect([...arrivalMs.subarray(0, 7)]).toEqual([0, NaN, NaN, 2000, NaN, NaN, 4000]);
    expect([...delayMs.subarray(0, 3)]).toEqual([0, 2000, 2000]);
    expect(simulationConfig(scenarioOf(text('rate: 0.5 sessions/s'), ['deployment.kv.blocks=500'])).config.driver).toEqual({ kind: 'open', speedup: 1 });
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect(scenarioToYaml(scenario)).toContain('rate: 0.5 sessions/s');
  });

  it('count sessions, single requests count requests', () => {
    expect(scenarioOf(text('rate: 90 sessions/min')).workload).toMatchObject({ requests: 45, load: { requestsPerSecond: 1.5 } });
    expect(problemsOf(() => load(text('rate: 6 req/s')))[0]).toContain("E-UNIT: workload.load.rate: 6 req/s, and what arrives are sessions of 3 turns; write '2 sessions/s'");
    expect(problemsOf(() => load(text('rate: 6 sessions/s', 1)))[0]).toContain("E-UNIT: workload.load.rate: 6 sessions/s, and every request stands alone; write '6 req/s'");
    expect(problemsOf(() => load(text('rate: 6')))[0]).toContain("E-UNIT: workload.load.rate: 6 has no unit; write '6 req/s'");
    expect(problemsOf(() => load(text('rate: 0 sessions/s')))[0]).toContain('E-RANGE: workload.load.rate: 0 sessions/s is out of range; use more than 0');
  });

  it('are a dimension of a sweep', () => {
    const rates = (domain: string) => sweepOf(`${text('rate: 1 sessions/s')}space: {workload.load.rate: ${domain}}`).candidates.map(({ scenario: { workload } }) => (workload.load.kind === 'rate' ? workload.load.requestsPerSecond : null));
    expect(rates('{from: 1 sessions/s, to: 3 sessions/s, step: 1 sessions/s}')).toEqual([1, 2, 3]);
    expect(rates('[30 sessions/min, 2 sessions/s]')).toEqual([0.5, 2]);
  });
});

describe('nested_timestamps', () => {
  const request = (t: number): object => ({ t, type: 'n', model: 'm', in: 4, out: 1, hash_ids: [1] });
  const agent = { t: 1, type: 'subagent', agent_id: 'a', status: 'completed', requests: [request(0.25)] };
  const play = JSON.stringify({ id: 'w', block_size: 4, hash_id_scope: 'local', requests: [request(0), agent, request(9)] });
  const traced = (name: string, content: string) => files({ [`${name}.yaml`]: scenarioText().replace(/workload:.*/, `workload: {trace: ${name}.jsonl}`), [`${name}.jsonl`]: `${content}\n` });
  const resolved = (path: string, ...sets: string[]): Scenario => {
    const loaded = loadFile(path, { environment, sets });
    if (loaded.kind !== 'scenario') throw new Error('kind');
    return loaded.scenario;
  };

  it('says where the times of sub-agents begin', async () => {
    const path = traced('nested', play);
    const delays = async (...sets: string[]): Promise<number> => {
      const { graph } = await buildWorkload(resolved(path, ...sets).workload, AT);
      return graph!.delayMs[0]!;
    };
    expect(await delays()).toBe(1250);
    expect(await delays('workload.nested_timestamps=relative')).toBe(1250);
    expect(await delays('workload.nested_timestamps=absolute')).toBe(250);
    expect(resolved(path, 'workload.nested_timestamps=auto').workload).toEqual(resolved(path).workload);
    const scenario = resolved(path, 'workload.nested_timestamps=absolute');
    expect(scenarioToYaml(scenario, join(path, '..'))).toContain('nested_timestamps: absolute');
  });

  it('belongs to weka traces', async () => {
    const path = traced('flat', '{"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [1]}');
    await expect(buildWorkload(resolved(path, 'workload.nested_timestamps=absolute').workload, AT)).rejects.toThrow(/E-NO-EFFECT: workload\.nested_timestamps: not read with a trace of format mooncake; remove it/);
    expect(problemsOf(() => resolved(path, 'workload.nested_timestamps=absolute', 'workload.format=mooncake'))[0]).toContain('E-NO-EFFECT: workload.nested_timestamps: not read with format mooncake; remove it or set format: weka');
    expect(problemsOf(() => load(scenarioText(), ['workload.nested_timestamps=absolute']))[0]).toContain('E-NO-EFFECT: workload.nested_timestamps: only read with a trace');
  });
});
