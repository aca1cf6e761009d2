import { requireHardware, requireModel } from '../../../src/timing/catalogue.js';
import { geometryHash, type Geometry } from '../../../src/timing/measured/geometry.js';
import { modelGeometry } from '../../../src/timing/measured/model-geometry.js';
import type { MeasuredProfile } from '../../../src/timing/measured/profile-schema.js';
import { ratesOf, shareOf } from '../../../src/timing/measured/share.js';
import { fittedProfile } from '../../../src/timing/rows.js';

const fitted = (value: number): { value: number; interval: null } => ({ value, interval: null });
const coefficients = (op: string, dtype: string): number[] => [...fittedProfile().rows.find((row) => row.hardware === 'h200_sxm' && row.backend === 'vllm' && row.op === op && row.dtype === dtype)!.p];

export const geometryOf = (model: string): Geometry => (modelGeometry(requireModel(model)) as { geometry: Geometry }).geometry;

/** A profile of Qwen3-32B over two H200s from the fitted forms of vLLM 0.24.0, memory operators of the operator model, nothing added. */
export function profileOf(change: Partial<MeasuredProfile> = {}): MeasuredProfile {
  const none = { a_us: 0, e: 1e30 };
  return {
    schema: 'dynotwin.profile/1',
    name: 'qwen3-32b-h200-bf16-tp2',
    identity: {
      model: 'Qwen/Qwen3-32B', geometry_hash: geometryHash(geometryOf('Qwen/Qwen3-32B')), hardware: 'h200_sxm', engine: { name: 'vllm', version: '0.24.0' },
      tp: 2, pp: 1, ep: 1, dtype: { weights: 'bf16', kv: 'bf16', attention: 'bf16' }, page: 16, graphs: [1, 2, 4, 8, 16, 24, 32, 40],
    },
    provenance: { worker: 'test', kind: 'cuda', gpu: 'NVIDIA H200', driver: '580', cuda: '13.0', torch: '2.11.0', triton: '3.6.0', clocks: 'verified', date: '2026-11-20T00:00:00Z', plan_hash: null, data_sha256: '3f9a'.repeat(16) },
    forms: {
      gemm: { bf16: { form: 'B', p: coefficients('gemm', 'bf16'), intervals: [] } },
      ctx: { form: 'C', p: coefficients('ctx', 'bf16/kv16'), intervals: [] },
      gen: { form: 'G', p: coefficients('gen', 'kv16'), intervals: [] },
      norm: { a_us: 3, e: 0.8 }, act: { a_us: 3, e: 0.8 },
      // The operator model counts the embedding's rows once, the pass model as read and written.
      embed: { a_us: 3, e: 1.6 },
      rope_kv: none, sample: none,
    },
    ratios: { gemm: {}, ctx: [], gen: [] },
    structure: { rho: fitted(1), kappa: fitted(1), lambda: fitted(0), g_layer_us: fitted(0), g_pass_us: fitted(0) },
    host: { source: 'none', h0_ms: fitted(0), h1_ms: fitted(0), h2_ms: fitted(0), launch_us: fitted(0), graph_us: fitted(0) },
    comm: null,
    links: [],
    domain: { prefill_tokens: [16, 8192], past: [0, 65536], batch: [1, 512], context: [128, 131072] },
    errors: { fit: {}, cv: {}, holdout: { decode: { n: 20, median: 1.9, p90: 5.1, signed: -0.4 }, prefill: { n: 20, median: 2.8, p90: 7, signed: 1.1 }, mixed: { n: 10, median: 3.6, p90: 9.2, signed: 0.8 } } },
    accepted: true,
    reasons: [],
    warnings: [],
    ...change,
  };
}

/** Share and rates of that profile's worker. */
export const SHARE = shareOf(geometryOf('Qwen/Qwen3-32B'), 2, { weights: 'bf16', kv: 'bf16' });
export const RATES = ratesOf(requireHardware('h200_sxm'));
