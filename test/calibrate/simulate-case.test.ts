import { describe, expect, it } from 'vitest';
import type { AggCase, DisaggCase } from '../../src/calibrate/case.js';
import { aggShape, CASE_BLOCK_TOKENS, caseWorker } from '../../src/calibrate/case-worker.js';
import { simulateCase } from '../../src/calibrate/simulate-case.js';
import { TABLES_ONLY, type Physical } from '../../src/timing/calibration/physical.js';

const CASE: AggCase = {
  mode: 'agg', id: 'a', backend: 'vllm', backendVersion: '0.19.0', model: 'meta-llama/Llama-3.1-70B', system: 'b200_sxm', precision: 'fp8', source: 'inferencex', measured: '2026-02-01',
  isl: 1024, osl: 128, lengthLow: 0.8, concurrency: 8, numPrompts: 80, warmedUp: true, ignoreEos: true, prefixCaching: false, specDecode: 'none', use: true, why: '', twinOf: null,
  gpus: 2, tp: 2, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1, maxNumBatchedTokens: 8192, maxNumSeqs: null, receiveInterval: 1, columnsCorrected: false,
};
const answer = (one: AggCase | DisaggCase, physical: Partial<Physical> = {}, seed = 0) => {
  const simulated = simulateCase(one, { ...TABLES_ONLY, ...physical }, seed);
  if ('refused' in simulated) throw new Error(simulated.refused);
  return simulated;
};

describe('a case simulated', () => {
  it('gives the same means for the same seed, others for another', () => {
    expect(answer(CASE)).toEqual(answer(CASE));
    expect(answer(CASE, {}, 1)).not.toEqual(answer(CASE));
    expect(answer(CASE).ownTables).toBe(true);
  });

  it('takes each physical number for what it is', () => {
    const bare = answer(CASE);
    // Every pass longer by a millisecond: so is every gap.
    expect(answer(CASE, { hostMs: 1 }).tpotMs).toBeGreaterThan(bare.tpotMs + 1);
    expect(answer(CASE, { mDec: 2 }).tpotMs / bare.tpotMs).toBeGreaterThan(1.7);
    expect(answer(CASE, { mPre: 2 }).ttftMs / bare.ttftMs).toBeGreaterThan(1.6);
    // Launches outweigh kernels only where they take long.
    expect(answer(CASE, { launchUs: 100 }).ttftMs).toBeGreaterThan(bare.ttftMs * 1.5);
    // A fixed time does not queue, a serial one does: the first burst waits for itself.
    expect(answer(CASE, { fixedMs: 5 }).ttftMs - bare.ttftMs).toBeGreaterThan(3);
    expect(answer(CASE, { serialMsPerKiloToken: 20 }).ttftMs - bare.ttftMs).toBeGreaterThan(18);
  });

  it('keeps first tokens waiting where new requests are read in intervals', () => {
    const sglang: AggCase = { ...CASE, backend: 'sglang', maxNumBatchedTokens: 16384 };
    expect(answer({ ...sglang, receiveInterval: 30 }).ttftMs).toBeGreaterThan(2 * answer(sglang).ttftMs);
  });

  it('answers disaggregated cases whose workers are known, and refuses others with the reason', () => {
    const pool = { tp: 1, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1, batch: 1, workers: 2 };
    const { gpus: _gpus, tp: _tp, pp: _pp, attentionDp: _dp, moeTp: _mt, moeEp: _me, maxNumBatchedTokens: _mb, maxNumSeqs: _ms, receiveInterval: _ri, columnsCorrected: _cc, ...common } = CASE;
    const disagg: DisaggCase = { ...common, mode: 'disagg', prefill: pool, decode: pool };
    expect(answer(disagg).ttftMs).toBeGreaterThan(0);
    expect(simulateCase({ ...disagg, decode: { ...pool, workers: null }, why: 'number of workers unknown' }, TABLES_ONLY)).toEqual({ refused: 'number of workers unknown' });
    expect(simulateCase({ ...CASE, model: 'nobody/knows' }, TABLES_ONLY)).toEqual({ refused: "model 'nobody/knows' is not in the catalogue" });
    expect(simulateCase({ ...CASE, system: 'h900' }, TABLES_ONLY)).toMatchObject({ refused: expect.stringContaining("'h900' is not in the catalogue") });
  });

  it('makes several tokens a pass where it surely ran with drafts', () => {
    const r1: AggCase = { ...CASE, backend: 'trtllm', model: 'deepseek-ai/DeepSeek-R1', tp: 8, gpus: 8, moeTp: 8, concurrency: 4, numPrompts: 16 };
    expect(answer({ ...r1, specDecode: 'mtp-likely' }).tpotMs).toBeLessThan(0.8 * answer(r1).tpotMs);
  });
});

describe('the memory of a measured worker', () => {
  const tokens = (one: AggCase): number => caseWorker(one, aggShape(one)).kvBlocks * CASE_BLOCK_TOKENS;

  it('holds half as many tokens with vLLM on Hopper, whose recipes leave the cache in bf16', () => {
    const h200 = tokens({ ...CASE, system: 'h200_sxm' });
    expect(h200).toBeGreaterThan(100_000);
    expect(tokens({ ...CASE, system: 'h200_sxm', backend: 'trtllm' })).toBeGreaterThan(1.5 * h200);
  });

  it('holds at least what the recipe lets run: it was measured', () => {
    const tight: AggCase = { ...CASE, backend: 'sglang', model: 'deepseek-ai/DeepSeek-R1', tp: 4, gpus: 4, moeTp: 4, isl: 8192, osl: 1024, concurrency: 64, maxNumSeqs: 32 };
    expect(tokens(tight)).toBeGreaterThanOrEqual(32 * (8192 + 1024));
  });
});
