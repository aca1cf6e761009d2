import { describe, expect, it } from 'vitest';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { load, problemsOf, scenarioOf, scenarioText } from './support.js';

const problems = (lines: string): string[] => problemsOf(() => load(scenarioText(lines), [], createEnvironment()));

describe('fields of operator timing', () => {
  it('are read back as they were resolved', () => {
    for (const timing of ['{source: tables, overhead: 2 ms, miss: error}', '{source: roofline, overhead: 1 ms}', 'tables']) {
      const scenario = scenarioOf(scenarioText(`timing: ${timing}`));
      expect(scenarioOf(scenarioToYaml(scenario)), timing).toEqual(scenario);
    }
    expect(scenarioOf(scenarioText('timing: {source: tables, overhead: 2 ms}')).timing).toMatchObject({ source: 'tables', overheadMs: 2 });
    expect(scenarioOf(scenarioText('timing: {source: tables, overhead: calibrated}')).timing).not.toHaveProperty('overheadMs');
  });

  it.each([
    ['timing: {source: polynomial, overhead: 2 ms}', 'timing.overhead: not read by source polynomial'],
    ['timing: {source: fixed, prefill: 1 ms, decode: 1 ms, miss: error}', 'timing.miss: not read by source fixed'],
    ['timing: {source: roofline, miss: error}', 'timing.miss: not read by source roofline'],
    ['timing: {source: roofline, overhead: calibrated}', 'timing.overhead: bounds from the datasheet are not calibrated'],
    ['timing: {source: tables, overhead: 2 ms}\nrun: {fidelity: aisimulate}', 'timing.overhead: aisimulate adds nothing to the kernels of a pass'],
  ])('%s has no effect', (lines, expected) => {
    expect(problems(lines)).toEqual([expect.stringContaining(`E-NO-EFFECT: ${expected}`) as string]);
  });

  it('a folder without tables is an error of its field', () => {
    expect(problems('timing: {source: tables, path: nowhere}')).toEqual([expect.stringMatching(/E-FILE: timing\.path: '.*nowhere': no operator tables here; name the folder/) as string]);
  });
});
