import type { Checked, FieldProblem, MemoryAnswer, MemoryQuestion } from '../scenario/environment.js';
import type { EngineSpec } from '../scenario/scenario.js';
import { shapeName } from '../scenario/shape.js';
import { requireBackend, requireHardware, requireModel, type Model } from './catalogue.js';
import { activationBytes, kvBytesPerTokenPerGpu, runtimeBytes, stateBytesPerSequence, weightsBytes } from './footprint.js';
import { inferQuant } from './infer-quant.js';
import { layoutGpus, type Layout } from './layout.js';
import { fallbackLayouts, layoutGap } from './legal-layouts.js';

/** How many KV blocks a worker's memory leaves (perf-model section 3, engine section 9). Bytes per GPU. */

/** KV tokens and whole blocks in a budget of bytes. */
export function kvCapacity(budgetBytes: number, kvBytesPerToken: number, blockTokens: number): { readonly tokens: number; readonly blocks: number } {
  const tokens = Math.floor(budgetBytes / kvBytesPerToken);
  return { tokens, blocks: Math.floor(tokens / blockTokens) };
}

/**
 * KV blocks of one rank: a fraction of the GPU's memory less everything else (vLLM, SGLang), or that
 * fraction of what everything else leaves (TensorRT-LLM).
 * Problems (`E-FIT`): the layout does not split the model; it does not fit, with the parts in GB and the
 * smallest layouts that do. Throws InputError for unknown names.
 */
export function kvBlocks(question: MemoryQuestion): Checked<MemoryAnswer> {
  const model = requireModel(question.model);
  const gap = layoutGap(model, question.layout, question.model);
  if (gap !== null) return refuse({ code: 'E-FIT', ...gap });
  const answer = memoryAt(question, model, question.layout);
  if (answer.blocks > 0) return { ok: true, value: answer };
  return refuse({ code: 'E-FIT', field: 'tp', what: overflow(question, answer), hint: whatFits(question, model) });
}

function refuse(problem: FieldProblem): Checked<MemoryAnswer> {
  return { ok: false, problem };
}

function memoryAt(question: MemoryQuestion, model: Model, layout: Layout): MemoryAnswer {
  const gpu = requireHardware(question.hardware);
  const { engine, reserveBytes } = question;
  const backend = requireBackend(engine.name);
  const quant = question.quant ?? inferQuant(model, gpu, engine.name);
  const parts = {
    weightsBytes: weightsBytes(model, layout, quant),
    activationBytes: activationBytes(model, backend, layout, passTokens(engine)),
    runtimeBytes: runtimeBytes(gpu, backend, layout.tp),
    stateBytes: engine.maxNumSeqs * stateBytesPerSequence(model, layout.tp, quant.kv),
    kvBytesPerTokenPerGpu: kvBytesPerTokenPerGpu(model, layout.tp, quant.kv),
  };
  const used = usedBytes(parts) + reserveBytes;
  const budgetBytes = backend.memory_fraction_of === 'free' ? (gpu.memory_bytes - used) * engine.memoryFraction : gpu.memory_bytes * engine.memoryFraction - used;
  const { blocks } = kvCapacity(budgetBytes, parts.kvBytesPerTokenPerGpu, engine.blockTokens);
  return { ...parts, budgetBytes, blocks: Math.max(0, blocks) };
}

function usedBytes(parts: Pick<MemoryAnswer, 'weightsBytes' | 'activationBytes' | 'runtimeBytes' | 'stateBytes'>): number {
  return parts.weightsBytes + parts.activationBytes + parts.runtimeBytes + parts.stateBytes;
}

/** Tokens of the largest pass. */
function passTokens({ sglang, maxNumBatchedTokens }: EngineSpec): number {
  return sglang ? Math.min(sglang.chunkedPrefillSize, sglang.maxPrefillTokens) : maxNumBatchedTokens;
}

const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);

function overflow(question: MemoryQuestion, answer: MemoryAnswer): string {
  const { reserveBytes, engine } = question;
  const memory = requireHardware(question.hardware).memory_bytes;
  const parts = [`weights ${gigabytes(answer.weightsBytes)}`, `activations ${gigabytes(answer.activationBytes)}`, `runtime ${gigabytes(answer.runtimeBytes)}`];
  if (answer.stateBytes > 0) parts.push(`state of ${engine.maxNumSeqs} sequences ${gigabytes(answer.stateBytes)}`);
  if (reserveBytes > 0) parts.push(`reserve ${gigabytes(reserveBytes)}`);
  const share = `${gigabytes(memory * engine.memoryFraction)} GB (${Number((engine.memoryFraction * 100).toFixed(2))}% of ${gigabytes(memory)} GB)`;
  const limit = requireBackend(engine.name).memory_fraction_of === 'free' ? `${gigabytes(memory)} GB` : share;
  const total = `${gigabytes(usedBytes(answer) + reserveBytes)} GB per GPU (${parts.join(', ')})`;
  return answer.budgetBytes > 0 ? `${total} leave less than one KV block of ${limit}` : `${total} exceed ${limit}`;
}

/** The two smallest layouts that fit, by GPUs, with what each leaves for KV. */
function whatFits(question: MemoryQuestion, model: Model): string {
  const gpus = layoutGpus(question.layout);
  const fitting = fallbackLayouts(model)
    .filter((layout) => layoutGpus(layout) > gpus)
    .map((layout) => ({ layout, answer: memoryAt(question, model, layout) }))
    .filter(({ answer }) => answer.blocks > 0);
  const unstaged = fitting.filter(({ layout }) => layout.pp === 1);
  const offered = smallest(unstaged.length > 0 ? unstaged : fitting);
  if (offered.length === 0) return 'no layout of up to 16 GPUs and 8 stages fits; choose hardware with more memory';
  return offered.map(({ layout, answer }, i) => `${name(model, layout)} leaves ${gigabytes(answer.budgetBytes)} GB${i === 0 ? ' for KV' : ''}`).join(', ');
}

interface Fitting {
  readonly layout: Layout;
  readonly answer: MemoryAnswer;
}

/** One layout of each of the two smallest numbers of GPUs, of the fewest stages the one that leaves most. */
function smallest(fitting: readonly Fitting[]): Fitting[] {
  const bySize = new Map<number, Fitting>();
  for (const one of fitting) {
    const known = bySize.get(layoutGpus(one.layout));
    if (known === undefined || (one.layout.pp === known.layout.pp && one.answer.budgetBytes > known.answer.budgetBytes)) bySize.set(layoutGpus(one.layout), one);
  }
  return [...bySize].sort(([a], [b]) => a - b).slice(0, 2).map(([, one]) => one);
}

/** As written in a pool: `tp: 2`, or `shape: tep8`. */
function name(model: Model, layout: Layout): string {
  if (layout.pp === 1 && layout.moeEp === 1) return `tp: ${layout.tp}`;
  const { tp, pp, attentionDp: dp, moeTp, moeEp } = layout;
  return `shape: ${shapeName({ tp, pp, dp, ...(model.experts === undefined ? {} : { moeTp, moeEp }) })}`;
}
