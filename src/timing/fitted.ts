import { InputError } from '../core/problem.js';
import type { Checked, FieldProblem } from '../scenario/environment.js';
import { hardwareNames, linkBandwidth, modelNames, requireBackend, requireHardware, requireModel, type Hardware, type Model, type Quantization } from './catalogue.js';
import { compileAllReduce, compileContextAttention, compileGemm, compileGenerationAttention, type AllReduceRow, type FittedForm } from './forms.js';
import { contextExtrasUs, denseShare, embeddingUs, kvElementBytes, layerElementwiseUs, matrixFlops, type DenseShare, type Linear } from './operators.js';
import { CountTable, LengthTable } from './length-table.js';
import { chooseRow, fittedProfile } from './rows.js';
import { extrapolates } from './measured-sizes.js';
import type { PassShape, PassTiming, TimingDescription } from './timing.js';

/** One worker shape. */
export interface FittedQuestion {
  /** Catalogue name or path to a config.json. */
  readonly model: string;
  readonly hardware: string;
  readonly engine: string;
  readonly engineVersion: string;
  readonly tp: number;
}

/** The rows that serve a question. */
interface Plan {
  readonly gpu: Hardware;
  readonly share: DenseShare;
  /** By quantisation: the layers' own, and bf16 for the logits. */
  readonly gemm: ReadonlyMap<Quantization, FittedForm>;
  readonly context: FittedForm;
  /** Precision of the context attention. */
  readonly attention: 'bf16' | 'fp8';
  readonly generation: FittedForm;
  /** Null without tensor parallelism. */
  readonly allReduce: AllReduceRow | null;
  readonly description: TimingDescription;
}

/**
 * Pass times from the fitted operator model of perf-model sections 2 and 7, dense models only.
 *
 * A pass runs its linear layers once over all its tokens, prompt and decode together, so a mixed pass
 * charges them to `prefillMs` and its `decodeMs` is the decode attention alone. Everything that depends
 * on the token count only is remembered per count; attention costs a few operations a pass.
 * Throws InputError where `fittedCoverage` says no.
 */
export function fittedTiming(question: FittedQuestion): { readonly timing: PassTiming; readonly description: TimingDescription } {
  const plan = planFor(question);
  if (!plan.ok) throw new InputError(plan.problem);
  return { timing: new FittedTiming(plan.value), description: plan.value.description };
}

/** Whether the fitted rows cover a worker shape, or why not (code `E-HARDWARE`, with what is covered). */
export function fittedCoverage(question: FittedQuestion): Checked<TimingDescription> {
  const plan = planFor(question);
  if (plan.ok) return { ok: true, value: plan.value.description };
  return { ok: false, problem: { ...plan.problem, hint: `${nearestCovered(question, plan.problem.field)}; or set 'timing: polynomial'` } };
}

/** What is covered beside a question that is not, by changing the field in question. */
function nearestCovered(question: FittedQuestion, field: string): string {
  const covers = (change: Partial<FittedQuestion>): boolean => planFor({ ...question, ...change }).ok;
  if (field === 'model') {
    const names = new Set(modelNames().map((name) => requireModel(name)).filter((model) => modelGap(model) === null).map(({ name }) => name));
    return `covered: dense models such as ${[...names].join(', ')}`;
  }
  if (field === 'tp') {
    const degrees = [1, 2, 4, 8, 16].filter((tp) => covers({ tp }));
    if (degrees.length > 0) return `covered: tp ${degrees.join(', ')}`;
  }
  const on = hardwareNames().filter((hardware) => covers({ hardware }));
  return on.length > 0 ? `covered at tp ${question.tp}: ${on.join(', ')}` : 'no hardware of the catalogue is covered';
}

/** Pass counts up to this many tokens are remembered; larger passes are computed each time. */
const REMEMBERED_TOKENS = 32768;

class FittedTiming implements PassTiming {
  private readonly layersMs = new CountTable(REMEMBERED_TOKENS, (tokens) => this.computeLayersMs(tokens));
  private readonly logitsMs = new CountTable(REMEMBERED_TOKENS, (rows) => this.logitsGemm(rows) / 1000);
  private readonly layerGemms: readonly ((m: number) => number)[];
  private readonly logitsGemm: (m: number) => number;
  private readonly allReduce: (elements: number) => number;
  private readonly context: (b: number, end: number, start: number, work: number) => number;
  private readonly contextExtras: number;
  /** Decode attention of all layers, ms: linear between quarters of an octave of the length. */
  private readonly generation: LengthTable;
  /** Layers, and µs to ms. */
  private readonly layersPerMs: number;
  /** Passes that follow each other mostly hold the same requests: those of the last decode step, and all but its attention, ms. */
  private lastRequests = -1;
  private lastMs = NaN;

  constructor(private readonly plan: Plan) {
    const { gpu, share } = plan;
    const gemm = (linear: Linear): ((m: number) => number) => compileGemm(plan.gemm.get(linear.quant)!, gpu, linear);
    this.layerGemms = share.layerLinears.map(gemm);
    this.logitsGemm = gemm(share.logits);
    this.allReduce = plan.allReduce === null ? () => 0 : compileAllReduce(plan.allReduce);
    const fp8 = plan.attention === 'fp8';
    this.context = compileContextAttention(plan.context, gpu, fp8 ? (gpu.flops.fp8 ?? gpu.flops.bf16) : gpu.flops.bf16, share);
    this.contextExtras = contextExtrasUs(gpu, share, fp8 ? 1 : 2);
    this.layersPerMs = share.layers / 1000;
    const generation = compileGenerationAttention(plan.generation, gpu, share);
    this.generation = new LengthTable((b, s) => generation(b, s) * this.layersPerMs);
  }

  prefillMs(shape: PassShape): number {
    const requests = shape.prefillRequests;
    // A request in the pass runs at least its last token, even where the scheduler counts its prompt as cached whole.
    const tokens = Math.max(shape.prefillEndTokens - shape.prefillStartTokens, requests) + shape.decodeRequests;
    const attention = this.context(requests, shape.prefillEndTokens / requests, shape.prefillStartTokens / requests, shape.prefillAttentionTokens2);
    return this.linearMs(tokens, requests + shape.decodeRequests) + (attention + this.contextExtras) * this.layersPerMs;
  }

  decodeMs(shape: PassShape): number {
    const requests = shape.decodeRequests;
    const attentionMs = this.generation.at(requests, shape.decodeContextTokens / requests + 1);
    if (shape.prefillRequests > 0) return attentionMs;
    if (requests !== this.lastRequests) {
      this.lastMs = this.linearMs(requests, requests);
      this.lastRequests = requests;
    }
    return attentionMs + this.lastMs;
  }

  readonly extrapolates = extrapolates;

  /** Everything but attention, ms: `tokens` through the layers, logits of `sequences`. */
  private linearMs(tokens: number, sequences: number): number {
    return this.layersMs.at(tokens) + this.logitsMs.at(sequences);
  }

  private computeLayersMs(tokens: number): number {
    const { gpu, share } = this.plan;
    const reduce = this.allReduce(tokens * share.hidden);
    const gemms = this.layerGemms.reduce((sum, gemm) => sum + gemm(tokens), 0);
    const layer = gemms + layerElementwiseUs(gpu, share, tokens) + 2 * reduce;
    return (layer * share.layers + embeddingUs(gpu, share, tokens) + reduce) / 1000;
  }
}

function gap(field: string, what: string): { readonly ok: false; readonly problem: FieldProblem } {
  return { ok: false, problem: { code: 'E-HARDWARE', field, what: `no timing source covers this: ${what}` } };
}

/** Why no fitted row fits a model on any GPU; null = nothing against it. */
function modelGap(model: Model): string | null {
  if (model.family !== 'dense') return `${model.name} is not dense (${model.family})`;
  if (model.window !== undefined) return `${model.name} has a sliding window`;
  if (model.head_dim !== 128) return `${model.name} has head_dim ${model.head_dim}; attention is fitted at 128`;
  return null;
}

function planFor(question: FittedQuestion): Checked<Plan> {
  const model = requireModel(question.model);
  const gpu = requireHardware(question.hardware);
  const { tp } = question;
  const against = modelGap(model);
  if (against !== null) return gap('model', against);
  if (model.heads % tp !== 0 || model.ffn % tp !== 0) return gap('tp', `${model.name} does not split over ${tp} GPUs`);
  if (matrixFlops(gpu, model.quant) === undefined) return gap('hardware', `${gpu.name} has no ${model.quant} matrix units`);

  const wanted = { gpu, backend: question.engine, version: question.engineVersion };
  const { rows, all_reduce: reductions } = fittedProfile();
  const served: Source[] = [];
  const find = (op: string, dtype: string): FittedForm | null => {
    const found = chooseRow(rows.filter((row) => row.op === op && row.dtype === dtype), wanted);
    if (found !== null) served.push({ what: `${op} ${dtype}`, ...found });
    return found?.row ?? null;
  };
  const cacheBits = kvElementBytes(model.quant) * 8;
  const layers = find('gemm', model.quant);
  const logits = model.quant === 'bf16' ? layers : find('gemm', 'bf16');
  const fp8Context = cacheBits === 8 && requireBackend(question.engine).attention_over_fp8_cache === 'fp8' ? find('ctx', 'fp8/kv8') : null;
  const context = fp8Context ?? find('ctx', `bf16/kv${cacheBits}`);
  const generation = find('gen', `kv${cacheBits}`);
  if (layers === null || logits === null || context === null || generation === null) return gap('hardware', `no kernel measurements for ${model.quant} weights and ${cacheBits}-bit KV on ${gpu.name} or its like`);

  const reduction = tp === 1 ? null : chooseRow(reductions.filter((row) => row.gpus === Math.min(tp, gpu.gpus_per_node)), wanted, true);
  if (tp > 1 && reduction === null) return gap('tp', `no measured all-reduce over ${tp} GPUs on ${gpu.name}`);
  if (reduction !== null) {
    const scaled = tp > gpu.gpus_per_node && { from: `${reduction.from ?? 'its row'} over ${gpu.gpus_per_node}, scaled` };
    served.push({ what: `all-reduce over ${tp}`, ...reduction, ...scaled });
  }

  const share = denseShare(model, tp);
  const gemm = new Map([[model.quant, layers], ['bf16', logits]] as const);
  const allReduce = reduction === null ? null : acrossNodes(reduction.row, gpu, tp);
  return { ok: true, value: { gpu, share, gemm, context, attention: fp8Context ? 'fp8' : 'bf16', generation, allReduce, description: describe(question, model.quant, share, served, tp <= gpu.gpus_per_node) } };
}

/** Beyond one node: the node's own time scaled by traffic and by the narrower link (perf-model section 2.4). */
function acrossNodes(row: AllReduceRow, gpu: Hardware, tp: number): AllReduceRow {
  const node = gpu.gpus_per_node;
  if (tp <= node) return row;
  const factor = ((tp - 1) / tp) * (node / (node - 1)) * (linkBandwidth(gpu, node) / linkBandwidth(gpu, tp));
  const line = row.line && ([row.line[0] * factor, row.line[1] / factor] as const);
  return { gpus: row.gpus, curve: row.curve?.map((us) => us * factor), line };
}

interface Source {
  readonly what: string;
  readonly from: string | null;
}

/** `checked`: the totals of the profile were compared with measurements at this many GPUs. */
function describe(question: FittedQuestion, quant: Quantization, share: DenseShare, served: readonly Source[], checked: boolean): TimingDescription {
  const { hardware, engine, engineVersion, tp } = question;
  const substitutions = served.filter(({ from }) => from !== null).map(({ what, from }) => `${what} from ${from}`);
  const outside = [...share.layerLinears, share.logits].filter(({ n, k }) => n < 512 || k < 512 || n * k > 9e8).map(({ name, n, k }) => `${name} ${n}x${k}`);
  if (share.heads > 64) outside.push(`${share.heads} heads per GPU`);
  const notes = [
    `fitted kernels of ${engine} ${engineVersion} on ${hardware}, tp ${tp}, ${quant} weights, ${share.kvBytes * 8}-bit KV`,
    substitutions.length > 0 ? `substituted: ${substitutions.join(', ')}` : 'no substitutions',
    ...(outside.length > 0 ? [`extrapolated beyond the fitted sizes: ${outside.join(', ')}`] : []),
    'error is against the measured kernels, not against served systems',
  ];
  const totals = fittedProfile().totals.find((entry) => checked && entry.hardware === hardware && entry.backend === engine && entry.dtype === quant);
  return { source: 'fitted', calibration: notes.join('; '), errorPct: { ttft: totals?.prefill ?? null, tpot: totals?.decode ?? null }, interval: null, evidence: null, group: [engine, engineVersion, question.model, hardware, quant].join(' ') };
}
