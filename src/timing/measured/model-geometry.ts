import { basename, dirname } from 'node:path';
import type { Model } from '../catalogue.js';
import type { Geometry } from './geometry.js';

/** Base of the rotary embedding: Qwen3's where queries and keys are normalised, else Llama 3.1's. It changes no time, only the values. */
const ROPE_THETA = { normalised: 1_000_000, plain: 500_000 } as const;

/** Catalogue models whose logits use the embedding matrix. */
const TIED: ReadonlySet<string> = new Set(['Qwen/Qwen3-0.6B', 'Qwen/Qwen3-1.7B']);

/** Widths of a head that the worker's attention kernels take. */
const HEAD_DIMS: readonly number[] = [32, 64, 128, 256];

/** A model of the catalogue or of a `config.json` as the CUDA worker builds it, or what it has that the worker lacks (spec calibration section 4). */
export function modelGeometry(model: Model): { readonly geometry: Geometry } | { readonly lacking: string } {
  const lacking = unbuildable(model);
  if (lacking !== null) return { lacking };
  const { layers, hidden, heads, kv_heads, head_dim, ffn, vocab, qk_norm } = model;
  return {
    geometry: {
      name: plainName(model.name),
      layers, hidden, heads, kv_heads, head_dim, ffn, vocab, qk_norm,
      rope_theta: qk_norm ? ROPE_THETA.normalised : ROPE_THETA.plain,
      tied: TIED.has(model.name),
      ...(model.experts === undefined ? {} : { moe: { experts: model.experts, top_k: model.top_k!, ffn: model.moe_ffn!, shared_ffn: model.shared_ffn ?? 0, dense_first: model.dense_layers } }),
    },
  };
}

function unbuildable({ family, linear, window, output_gate: gate, head_dim: width }: Model): string | null {
  if (family === 'mla') return 'latent attention';
  if (linear !== undefined) return 'linear attention';
  if (window !== undefined) return `a window of ${window} tokens`;
  if (gate) return 'a gate on its attention';
  return HEAD_DIMS.includes(width) ? null : `heads of width ${width}`;
}

/** Last part of a repository name, or the folder of a `config.json`, in the letters a plan allows. */
function plainName(name: string): string {
  const last = name.endsWith('.json') ? basename(dirname(name)) : basename(name);
  return last.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 80) || 'model';
}
