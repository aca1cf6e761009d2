import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { TimingSpec } from '../../src/scenario/scenario.js';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { createForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import { embeddedOperators } from '../../src/timing/operator-sources.js';
import { extrapolates } from '../../src/timing/measured-sizes.js';
import { operatorTiming, type OperatorTimedPool } from '../../src/timing/operator-timing.js';
import { createStepTimes } from '../../src/timing/step-times.js';
import type { TimingRules } from '../../src/timing/timing.js';
import { SCENARIO } from '../metrics/scenario.js';
import { split } from '../support/opdata.js';
import { decodePass, mixedPass, NO_PASS, passMs, promptPass } from '../support/passes.js';

const STATIC: TimingRules = { decodeBy: 'tokens', passes: 'static', decodeLengthOffset: 1, leastDecodeMs: 0 };
const SHARED: TimingRules = { ...STATIC, passes: 'shared' };
const [{ engine }] = SCENARIO.deployment.pools as unknown as [{ engine: OperatorTimedPool['engine'] }];
const spec = (change: Partial<TimingSpec> = {}): TimingSpec => ({ ...SCENARIO.timing, source: 'tables', ...change });
const pool = (change: Partial<OperatorTimedPool> = {}): OperatorTimedPool => ({ model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine: { ...engine, version: '0.24.0' }, layout: split(2), role: 'agg', ...change });

describe('operator times of a pool, as the references ask for them', () => {
  it('price prefill and decode apart', () => {
    const { timing, description } = operatorTiming('tables', spec(), pool(), STATIC);
    const { times } = embeddedOperators('h200_sxm', 'vllm');
    const model = requireModel('Qwen/Qwen3-32B');
    const steps = createStepTimes(createForwardModel({ model, engine: 'vllm', layout: split(2), quant: inferQuant(model, requireHardware('h200_sxm'), 'vllm') }, times));
    const [prompt, decode] = [promptPass(1, 4000), decodePass(32, 4250)];
    expect(passMs(timing, mixedPass(prompt, decode))).toBe(steps.prefillMs(1, 4000, 0) + steps.decodeMs(32, 4250));
    expect(description).toMatchObject({ source: 'tables', errorPct: { ttft: null, tpot: null }, interval: null, evidence: null });
    expect(description.calibration).toBe('kernel tables of vllm 0.24.0 for vllm 0.24.0 on h200_sxm, tp 2, bf16 weights, bf16 KV');
  });

  it('name what is borrowed, ranks and experts', () => {
    const { calibration } = operatorTiming('tables', spec(), pool({ model: 'Qwen/Qwen3-30B-A3B-FP8', layout: split(1, { attentionDp: 4, moeEp: 4 }) }), STATIC).description;
    expect(calibration).toContain('on h200_sxm, tp 1, dp 4, experts tp 1 ep 4, fp8_block weights, fp8 KV; borrowed: gemm fp8_block from sglang 0.5.14');
  });
});

describe('operator times of a pool, one pass for prompts and decode steps', () => {
  const prompt = promptPass(1, 512);

  it('with a host time of the scenario\'s are not calibrated', () => {
    const [none, some] = [0, 2.5].map((overheadMs) => operatorTiming('tables', spec({ overheadMs }), pool(), SHARED));
    for (const shape of [prompt, decodePass(8, 1000), mixedPass(prompt, decodePass(8, 1000))]) expect(passMs(some!.timing, shape)).toBeCloseTo(passMs(none!.timing, shape) + 2.5, 9);
    expect(some!.description.calibration).toContain('; 2.5 ms host time per pass, not calibrated');
    expect(some!.description).toMatchObject({ interval: null, evidence: null });
    expect(some!.frontend).toBeUndefined();
  });

  it('from the datasheet are below those of tables', () => {
    const [bound, measured] = (['roofline', 'tables'] as const).map((kind) => operatorTiming(kind, spec({ source: kind, overheadMs: 0 }), pool(), SHARED));
    for (const shape of [promptPass(1, 4000), decodePass(32, 4096)]) expect(passMs(bound!.timing, shape)).toBeLessThan(passMs(measured!.timing, shape));
    expect(bound!.description.calibration).toMatch(/^bounds from the datasheet of h200_sxm, tp 2, bf16 weights, bf16 KV; 0 ms host time/);
    expect(bound!.description.source).toBe('roofline');
  });

  it('refuse what no table knows where estimates are not wanted', () => {
    const unmeasured = pool({ model: 'Qwen/Qwen3-32B', hardware: 'a30', layout: split(2) });
    const estimated = operatorTiming('tables', spec({ overheadMs: 0 }), unmeasured, SHARED);
    expect(estimated.description.calibration).toMatch(/^kernel tables of vllm .* on a100_sxm, scaled for vllm 0\.24\.0 on a30/);
    expect(() => operatorTiming('tables', spec({ miss: 'error', overheadMs: 0 }), pool({ model: 'nvidia/Qwen3-32B-NVFP4' }), SHARED)).toThrow(/E-HARDWARE: no times of .* for vllm on h200_sxm.*miss: estimate/);
  });
});

const fitted = existsSync(fileURLToPath(new URL('../../engines/profiles/realistic.yaml', import.meta.url)));
if (!fitted) console.log('engines/profiles/realistic.yaml is not here: calibrated times are not checked');

describe.skipIf(!fitted)('calibrated operator times', () => {
  const of = (change: Partial<OperatorTimedPool>) => operatorTiming('tables', spec(), pool(change), SHARED);

  it('say what they rest on and how sure they are', () => {
    // A version that was measured: others share less with the measured rows.
    const minimax = { model: 'MiniMaxAI/MiniMax-M2.5', engine: { ...engine, version: '0.19.0' }, layout: split(4, { moeEp: 4 }) };
    const measured = of({ ...minimax, hardware: 'b200_sxm' }).description;
    expect(measured.evidence).toBe('measured_group');
    expect(measured.calibration).toMatch(/calibrated on served times of this engine, model and GPU \(\d+ rows/);
    expect(measured.interval!.tpotLn).toBeGreaterThan(0);
    const elsewhere = of({ ...minimax, hardware: 'h200_sxm' }).description;
    expect(elsewhere.interval!.tpotLn).toBeGreaterThan(measured.interval!.tpotLn);
    expect(['other_system', 'borrowed_tables']).toContain(elsewhere.evidence);
    const unknown = of({ model: 'Qwen/Qwen3-1.7B', layout: split(1) }).description;
    expect(['backend_mean', 'borrowed_tables']).toContain(unknown.evidence);
    expect(of({ model: 'Qwen/Qwen3-1.7B', hardware: 'l4', layout: split(1) }).description.evidence).toBe('borrowed_tables');
  });

  it('take longer than the kernels alone, and requests pass a frontend', () => {
    const { timing, frontend } = of({});
    const kernels = operatorTiming('tables', spec({ overheadMs: 0 }), pool(), SHARED).timing;
    for (const shape of [promptPass(1, 128), decodePass(1, 1000)]) expect(passMs(timing, shape)).toBeGreaterThan(passMs(kernels, shape));
    expect(frontend!.fixedMs).toBeGreaterThanOrEqual(0);
  });
});

it('passes beyond the measured sizes are marked', () => {
  const inside = [promptPass(2, 16384), decodePass(2048, 131072), mixedPass(promptPass(1, 16384), decodePass(256, 1000)), NO_PASS];
  const outside = [promptPass(1, 16385), promptPass(3, 16384), decodePass(2049, 100), decodePass(4, 131074)];
  expect(inside.map(extrapolates)).toEqual([false, false, false, false]);
  expect(outside.map(extrapolates)).toEqual([true, true, true, true]);
});
