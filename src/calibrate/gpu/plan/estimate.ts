import { contextAttentionBound, expertsBound, gemmBound, generationAttentionBound, memoryOp, type AttentionShape } from '../../../timing/bounds.js';
import { MEMORY_BYTES } from '../../../timing/measured/law.js';
import { DEFAULT_POLICY, type MatrixType, type Sequences } from '../points.js';
import type { PointBody } from './family.js';
import type { Target } from './target.js';

/** How long points take: one run of them, from rooflines in ms, and to measure them, in s (spec calibration 3.2, rule 5). */

/** Between points; repeats that a precise enough median takes; margin over the roofline. */
const SETTLE_S = 0.05;
const REPEATS = 20;
const MARGIN = 1.2;
/** Capturing a graph, compiling a kernel for a new shape. */
const GRAPH_S = 0.4;
const KERNEL_S = 2;
/** Fewest repeats after the warm-up, however long they take. */
const FEWEST = 3;

/**
 * A repeat of an operator is so many calls of it, 20 if they take no longer than 20 ms and more if they take less than 0.2 ms; and as many as
 * there are copies of its weights or KV, which together are four times an L2 cache of 60 MB (spec calibration 5.1, 5.2).
 */
const REPEAT = { calls: 20, leastMs: 0.2, mostMs: 20, rotatedBytes: 240e6 } as const;

/** One kernel of an eager pass, from Python; kernels of a layer and of a pass. */
const LAUNCH_MS = 0.012;
const LAUNCHES = { layer: 10, pass: 4 } as const;

/** Rates no datasheet of the catalogue has, bytes/s: a PCIe 5 link, pageable memory, a disk; and issuing one copy. */
const PINNED_RATE = 50e9;
const PAGEABLE_RATE = 6e9;
const DISK_RATE = 1e9;
const COPY_MS = 0.008;
const HOST_MS = { empty_pass: 10, launches: 10, graph_launch: 0.05, read_back: 0.05 } as const;

/** Loading Llama-3.1-8B in bf16, and its weights; what a small model takes all the same: starting, compiling, checking. */
const LOAD = { s: 40, bytes: 16.06e9, leastS: 15 } as const;

/** Expected time to load a model, check it and warm the GPU up, s. */
export function loadSeconds({ weightBytes }: Target): number {
  return Math.max(LOAD.leastS, (LOAD.s * weightBytes) / LOAD.bytes);
}

/** Expected time to measure points, in order: a graph is captured and a kernel compiled where they are first needed. */
export class Estimator {
  private readonly seen = new Set<string>();

  /** s, to the millisecond, at `once` ms a run: `est_s` of the spec, and never more than the policy's cap lets it take. */
  seconds(body: PointBody, pid: string, once: number): number {
    const setup = (this.first(graphOf(body, pid)) ? GRAPH_S : 0) + (this.first(kernelOf(body)) ? KERNEL_S : 0);
    const { warmup, cap_s: cap } = DEFAULT_POLICY;
    const run = (repeatMs(body, once) * MARGIN) / 1000;
    const measuring = Math.min((warmup + REPEATS) * run, Math.max(cap, (warmup + FEWEST) * run) + run);
    return Math.round((SETTLE_S + measuring + setup) * 1000) / 1000;
  }

  private first(key: string | null): boolean {
    if (key === null || this.seen.has(key)) return false;
    this.seen.add(key);
    return true;
  }
}

/** Graph a point replays: decode steps share that of their padded batch. Null = none. */
function graphOf(body: PointBody, pid: string): string | null {
  if (body.mode === 'eager') return null;
  return body.kind === 'pass' && body.pad_to !== undefined ? `decode ${body.pad_to}` : pid;
}

/** What a Triton kernel of a point is compiled for; loading a model compiles those of its passes. */
function kernelOf(body: PointBody): string | null {
  switch (body.kind) {
    case 'norm':
    case 'embed':
      return `${body.kind} ${body.hidden}`;
    case 'act':
      return `act ${body.ffn}`;
    case 'attn_ctx':
    case 'attn_gen':
    case 'rope_kv':
      return [body.kind, body.heads, body.kv_heads, body.head_dim, body.kv].join(' ');
    case 'gemm':
      return body.dtype === 'bf16' ? null : `gemm ${body.dtype}`;
    case 'moe':
      return [body.kind, body.hidden, body.ffn, body.experts, body.dtype].join(' ');
    case 'quant':
      return `quant ${body.dtype}`;
    case 'sample':
      return `sample ${body.method}`;
    default:
      return null;
  }
}

/** One repeat of a point that takes `once` ms a run. */
function repeatMs(body: PointBody, once: number): number {
  switch (body.kind) {
    case 'pass':
    case 'disk':
    case 'host':
      return once;
    case 'copy':
      return Math.max(once, Math.min(REPEAT.calls * once, REPEAT.leastMs));
    default:
      return Math.max(once, REPEAT.leastMs, Math.min(REPEAT.calls * once, REPEAT.mostMs), once * Math.ceil(REPEAT.rotatedBytes / readBytes(body)));
  }
}

/** Bytes of weights, table or KV that an operator reads and that are rotated; infinite for those that have none. */
function readBytes(body: PointBody): number {
  switch (body.kind) {
    case 'gemm':
      return body.n * body.k * (body.dtype === 'bf16' ? 2 : 1);
    case 'logits':
    case 'embed':
      return 2 * body.vocab * body.hidden;
    case 'moe':
      return 3 * body.experts * body.hidden * body.ffn * (body.dtype === 'bf16' ? 2 : 1);
    case 'attn_ctx':
    case 'attn_gen':
      return body.seqs.reduce((sum, [fresh, past]) => sum + fresh + past, 0) * 2 * body.kv_heads * body.head_dim * (body.kv === 'fp8' ? 1 : 2);
    default:
      return Infinity;
  }
}

/** One run of a point, ms. */
export function runMs(target: Target, body: PointBody): number {
  const { gpu } = target;
  switch (body.kind) {
    case 'pass':
      return passMs(target, body);
    case 'gemm':
      return productMs(target, body.m, body.n, body.k, body.dtype);
    case 'attn_ctx':
      return promptAttentionMs(target, body.seqs);
    case 'attn_gen':
      return stepAttentionMs(target, body.seqs);
    case 'moe':
      return expertsMs(target, body.tokens);
    case 'norm':
      return memoryOp(gpu, MEMORY_BYTES.norm(body.tokens, body.hidden));
    case 'act':
      return memoryOp(gpu, MEMORY_BYTES.act(body.tokens, body.ffn));
    case 'rope_kv':
      return ropeMs(target, body.tokens);
    case 'embed':
      return memoryOp(gpu, MEMORY_BYTES.embed(body.tokens, body.hidden));
    case 'logits':
      return logitsMs(target, body.rows);
    case 'sample':
      return memoryOp(gpu, MEMORY_BYTES.sample(body.rows, body.vocab) * (body.method === 'top_p' ? SORT_PASSES : 1));
    case 'quant':
      return memoryOp(gpu, MEMORY_BYTES.quant(body.tokens, body.width));
    case 'copy':
      return COPY_MS * (1 + (body.gather ? 0 : body.blocks)) + (body.bytes / copyRate(target, body.direction, body.pinned)) * 1000;
    case 'disk':
      return (body.bytes / DISK_RATE) * 1000;
    case 'host':
      return HOST_MS[body.what];
  }
}

/** Times that sorting for top-p passes over the logits. */
const SORT_PASSES = 20;

function copyRate({ gpu }: Target, direction: 'h2d' | 'd2h' | 'd2d' | 'bidi', pinned: boolean): number {
  if (direction === 'd2d') return (gpu.memory_bandwidth * gpu.memory_efficiency) / 2;
  return pinned ? PINNED_RATE : PAGEABLE_RATE;
}

function passMs(target: Target, body: Extract<PointBody, { kind: 'pass' }>): number {
  const { gpu, geometry, matrices, ffn, tp } = target;
  const { layers, hidden, moe } = geometry;
  const tokens = body.pad_to ?? body.seqs.reduce((sum, [fresh]) => sum + fresh, 0);
  const expertLayers = moe === undefined ? 0 : layers - moe.dense_first;
  const timesOf = (name: string): number => (name === 'logits' ? 0 : name.startsWith('shared') ? expertLayers : name === 'gate_up' || name === 'down' ? layers - expertLayers : layers);
  const products = matrices.reduce((sum, { name, n, k, dtype }) => sum + timesOf(name) * productMs(target, tokens, n, k, dtype), 0);
  const act = (width: number): number => memoryOp(gpu, MEMORY_BYTES.act(tokens, width));
  const elementwise = layers * (2 * memoryOp(gpu, MEMORY_BYTES.norm(tokens, hidden)) + ropeMs(target, tokens)) + (layers - expertLayers) * act(ffn);
  const experts = moe === undefined ? 0 : expertLayers * (expertsMs(target, tokens) + (moe.shared_ffn === 0 ? 0 : act(moe.shared_ffn / tp)));
  const chunks = body.seqs.filter(([fresh]) => fresh > 1);
  const steps = body.seqs.filter(([fresh]) => fresh === 1);
  const attention = layers * (promptAttentionMs(target, chunks) + stepAttentionMs(target, steps));
  const onGpu = products + elementwise + experts + attention + logitsMs(target, body.pad_to ?? body.rows);
  return body.mode === 'graph' ? onGpu : Math.max(onGpu, LAUNCH_MS * (LAUNCHES.layer * layers + LAUNCHES.pass));
}

function productMs({ gpu }: Target, m: number, n: number, k: number, dtype: MatrixType): number {
  return gemmBound(gpu, dtype === 'bf16' ? 'bf16' : 'fp8', m, n, k) + gpu.memory_latency_us / 1000;
}

function logitsMs(target: Target, rows: number): number {
  return productMs(target, rows, target.vocab, target.geometry.hidden, 'bf16') + memoryOp(target.gpu, MEMORY_BYTES.sample(rows, target.vocab));
}

function ropeMs({ gpu, attention: { heads, kv_heads, head_dim, kv } }: Target, tokens: number): number {
  return memoryOp(gpu, MEMORY_BYTES.rope_kv(tokens, { heads, kvHeads: kv_heads, headDim: head_dim, kvBytes: kv === 'fp8' ? 1 : 2 }));
}

function expertsMs({ gpu, geometry: { hidden, moe }, weights, tp }: Target, tokens: number): number {
  const { experts, top_k: topK, ffn } = moe!;
  return expertsBound(gpu, { hidden, ffn, topK, experts, moeTp: tp, moeEp: 1, mode: weights === 'bf16' ? 'bf16' : 'fp8', distribution: 'balanced' }, tokens);
}

function attentionShape({ attention: { heads, kv_heads, head_dim, kv } }: Target): AttentionShape {
  return { heads, kvHeads: kv_heads, headDim: head_dim, window: 0, attention: 'bf16', kv };
}

/** One layer; the part of a prompt that is in the cache costs no queries. */
function promptAttentionMs(target: Target, seqs: Sequences): number {
  const shape = attentionShape(target);
  return seqs.reduce((sum, [fresh, past]) => {
    const end = fresh + past;
    return sum + contextAttentionBound(target.gpu, shape, 1, end) * (1 - (past / end) ** 2);
  }, 0);
}

/** One layer. */
function stepAttentionMs(target: Target, seqs: Sequences): number {
  const shape = attentionShape(target);
  return seqs.reduce((sum, [, past]) => sum + generationAttentionBound(target.gpu, shape, 1, past + 1), 0);
}
