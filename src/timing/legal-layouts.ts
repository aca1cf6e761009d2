import type { EngineName } from '../scenario/scenario.js';
import { engineGap, type Shape } from '../scenario/shape.js';
import { gpusPerFabric, type Hardware, type Model } from './catalogue.js';
import type { Layout } from './layout.js';

/** Which layouts split a model evenly (perf-model section 4.3). */

/** Tensor-parallel degrees up to 16: heads, feed-forward widths, and KV heads or copies of them. */
export function legalTensorParallel(model: Model): number[] {
  return Array.from({ length: 16 }, (_, index) => index + 1).filter((tp) => unsplit(model, tp) === null);
}

/** What `tp` GPUs cannot split; null = nothing. */
function unsplit(model: Model, tp: number): string | null {
  const { heads, kv_heads: kvHeads, family, linear } = model;
  const widths = [family === 'dense' || model.dense_layers > 0 ? model.ffn : 0, model.shared_ffn ?? 0];
  const even = heads % tp === 0 && (kvHeads % tp === 0 || tp % kvHeads === 0) && widths.every((width) => width % tp === 0);
  const states = linear === undefined || (linear.key_heads % tp === 0 && linear.value_heads % tp === 0);
  return even && states ? null : `${heads} heads, ${kvHeads} KV heads`;
}

/** Why a layout does not split a model, with the field to blame; null = it does. `name`: what the model was asked for by. */
export function layoutGap(model: Model, { tp, pp, moeTp, moeEp }: Layout, name = model.name): { readonly field: string; readonly what: string; readonly hint: string } | null {
  const uneven = unsplit(model, tp);
  if (uneven !== null) return { field: 'tp', what: `${name} does not split over ${tp} GPUs (${uneven})`, hint: `use one of ${legalTensorParallel(model).join(', ')}` };
  if (pp > model.layers) return { field: 'pp', what: `${name} has ${model.layers} layers for ${pp} stages`, hint: `use at most ${model.layers}` };
  const { experts, moe_ffn: width = 0 } = model;
  if (experts === undefined) return null;
  if (experts % moeEp !== 0) return { field: 'moe_ep', what: `${experts} experts of ${name} do not spread over ${moeEp} groups`, hint: 'use a divisor of the number of experts' };
  if (width % moeTp !== 0) return { field: 'moe_tp', what: `experts of ${name} (width ${width}) do not split over ${moeTp} GPUs`, hint: 'raise moe_ep instead' };
  return null;
}

/** The layouts of at most 16 GPUs a stage that are tried where one does not fit: tensor-parallel, expert-parallel, then with pipeline stages. */
export function fallbackLayouts(model: Model): Layout[] {
  const degrees = [1, 2, 4, 8, 16];
  const stage = (tp: number, pp: number): Layout[] => {
    const plain = { tp, pp, attentionDp: 1 };
    return model.experts === undefined ? [{ ...plain, moeTp: 1, moeEp: 1 }] : [{ ...plain, moeTp: tp, moeEp: 1 }, ...(tp > 1 ? [{ ...plain, moeTp: 1, moeEp: tp }] : [])];
  };
  return [1, 2, 4, 8].flatMap((pp) => degrees.flatMap((tp) => stage(tp, pp))).filter((layout) => layoutGap(model, layout) === null);
}

/**
 * Shapes a search tries, of at most `gpus` GPUs and within one fabric: tensor-parallel degrees of a dense
 * model; of one with experts all splits of attention and experts that the engine has. One stage each.
 */
export function searchShapes(model: Model, gpu: Hardware, engine: EngineName, gpus: number): Shape[] {
  const most = Math.min(gpus, gpusPerFabric(gpu));
  const degrees = [1, 2, 4, 8, 16];
  if (model.experts === undefined) {
    const largest = gpu.gpus_per_rack === undefined ? 8 : 16;
    return degrees.filter((tp) => tp <= Math.min(most, largest)).map((tp) => ({ tp, dp: 1, pp: 1 })).filter((shape) => splits(model, engine, { ...shape, attentionDp: 1, moeTp: 1, moeEp: 1 }));
  }
  return degrees
    .filter((size) => size <= most)
    .flatMap((size) => degrees.filter((tp) => size % tp === 0).flatMap((tp) => degrees.filter((moeTp) => size % moeTp === 0).map((moeTp): Shape => ({ tp, dp: size / tp, pp: 1, moeTp, moeEp: size / moeTp }))))
    .filter(({ tp, dp, moeTp = 1, moeEp = 1 }) => splits(model, engine, { tp, pp: 1, attentionDp: dp, moeTp, moeEp }));
}

function splits(model: Model, engine: EngineName, layout: Layout): boolean {
  return layoutGap(model, layout) === null && (model.experts === undefined || engineGap(engine, layout) === null);
}
