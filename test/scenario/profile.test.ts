import { describe, expect, it } from 'vitest';
import { scenarioHash } from '../../src/scenario/hash.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { load, problemsOf, scenarioOf, scenarioText } from './support.js';

describe('planner profiles', () => {
  it('are named relative to their file, and read back', () => {
    const scenario = scenarioOf(scenarioText('timing: {source: profile, path: perf/data.npz, speedup: 2}'));
    expect(scenario.timing).toMatchObject({ source: 'profile', path: expect.stringMatching(/\/perf\/data\.npz$/) as string, speedup: 2 });
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect(scenarioHash({ ...scenario, timing: { ...scenario.timing, path: 'elsewhere/data.npz' } })).toBe(scenarioHash(scenario));
  });

  it('of one name in two folders cannot stand in one sweep', () => {
    expect(problemsOf(() => load(scenarioText('timing: profile\nspace: {timing.path: [a/p.npz, b/p.npz]}')))[0]).toMatch(/E-SPACE: space\.timing\.path: '.*a\/p\.npz' and '.*b\/p\.npz' have the same file name; rename one/);
  });

  it('are read by their own source only', () => {
    expect(problemsOf(() => load(scenarioText('timing: {path: p.npz}')))).toEqual(['test.yaml:3:10: error E-NO-EFFECT: timing.path: not read by source auto; remove it or set source: profile, tables or measured']);
  });

  it('that cannot be read are errors of the field', () => {
    const problems = problemsOf(() => load(scenarioText('timing: {source: profile, path: absent.npz}'), [], createEnvironment()));
    expect(problems).toEqual([expect.stringMatching(/^test\.yaml:3:33: error E-FILE: timing\.path: '.*absent\.npz': no such file; give a file that numpy\.savez wrote$/)]);
    expect(problemsOf(() => load(scenarioText('timing: profile'), [], createEnvironment()))).toEqual(["test.yaml:3:1: error E-MISSING: timing.path: required by source profile; add 'path: perf_data.npz'"]);
  });
});
