import { Ladder, type PassBreakdown } from '../breakdown.js';
import { promptSums } from './law.js';
import type { MeasuredPasses } from './measured-timing.js';

/** How a measured profile comes to a pass: one prompt, or a decode step of equal contexts (spec calibration 7.2). */
export interface MeasuredBreakdown {
  prefill(tokens: number, speedup: number): PassBreakdown;
  decode(requests: number, tokens: number, speedup: number): PassBreakdown;
}

export function measuredBreakdown({ operators, structure, host, graphs }: MeasuredPasses, from: string): MeasuredBreakdown {
  const { layers, launches } = operators;
  const explain = (kind: PassBreakdown['kind'], requests: number, tokens: number, speedup: number, pass: { readonly computed: number; readonly rows: number; readonly attentionUs: number; readonly graph: boolean }): PassBreakdown => {
    const parts = [
      ['matrices, norms, activations', layers, operators.lin(pass.computed)] as const,
      ['attention', layers, pass.attentionUs] as const,
      ['logits', 1, operators.logits(pass.rows)] as const,
    ];
    const ms = parts.reduce((sum, [, , us]) => sum + us / 1000, 0);
    const ladder = new Ladder(ms);
    ladder.to(`all but attention × ${structure.rho}`, ladder.ms + ((structure.rho - 1) * (ms * 1000 - pass.attentionUs)) / 1000);
    ladder.to('gaps between kernels', ladder.ms + (layers * structure.gLayerUs + structure.gPassUs) / 1000);
    ladder.to(pass.graph ? 'least time of issuing a graph' : `least time of ${launches} launches`, Math.max(ladder.ms, (pass.graph ? host.graphUs : launches * host.launchUs) / 1000));
    ladder.to('host time', ladder.ms + host.h0Ms + host.h1Ms * requests + host.h2Ms * (kind === 'prefill' ? tokens : requests));
    ladder.times('speedup', 1 / (speedup || 1));
    return { kind, requests, tokens, kernels: { ms, operators: parts.map(([name, count, us]) => ({ name, layers: count, ms: us / 1000, share: us / 1000 / ms, from, beside: false })) }, added: ladder.added, ms: ladder.ms };
  };
  return {
    prefill: (tokens, speedup) => explain('prefill', 1, tokens, speedup, { computed: tokens, rows: 1, attentionUs: operators.ctx(promptSums([[tokens, 0]])), graph: false }),
    decode: (requests, tokens, speedup) => {
      const padded = graphs.find((size) => size >= requests);
      return explain('decode', requests, tokens, speedup, { computed: padded ?? requests, rows: padded ?? requests, attentionUs: operators.gen(requests, requests * tokens, tokens), graph: padded !== undefined });
    },
  };
}
