import type { AttentionShape } from './bounds.js';
import { memoryOp } from './bounds.js';
import { attentionLayers, linkBandwidth, type Hardware, type Model } from './catalogue.js';
import { kernelFacts } from './kernel-facts.js';
import type { Layout } from './layout.js';
import type { Collective, OperatorTimes } from './operator-times.js';
import { kvBytes, type Quant, type QuantMode } from './quant.js';

/** A worker whose passes are to be timed. */
export interface TimedWorker {
  readonly model: Model;
  /** Engine name; decides which collectives run between the ranks. */
  readonly engine: string;
  readonly layout: Layout;
  readonly quant: Quant;
}

/** One operator of a pass, all its layers together, ms by tokens of one rank. Null = not in that kind of pass. */
export interface PassOperator {
  readonly name: string;
  readonly layers: number;
  readonly context: ((tokens: number) => number) | null;
  readonly generation: ((tokens: number) => number) | null;
  /** In decode passes the shared expert runs beside the routed ones: the longer path counts. */
  readonly path?: 'shared' | 'routed';
}

/** One attention kernel and the layers it serves. */
export interface AttentionOperator {
  readonly name: string;
  readonly layers: number;
  /** One layer over b whole prompts of s tokens, ms. */
  readonly context: (b: number, s: number) => number;
  /** One layer, one step of b requests at s tokens, ms. */
  readonly generation: (b: number, s: number) => number;
  /** What a layer adds in a pass with prompts whatever their length, ms. */
  readonly contextExtra: number;
  /** Matrices that a measured block holds beside attention, one layer, ms by tokens; absent = it holds none. */
  readonly projections?: (tokens: number) => number;
}

/** Every operator of a worker's passes (perf-model section 2.5). */
export interface ForwardModel {
  readonly worker: TimedWorker;
  readonly operators: readonly PassOperator[];
  readonly attention: readonly AttentionOperator[];
  /** The vocabulary's matrix, by rows that get a token, ms. */
  readonly logits: (rows: number) => number;
  /** The reference leaves the logits of experts' models out of prompt passes. */
  readonly logitsInContext: boolean;
}

/** What a model needs and no source knows. */
export class MissingOperator extends Error {
  constructor(readonly operator: string) {
    super(`no times of ${operator}`);
  }
}

/** Puts a worker's operators together. Throws MissingOperator. */
export function createForwardModel(worker: TimedWorker, times: OperatorTimes): ForwardModel {
  const { model, layout } = worker;
  const build = new Builder(worker, times);
  build.once('embedding', (t) => memoryOp(times.gpu, 2 * model.hidden * t));
  build.norm('add_norm_1');
  const attention = model.family === 'mla' ? build.latentAttention() : build.attention();
  if (model.linear !== undefined) build.linearAttention();
  build.norm('add_norm_2');
  const expertLayers = model.family === 'dense' ? 0 : model.layers;
  if (expertLayers === 0) build.feedForward();
  else build.experts();
  build.reductions();
  const reduce = build.allReduce(layout.tp);
  build.once('embedding_ar', (t) => reduce(t * model.hidden));
  if (layout.pp > 1) build.once('p2p', (t) => (layout.pp - 1) * (((t * model.hidden * 2) / times.gpu.inter_node_bandwidth) * 1000 + 0.01));
  return { worker, operators: build.operators, attention, logits: build.gemm('logits', 'bf16', model.vocab / layout.tp, model.hidden), logitsInContext: model.family === 'dense' };
}

const DISTRIBUTIONS = { moe: 'power_law_1.2', mla: 'power_law_1.01', dense: '' } as const;

class Builder {
  readonly operators: PassOperator[] = [];
  private readonly gpu: Hardware;

  constructor(
    private readonly worker: TimedWorker,
    private readonly times: OperatorTimes,
  ) {
    this.gpu = times.gpu;
  }

  /** An operator that runs once a pass. */
  once(name: string, ms: (tokens: number) => number): void {
    this.operators.push({ name, layers: 1, context: ms, generation: ms });
  }

  private each(name: string, ms: (tokens: number) => number, layers = this.worker.model.layers, path?: 'shared' | 'routed'): void {
    const all = (tokens: number): number => layers * ms(tokens);
    this.operators.push({ name, layers, context: all, generation: all, ...(path === undefined ? {} : { path }) });
  }

  norm(name: string): void {
    const { hidden } = this.worker.model;
    this.each(name, this.elementwise(2 * hidden, 2 * hidden));
  }

  /** Reads and writes so many elements per token. */
  private elementwise(inputs: number, outputs: number): (tokens: number) => number {
    return (tokens) => memoryOp(this.gpu, 2 * (inputs + outputs) * tokens);
  }

  gemm(what: string, mode: QuantMode, n: number, k: number, scaled = false): (m: number) => number {
    return this.need(`gemm ${mode} ${what} ${n}x${k}`, this.times.gemm(mode, n, k, scaled));
  }

  private need<T>(what: string, found: T | null): T {
    if (found === null) throw new MissingOperator(what);
    return found;
  }

  /** Plain attention of the layers that keep a KV cache, and the matrices around it. */
  attention(): AttentionOperator[] {
    const { model, layout, quant } = this.worker;
    const heads = model.heads / layout.tp;
    const kvHeads = Math.ceil(model.kv_heads / layout.tp);
    const width = heads * model.head_dim;
    const full = attentionLayers(model);
    this.each('qkv_gemm', this.gemm('qkv', quant.weights, (model.output_gate ? 2 : 1) * width + 2 * kvHeads * model.head_dim, model.hidden), full);
    this.each('proj_gemm', this.gemm('proj', quant.weights, model.hidden, width, true), full);
    const windowed = model.window_layers ?? 0;
    const shape = { heads, kvHeads, headDim: model.head_dim, attention: quant.attention, kv: quant.kv };
    const kinds: { name: string; layers: number; window: number }[] = [
      { name: 'attention', layers: full - windowed, window: 0 },
      { name: 'window_attention', layers: windowed, window: model.window ?? 0 },
    ];
    return kinds.filter(({ layers }) => layers > 0).map(({ name, layers, window }) => this.attentionOperator(name, layers, { ...shape, window }));
  }

  private attentionOperator(name: string, layers: number, shape: AttentionShape): AttentionOperator {
    const context = this.need(`context attention ${describeAttention(shape)}`, this.times.contextAttention(shape));
    const generation = this.need(`generation attention ${describeAttention(shape)}`, this.times.generationAttention(shape));
    const [q, k] = [shape.heads * shape.headDim, shape.kvHeads * shape.headDim];
    const move = (bytes: number): number => memoryOp(this.gpu, bytes);
    const norms = this.worker.model.qk_norm ? 4 * move(2 * q) + 4 * move(2 * k) : 0;
    const extra = 1.1 * (2 * move(2 * q + 2 * k) + 2 * move(k * (shape.attention === 'fp8' ? 1 : 2)) + norms);
    return { name, layers, context, generation, contextExtra: extra };
  }

  /** Latent attention: the whole block where it was measured so, else its matrices, its kernel and the absorbed projections. */
  latentAttention(): AttentionOperator[] {
    const { model, layout, quant } = this.worker;
    const heads = model.heads / layout.tp;
    const shape = { heads, attention: quant.attention, kv: quant.kv, weights: quant.weights };
    const { q_lora_rank: q, kv_lora_rank: latent, rope_dim: rope, nope_dim: nope, v_dim: v } = latentDims(model);
    // The tables hold blocks of DeepSeek-V3's dimensions.
    const measured = nope === 128 && v === 128 && model.hidden === 7168 && q === 1536;
    const whole = measured ? ([this.times.contextLatentBlock(shape), this.times.generationLatentBlock(shape)] as const) : ([null, null] as const);
    const down = this.gemm('downscale', quant.weights, q + latent + rope, model.hidden);
    const query = this.gemm('q_b', quant.weights, heads * (nope + rope), q);
    const up = this.gemm('kv_b', quant.weights, heads * (nope + v), latent);
    const out = this.gemm('o', quant.weights, model.hidden, heads * v);
    if (whole[0] !== null && whole[1] !== null) {
      const projections = (t: number): number => down(t) + query(t) + up(t) + out(t);
      return [{ name: 'attention_block', layers: model.layers, context: whole[0], generation: whole[1], contextExtra: 0, projections }];
    }
    this.each('downscale_gemm', down);
    this.each('q_b_gemm', query);
    this.operators.push({ name: 'kv_b_gemm', layers: model.layers, context: (t) => model.layers * up(t), generation: null });
    this.each('o_gemm', out);
    for (const side of ['pre', 'post'] as const) {
      const project = this.need(`latent projection ${side} of ${heads} heads`, this.times.latentProjection(heads, side));
      this.operators.push({ name: `bmm_${side}`, layers: model.layers, context: null, generation: (t) => model.layers * project(t) });
    }
    return [
      {
        name: 'attention',
        layers: model.layers,
        context: this.need(`context latent attention of ${heads} heads`, this.times.contextLatent(shape)),
        generation: this.need(`generation latent attention of ${heads} heads`, this.times.generationLatent(shape)),
        contextExtra: 0,
      },
    ];
  }

  /**
   * Gated delta net layers: two matrices, the convolution, and the state's update, taken as bound by
   * memory (decode: the fp32 state is read and written) and by arithmetic at a share of the bf16 rate (prompt). No table
   * measures them; perf-model has no rule either.
   */
  linearAttention(): void {
    const { model, layout, quant } = this.worker;
    const { layers, key_heads, value_heads, key_dim, value_dim, conv } = model.linear!;
    const [keys, values] = [(key_heads * key_dim) / layout.tp, (value_heads * value_dim) / layout.tp];
    this.each('linear_in_gemm', this.gemm('linear_in', quant.weights, 2 * keys + 2 * values + (2 * value_heads) / layout.tp, model.hidden), layers);
    this.each('linear_out_gemm', this.gemm('linear_out', quant.weights, model.hidden, values), layers);
    this.each('linear_conv', this.elementwise(conv * (2 * keys + values), 2 * keys + values), layers);
    const stateBytes = (4 * value_heads * key_dim * value_dim) / layout.tp;
    const perToken = (8 * value_heads * key_dim * value_dim) / layout.tp / (kernelFacts().linear_attention_reach * this.gpu.flops.bf16);
    this.operators.push({
      name: 'linear_state',
      layers,
      context: (t) => layers * (memoryOp(this.gpu, 2 * stateBytes) + t * perToken * 1000),
      generation: (t) => layers * memoryOp(this.gpu, 2 * stateBytes * t),
    });
  }

  feedForward(layers = this.worker.model.layers): void {
    const { model, layout, quant } = this.worker;
    const ffn = model.ffn / layout.tp;
    this.each('gate_ffn1_gemm', this.gemm('gate_ffn1', quant.weights, 2 * ffn, model.hidden), layers);
    this.each('act_gate', this.elementwise(2 * ffn, ffn), layers);
    this.each('ffn2_gemm', this.gemm('ffn2', quant.weights, model.hidden, ffn, true), layers);
  }

  experts(): void {
    const { model, layout, quant } = this.worker;
    const { experts, top_k: topK, moe_ffn: ffn } = model;
    if (model.shared_ffn !== undefined) {
      const shared = model.shared_ffn / layout.tp;
      this.each('shared_gate_up_gemm', this.gemm('shared_gate_up', quant.weights, 2 * shared, model.hidden), model.layers, 'shared');
      this.each('shared_act_gate', this.elementwise(2 * shared, shared), model.layers, 'shared');
      this.each('shared_ffn2_gemm', this.gemm('shared_ffn2', quant.weights, model.hidden, shared), model.layers, 'shared');
    }
    this.each('router_gemm', this.gemm('router', 'bf16', experts!, model.hidden), model.layers, 'routed');
    const [before, after] = this.dispatch();
    this.each('moe_pre_dispatch', before, model.layers, 'routed');
    const shape = { hidden: model.hidden, ffn: ffn!, topK: topK!, experts: experts!, moeTp: layout.moeTp, moeEp: layout.moeEp, mode: quant.moe, distribution: DISTRIBUTIONS[model.family] };
    const routed = this.need(`experts ${quant.moe} ${experts} of ${model.hidden}x${ffn}, top ${topK}, tp ${layout.moeTp} ep ${layout.moeEp}`, this.times.experts(shape));
    this.each('moe', (t) => routed(t * layout.attentionDp), model.layers, 'routed');
    this.each('moe_post_dispatch', after, model.layers, 'routed');
  }

  /** What carries tokens to the experts and back, by tokens of one rank. */
  private dispatch(): [(tokens: number) => number, (tokens: number) => number] {
    const { model, layout, engine, quant } = this.worker;
    const [gpus, dp] = [layout.moeTp * layout.moeEp, layout.attentionDp];
    const inRank = gpus / dp;
    const h = model.hidden;
    const none = (): number => 0;
    if (dp === 1) {
      if (inRank === 1) return [none, none];
      const reduce = this.allReduce(gpus);
      return [(t) => reduce(t * h), (t) => reduce(t * h)];
    }
    const [gather, scatter] = [this.collective('all_gather', gpus), this.collective('reduce_scatter', gpus)];
    if (inRank === 1) {
      const blackwell = this.gpu.flops.fp4 !== undefined;
      const shrink = engine === 'trtllm' && blackwell ? (quant.moe === 'nvfp4' ? 0.28125 : quant.moe.startsWith('fp8') ? 0.5 : 1) : 1;
      return [(t) => gather(t * dp * h * shrink), (t) => scatter(t * dp * h)];
    }
    if (engine === 'sglang') {
      const [scatterRank, gatherRank] = [this.collective('reduce_scatter', inRank), this.collective('all_gather', inRank)];
      return [(t) => scatterRank(t * h) + gather(t * dp * h), (t) => scatter(t * dp * h) + gatherRank(t * h)];
    }
    const reduce = this.allReduce(gpus);
    return [(t) => reduce(t * h) + gather(t * dp * h), (t) => reduce(t * h) + scatter(t * dp * h)];
  }

  /** Reductions after attention and feed-forward: dense models', and vLLM's around latent attention. */
  reductions(): void {
    const { model, layout, engine } = this.worker;
    const reduce = this.allReduce(layout.tp);
    if (model.family === 'moe' || (model.family === 'mla' && engine !== 'vllm')) return;
    for (const name of ['ar_1', 'ar_2']) this.each(name, (t) => reduce(t * model.hidden));
  }

  /** All-reduce over `gpus` GPUs by elements; across nodes scaled by traffic and by the narrower link (perf-model section 2.4). */
  allReduce(gpus: number): (elements: number) => number {
    if (gpus === 1) return () => 0;
    const node = this.gpu.gpus_per_node;
    if (gpus > 4 && gpus <= (this.gpu.gpus_per_rack ?? 0)) return this.collective('all_reduce', gpus);
    const inside = this.need(`all-reduce over ${Math.min(gpus, node)} GPUs`, this.times.allReduce(Math.min(gpus, node)));
    return gpus <= node ? inside : scaled(inside, this.spread(node, gpus));
  }

  private collective(kind: Collective, gpus: number): (elements: number) => number {
    if (gpus === 1) return () => 0;
    for (let measured = gpus; measured >= 2; measured--) {
      const found = this.times.collective(kind, measured);
      if (found !== null) return measured === gpus ? found : scaled(found, this.spread(measured, gpus));
    }
    throw new MissingOperator(`${kind} over ${gpus} GPUs`);
  }

  /** How much longer a collective takes over more GPUs. */
  private spread(from: number, to: number): number {
    return (((to - 1) / to) * (from / (from - 1)) * linkBandwidth(this.gpu, from)) / linkBandwidth(this.gpu, to);
  }
}

function scaled(ms: (elements: number) => number, factor: number): (elements: number) => number {
  return (elements) => ms(elements) * factor;
}

function latentDims(model: Model): { q_lora_rank: number; kv_lora_rank: number; rope_dim: number; nope_dim: number; v_dim: number } {
  const { q_lora_rank = 0, kv_lora_rank = 0, rope_dim = 0, nope_dim = 0, v_dim = 0 } = model;
  return { q_lora_rank, kv_lora_rank, rope_dim, nope_dim, v_dim };
}

function describeAttention({ heads, kvHeads, headDim, window, attention, kv }: AttentionShape): string {
  return `${attention} over ${8 * kvBytes(kv)}-bit KV, ${heads} heads, ${kvHeads} KV heads of ${headDim}${window > 0 ? `, window ${window}` : ''}`;
}
