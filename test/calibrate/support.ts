import type { AggCase, Case } from '../../src/calibrate/case.js';
import { averaged } from '../../src/calibrate/answer.js';
import type { Physical } from '../../src/timing/calibration/physical.js';
import type { Measurement } from '../../src/calibrate/silicon.js';
import { Simulations, type RunBatches } from '../../src/calibrate/simulations.js';
import type { SimulateCase } from '../../src/calibrate/simulation.js';

export const CASE: AggCase = {
  id: 'one', mode: 'agg', backend: 'vllm', backendVersion: '0.19.0', model: 'owner/Model-A', system: 'h100_sxm', precision: 'fp8', source: 'inferencex', measured: '2026-03-01',
  isl: 1024, osl: 1024, lengthLow: 0.8, concurrency: 16, numPrompts: 160, warmedUp: true, ignoreEos: true, prefixCaching: false, specDecode: 'none',
  gpus: 4, tp: 4, pp: 1, attentionDp: 1, moeTp: 4, moeEp: 1, maxNumBatchedTokens: 8192, maxNumSeqs: null, receiveInterval: 1, columnsCorrected: false, use: true, why: '', twinOf: null,
};

const LAYERS = 60;

/** A stand-in with the shape of the real thing: passes with prompts take the larger of work and floor, decode its multiple and host time. */
export const law: SimulateCase = (one, p, seed = 0) => {
  if (one.mode === 'disagg') return { refused: 'one pool only' };
  if (one.model.includes('Refused')) return { refused: 'no tables' };
  const speed = one.tp * (one.system.startsWith('b') ? 2 : 1);
  const decode = p.mDec * (40 / speed + p.mGa * ((one.concurrency * one.isl) / 40_000 / speed)) + p.hostMs;
  const prefill = Math.max((p.mPre * one.isl) / (10 * speed), (p.launchUs / 50) * LAYERS) + p.hostMs;
  const draw = 1 + 0.01 * Math.sin(one.concurrency + seed);
  return {
    ttftMs: (1.3 * prefill + 0.5 * decode) * draw + p.fixedMs + (p.serialMsPerKiloToken * one.isl) / 1000,
    tpotMs: decode + (one.concurrency / one.osl) * prefill,
    ownTables: one.model !== 'owner/Model-C',
  };
};

/** Simulations without threads; counts what it ran. */
export function inline(simulate: SimulateCase = law): { readonly simulations: Simulations; readonly run: RunBatches; ran: number } {
  const counter = { ran: 0 };
  const run: RunBatches = async (batches, onDone) =>
    batches.map(({ one, points }) => {
      counter.ran += points.length;
      onDone(counter.ran);
      return points.map((point) => averaged(simulate, one, point));
    });
  return { simulations: new Simulations(run), run, get ran() { return counter.ran; } };
}

/** What the law measures at a model's numbers, times `scatter`. */
export function measured(one: Case, physical: Physical, scatter = 1): Measurement {
  const answer = law(one, physical);
  if ('refused' in answer) throw new Error(answer.refused);
  return { one, ttftMs: answer.ttftMs * scatter, tpotMs: answer.tpotMs * scatter };
}

/** Cases of a model over loads, lengths, layouts and systems. */
export function grid(model: string, changed: Partial<AggCase> = {}): AggCase[] {
  const cases: AggCase[] = [];
  for (const system of ['h100_sxm', 'b200_sxm']) {
    for (const tp of [1, 4, 8]) {
      for (const isl of [256, 1024, 8192]) {
        for (const concurrency of [4, 32, 128]) cases.push({ ...CASE, id: `${model} ${system} ${tp} ${isl} ${concurrency}`, model, system, tp, gpus: tp, isl, concurrency, numPrompts: 10 * concurrency, ...changed });
      }
    }
  }
  return cases;
}
