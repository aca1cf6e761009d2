import { gpuParts, logCurve, matrixName, MEMORY_BYTES, memoryUs, passMs, passOperators, type GpuParts, type HostTimes, type PassOperators, type PassStructure } from '../../timing/measured/law.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { ratioCurve, ratioSurface } from '../../timing/measured/ratios.js';
import { contextsOf, contextTime, generationTime, memoryBytes, productTime } from './forms.js';
import { isOfShare } from './fit-points.js';
import { isOfExperts, type FitTarget } from './operator-fit.js';
import type { Point, PointOf } from './points.js';

/** What a profile says of measured points. */

export type ProfileModel = Pick<MeasuredProfile, 'forms' | 'ratios' | 'links'> & { readonly structure: PassStructure; readonly host: HostTimes };

export interface Predictor {
  readonly operators: PassOperators;
  /** GPU time of a point, time of a copy, µs; null where the profile has nothing to say of it. */
  us(point: Point): number | null;
  /** GPU time of a pass and its parts, µs. */
  parts(point: PointOf<'pass'>): GpuParts;
  /** Whole pass, host included, ms. */
  wallMs(point: PointOf<'pass'>): number;
}

/** Pass model and host of a profile as the law takes them. */
export function modelOf({ forms, ratios, links, structure, host }: MeasuredProfile): ProfileModel {
  return {
    forms, ratios, links,
    structure: { rho: structure.rho.value, kappa: structure.kappa.value, lambda: structure.lambda.value, gLayerUs: structure.g_layer_us.value, gPassUs: structure.g_pass_us.value },
    host: { h0Ms: host.h0_ms.value, h1Ms: host.h1_ms.value, h2Ms: host.h2_ms.value, launchUs: host.launch_us.value, graphUs: host.graph_us.value },
  };
}

/** Operators of the passes as they were measured: with the all-reduces of an engine's, without any of a worker's. */
export function compileOperators(model: Pick<MeasuredProfile, 'forms' | 'ratios'>, { rates, share, reduceUs }: FitTarget): PassOperators {
  return passOperators(model, rates, share, reduceUs);
}

export function predictorOf(model: ProfileModel, target: FitTarget): Predictor {
  const { forms, ratios, structure, host, links } = model;
  const { rates, share, dtype } = target;
  const operators = compileOperators(model, target);
  const contextRatio = ratioSurface(ratios.ctx.map(([fresh, past, ratio]) => ({ line: past, x: fresh, ratio })));
  const generationRatio = ratioSurface(ratios.gen.map(([batch, context, ratio]) => ({ line: batch, x: context, ratio })));
  const experts = forms.moe === undefined ? null : logCurve(forms.moe);
  const product = (point: PointOf<'gemm'>): number | null => {
    const fitted = forms.gemm[point.dtype];
    return fitted === undefined ? null : productTime(point, rates)(fitted.p) * ratioCurve(ratios.gemm[matrixName(point)] ?? [])(point.m);
  };
  const context = (point: PointOf<'attn_ctx'>): number | null => {
    if (point.kv !== dtype.kv) return null;
    const [fresh, past] = point.seqs.reduce((longest, seq) => (seq[0] + seq[1] > longest[0] + longest[1] ? seq : longest));
    return contextTime(point, rates)(forms.ctx.p) * (isOfShare(point, share) ? contextRatio(past, fresh) : 1);
  };
  const generation = (point: PointOf<'attn_gen'>): number | null => {
    if (point.kv !== dtype.kv) return null;
    const { batch, sum } = contextsOf(point.seqs);
    return generationTime(point, rates)(forms.gen.p, structure.lambda) * (isOfShare(point, share) ? generationRatio(batch, sum / batch) : 1);
  };
  const parts = (point: PointOf<'pass'>): GpuParts => gpuParts(operators, structure, passOf(point));
  const us = (point: Point): number | null => {
    switch (point.kind) {
      case 'gemm':
        return product(point);
      case 'attn_ctx':
        return context(point);
      case 'attn_gen':
        return generation(point);
      case 'norm':
      case 'act':
      case 'rope_kv':
      case 'embed':
        return memoryUs(forms[point.kind], rates, memoryBytes(point));
      case 'sample':
        return point.method === 'argmax' ? memoryUs(forms.sample, rates, memoryBytes(point)) : null;
      case 'logits': {
        const vocabulary = product({ ...point, kind: 'gemm', m: point.rows, n: point.vocab, k: point.hidden, dtype: 'bf16' });
        return vocabulary === null ? null : vocabulary + memoryUs(forms.norm, rates, MEMORY_BYTES.norm(point.rows, point.hidden));
      }
      case 'moe':
        return experts !== null && isOfExperts(point, target) ? experts(point.tokens) : null;
      case 'pass':
        return parts(point).gpu;
      case 'copy':
        return copyUs(links, point);
      case 'quant':
      case 'disk':
      case 'host':
        return null;
    }
  };
  return { operators, us, parts, wallMs: (point) => passMs(parts(point).gpu, operators, host, passOf(point)) };
}

function passOf({ seqs, rows, mode, pad_to: padTo }: PointOf<'pass'>): Parameters<typeof gpuParts>[2] {
  return { seqs, rows, mode, ...(padTo === undefined ? {} : { padTo }) };
}

/** Link that a copy runs over, as a profile names it; blocks one by one run over that of whole copies. */
export function linkName({ direction, pinned, blocks, gather }: Pick<PointOf<'copy'>, 'direction' | 'pinned' | 'blocks' | 'gather'>): string {
  return `${direction} ${blocks > 0 && gather ? 'gathered' : pinned ? 'pinned' : 'pageable'}`;
}

function copyUs(links: MeasuredProfile['links'], point: PointOf<'copy'>): number | null {
  const link = links.find(({ name }) => name === linkName(point));
  if (link === undefined) return null;
  const whole = link.alpha_us + point.bytes / (link.gb_per_s * 1000);
  if (point.blocks === 0 || point.gather) return whole;
  return link.block_us === null ? null : whole + (point.blocks - 1) * link.block_us;
}
