const MEGABYTE = 2 ** 20;

/** Chunk tokens and captured batch (below tp 4, and from it) by memory, MB; the last row is for all above. */
const SIZES = [
  { below: 20 * 1024, chunk: 2048, graphs: [8, 8] },
  { below: 35 * 1024, chunk: 2048, graphs: [24, 80] },
  { below: 60 * 1024, chunk: 4096, graphs: [32, 160] },
  { below: 160 * 1024, chunk: 8192, graphs: [256, 512] },
  { below: Infinity, chunk: 16384, graphs: [512, 512] },
] as const;

/**
 * Share of GPU memory SGLang takes where nobody sets it, as the reference derives it outside aggregated
 * estimates (perf-model section 3): all but what chunks, captured graphs and parallel groups need.
 */
export function sglangMemoryFraction(memoryBytes: number, { tp, pp, attentionDp }: { readonly tp: number; readonly pp: number; readonly attentionDp: number }): number {
  const memory = memoryBytes / MEGABYTE;
  const { chunk, graphs } = SIZES.find(({ below }) => memory < below)!;
  const batch = graphs[tp < 4 ? 0 : 1];
  let reserved = 512 + 1.5 * chunk + ((tp * pp) / 8) * 1024 + 2 * batch;
  if (attentionDp > 1) reserved += 3 * batch * attentionDp + (batch > 300 ? 1.5 * batch * attentionDp : 0);
  if (memory > 60 * 1024) reserved = Math.max(reserved, 10240);
  return Math.round(((memory - reserved) / memory) * 1000) / 1000;
}
