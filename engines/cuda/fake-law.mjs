/**
 * Times of a GPU that does not exist, by a known law: what fitting recovers from them can be checked. Units µs, bytes, elements.
 *
 * GPU: 1e9 flop/µs bf16 and 2e9 FP8, 4e6 B/µs; matrices by form B, attention over prompts by form C, of decode steps by form G.
 * A quantised product is form B at one byte an element and twice the rate, quantising included.
 *
 * Memory-bound operators: a + bytes / (4e6 · e), with (a, e) and bytes
 *   norm     2.5, .82   8·hidden·tokens            read x and residual, write both
 *   act      2.2, .85   6·ffn·tokens               read gate and up, write their product
 *   rope_kv  3.0, .70   tokens·d·(4n + 4nkv + 2nkv·B_kv)   read q, k, v; write q, and k and v into the cache
 *   embed    2.0, .75   4·hidden·tokens            read a row of the table, write it
 *   sample   4.0, .60   4·vocab·rows               read 4-byte logits; top-p takes 6 times as long
 *   quant    1.8, .78   3·width·tokens             read 2 bytes, write 1
 * logits: norm of the rows and their bf16 product with the vocabulary; a pass adds argmax.
 * Experts of a layer: 8 + max(6·tokens·top_k·hidden·ffn / (F·.6), touched·3·hidden·ffn·B / (W·.8)), touched = E·(1 − (1 − top_k/E)^tokens);
 *   with zipf A the compute grows by 1 + A/4.
 * Copies: α + bytes/β: h2d 9 + /55e3, d2h 9 + /53e3, bidi 11 + /45e3 (bytes each way), d2d 4 + /1.7e6; unpinned host memory: α 25, β 11e3;
 *   scattered blocks: 1.5 more for each after the first, or gathered first: d2d time more.
 * Disk: read 90 + bytes/6e3, write 60 + bytes/3e3. Host: empty pass 420, 1,000 launches 2500, graph launch 12, read-back 14.
 *
 * Pass: gpu = 1.04·(Lin(M) + Logits(r)) + A + 1.5·L + 40; A = max(Actx, Agen) + .8·min; M, r = pad_to in a graph, else all tokens, rows;
 * effective context of decode = mean + .15·(max − mean); wall = max(gpu, issue) + 350 + 4·rows; issue = 12 in a graph, else 2.5 a kernel:
 * 10 kernels a layer and 4 a pass.
 */
import { createHash } from 'node:crypto';

const FLOPS = { bf16: 1e9, fp8: 2e9 };
const BYTES = 4e6;
const B = [4, 0.8, 0.85, 3];
const C = [12, 0.65, 0.5, 150, 11];
const G = [11, 0.92, 0.2, 1.3, 20];
const MEMORY = { norm: [2.5, 0.82], act: [2.2, 0.85], rope_kv: [3, 0.7], embed: [2, 0.75], sample: [4, 0.6], quant: [1.8, 0.78] };
const COPY = { h2d: [9, 55e3], d2h: [9, 53e3], bidi: [11, 45e3], d2d: [4, 1.7e6] };
const UNPINNED = [25, 11e3];
const BLOCK = 1.5;
const DISK = { read: [90, 6e3], write: [60, 3e3] };
const HOST = { empty_pass: 420, launches: 2500, graph_launch: 12, read_back: 14 };
const TOP_P = 6;
const [RHO, KAPPA, LAMBDA, G_LAYER, G_PASS, H0, H1] = [1.04, 0.8, 0.15, 1.5, 40, 350, 4];
const [LAUNCH, GRAPH, LAUNCHES_PER_LAYER, LAUNCHES_PER_PASS] = [2.5, 12, 10, 4];

const sum = (values) => values.reduce((total, value) => total + value, 0);
const elementBytes = (dtype) => (dtype === 'bf16' ? 2 : 1);
const flops = (dtype) => FLOPS[dtype === 'bf16' ? 'bf16' : 'fp8'];

/** Form B. */
export function product(m, n, k, dtype) {
  const [p0, p1, p2, power] = B;
  const compute = (2 * m * n * k) / flops(dtype) / p1;
  const memory = (elementBytes(dtype) * n * k + 2 * m * n + 2 * m * k) / BYTES / p2;
  return p0 + (compute ** power + memory ** power) ** (1 / power);
}

/** Form C over prompts [new, past]. */
export function context({ heads, kv_heads, head_dim, kv }, seqs) {
  const [p0, p1, p2, p3, p4] = C;
  const work = sum(seqs.map(([s, p]) => 2 * heads * head_dim * ((s + p) ** 2 - p ** 2)));
  const bytes = sum(seqs.map(([s, p]) => head_dim * (4 * heads * s + 4 * kv_heads * s + 2 * kv_heads * elementBytes(kv) * (s + p))));
  const longest = Math.max(...seqs.map(([s, p]) => s + p));
  return p0 + Math.max((work * (1 + p3 / longest)) / FLOPS.bf16 / p1, (p4 * longest) / 1000) + bytes / BYTES / p2;
}

/** Form G over decode steps [1, past]. */
export function generation({ heads, kv_heads, head_dim, kv }, seqs) {
  const [p0, p1, p2, power, p4] = G;
  const contexts = seqs.map(([, past]) => past + 1);
  const bytes = sum(contexts.map((one) => 2 * kv_heads * one * head_dim * elementBytes(kv) + 4 * heads * head_dim));
  const mean = sum(contexts) / contexts.length;
  const effective = mean + LAMBDA * (Math.max(...contexts) - mean);
  return p0 + (p4 * contexts.length * kv_heads) / 1000 + ((bytes / BYTES / p1) ** power + ((p2 * effective) / 1000) ** power) ** (1 / power);
}

function memory(kind, bytes) {
  const [a, e] = MEMORY[kind];
  return a + bytes / (BYTES * e);
}

const norm = (tokens, hidden) => memory('norm', 8 * hidden * tokens);
const act = (tokens, ffn) => memory('act', 6 * ffn * tokens);
const ropeKv = (tokens, { heads, kv_heads, head_dim, kv }) => memory('rope_kv', tokens * head_dim * (4 * heads + 4 * kv_heads + 2 * kv_heads * elementBytes(kv)));
const embed = (tokens, hidden) => memory('embed', 4 * hidden * tokens);
const sample = (rows, vocab, method) => memory('sample', 4 * vocab * rows) * (method === 'top_p' ? TOP_P : 1);

function experts({ tokens, hidden, ffn, experts: count, top_k, dtype, routing }) {
  const skew = routing === 'balanced' ? 0 : Number(routing.split(' ')[1]);
  const touched = count * (1 - (1 - top_k / count) ** tokens);
  const compute = ((6 * tokens * top_k * hidden * ffn) / (flops(dtype) * 0.6)) * (1 + skew / 4);
  return 8 + Math.max(compute, (touched * 3 * hidden * ffn * elementBytes(dtype)) / (BYTES * 0.8));
}

function copy({ direction, bytes, pinned, blocks, gather }) {
  const [alpha, beta] = pinned || direction === 'd2d' ? COPY[direction] : UNPINNED;
  const plain = alpha + bytes / beta;
  if (blocks === 0) return plain;
  return gather ? plain + COPY.d2d[0] + bytes / COPY.d2d[1] : plain + BLOCK * (blocks - 1);
}

const OPERATORS = {
  gemm: ({ m, n, k, dtype }) => product(m, n, k, dtype),
  attn_ctx: (point) => context(point, point.seqs),
  attn_gen: (point) => generation(point, point.seqs),
  moe: experts,
  norm: ({ tokens, hidden }) => norm(tokens, hidden),
  act: ({ tokens, ffn }) => act(tokens, ffn),
  rope_kv: (point) => ropeKv(point.tokens, point),
  embed: ({ tokens, hidden }) => embed(tokens, hidden),
  logits: ({ rows, hidden, vocab }) => norm(rows, hidden) + product(rows, vocab, hidden, 'bf16'),
  sample: ({ rows, vocab, method }) => sample(rows, vocab, method),
  quant: ({ tokens, width }) => memory('quant', 3 * width * tokens),
  copy,
  disk: ({ op, bytes }) => DISK[op][0] + bytes / DISK[op][1],
  host: ({ what }) => HOST[what],
};
export const POINT_KINDS = ['pass', ...Object.keys(OPERATORS)];

/** GPU, whole and issuing time of a pass of a loaded model, µs. */
export function pass({ seqs, rows, mode, pad_to }, { model, shard: { tp }, dtype: { weights, kv }, routing }) {
  const { layers, hidden, head_dim, moe } = model;
  const share = { heads: model.heads / tp, kv_heads: Math.ceil(model.kv_heads / tp), head_dim, kv };
  const padded = mode === 'graph' && pad_to !== undefined;
  const tokens = padded ? pad_to : sum(seqs.map(([fresh]) => fresh));
  const expertLayers = moe === undefined ? 0 : layers - moe.dense_first;
  const feedForward = (width) => product(tokens, 2 * width, hidden, weights) + act(tokens, width) + product(tokens, hidden, width, weights);
  const attention = product(tokens, (share.heads + 2 * share.kv_heads) * head_dim, hidden, weights) + product(tokens, hidden, share.heads * head_dim, weights);
  const dense = expertLayers === layers ? 0 : (layers - expertLayers) * feedForward(model.ffn / tp);
  const routed = expertLayers === 0 ? 0 : expertLayers * (experts({ ...moe, tokens, hidden, ffn: moe.ffn / tp, dtype: weights, routing }) + (moe.shared_ffn === 0 ? 0 : feedForward(moe.shared_ffn / tp)));
  const lin = layers * (attention + 2 * norm(tokens, hidden) + ropeKv(tokens, share)) + dense + routed + embed(tokens, hidden);
  const outputs = padded ? pad_to : rows;
  const vocab = Math.ceil(model.vocab / tp);
  const logits = outputs === 0 ? 0 : OPERATORS.logits({ rows: outputs, hidden, vocab }) + sample(outputs, vocab, 'argmax');
  const prompts = seqs.filter(([fresh]) => fresh > 1);
  const steps = seqs.filter(([fresh]) => fresh === 1);
  const ctx = prompts.length === 0 ? 0 : layers * context(share, prompts);
  const gen = steps.length === 0 ? 0 : layers * generation(share, steps);
  const gpu = RHO * (lin + logits) + Math.max(ctx, gen) + KAPPA * Math.min(ctx, gen) + layers * G_LAYER + G_PASS;
  const issue = mode === 'graph' ? GRAPH : (LAUNCHES_PER_LAYER * layers + LAUNCHES_PER_PASS) * LAUNCH;
  return { gpu, wall: Math.max(gpu, issue) + H0 + H1 * rows, issue };
}

/** Time of an operator, copy or host action, µs. */
export function operator(point) {
  return OPERATORS[point.kind](point);
}

/** What a point's time is multiplied by: exp(sigma·z), and 3 for the given share of points; both drawn by the pid. */
export function disturbance(pid, sigma, outliers) {
  const digest = createHash('sha256').update(pid).digest();
  const [u1, u2, u3] = [0, 4, 8].map((at) => (digest.readUInt32BE(at) + 0.5) / 2 ** 32);
  const z = Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * u2);
  return Math.exp(sigma * z) * (u3 < outliers ? 3 : 1);
}
