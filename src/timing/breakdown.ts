import { launchesOf, promptAttention } from './compiled-model.js';
import { createForwardModel, type AttentionOperator, type ForwardModel, type PassOperator } from './forward-model.js';
import { DATASHEET } from './operator-sources.js';
import type { OperatorBasis } from './operator-basis.js';
import { LEAST_DECODE_MS } from './static-tables.js';
import { generationAttention } from './step-times.js';

/** One operator of a pass, all its layers together. */
export interface OperatorShare {
  readonly name: string;
  readonly layers: number;
  readonly ms: number;
  /** Of the kernels of the pass, 0…1; 0 for what runs beside a longer path. */
  readonly share: number;
  /** Tables with version, those it is borrowed from, or what is computed from the datasheet. */
  readonly from: string;
  /** Runs beside a longer path and adds nothing. */
  readonly beside: boolean;
}

/** What comes to the kernels, ms; negative where it takes away. */
export interface Addition {
  readonly what: string;
  readonly ms: number;
}

/** One pass with every rank of the worker alike. Milliseconds. */
export interface PassBreakdown {
  readonly kind: 'prefill' | 'decode';
  /** Of a rank. */
  readonly requests: number;
  /** Prompt tokens, or known tokens of each request. */
  readonly tokens: number;
  /** Null = the source times passes as a whole. */
  readonly kernels: { readonly operators: readonly OperatorShare[]; readonly ms: number } | null;
  /** From the kernels to the pass, in this order. */
  readonly added: readonly Addition[];
  readonly ms: number;
}

/** One prompt of `tokens` tokens, nothing of it cached. @param speedup divisor of the pass; 0 = 1 */
export function prefillBreakdown(basis: OperatorBasis, tokens: number, speedup = 0): PassBreakdown {
  const { passes } = basis;
  const rows = new Rows(basis);
  const { forward } = rows;
  for (const { name, layers, context, path } of forward.operators) if (context !== null) rows.add(name, layers, () => context(tokens), path);
  for (const one of forward.attention) rows.add(one.name, one.layers, () => one.layers * (promptMs(passes.kind, one, tokens) + one.contextExtra));
  if (passes.kind === 'shared' || forward.logitsInContext) rows.add('logits_gemm', 1, () => forward.logits(1));
  const kernels = rows.kernels(() => false);
  const ladder = new Ladder(kernels.ms);
  if (passes.kind === 'shared') {
    const { physical, factors } = passes;
    const launches = launchesOf(forward);
    ladder.times('kernels in passes with prompts', physical.mPre);
    ladder.to(`least time of ${launches.toLocaleString('en-US')} launches of ${figure(physical.launchUs)} µs`, Math.max(ladder.ms, (physical.launchUs / 1000) * launches));
    ladder.to('host time', ladder.ms + physical.hostMs);
    ladder.times('factor of this deployment', factors.prefill);
  }
  ladder.times('speedup', 1 / (speedup || 1));
  return { kind: 'prefill', requests: 1, tokens, kernels, added: ladder.added, ms: ladder.ms };
}

/** A decode step of `requests` requests at `tokens` known tokens each. @param speedup divisor of the step; 0 = 1 */
export function decodeBreakdown(basis: OperatorBasis, requests: number, tokens: number, speedup = 0): PassBreakdown {
  const { passes, drafts, worker } = basis;
  const made = requests * (drafts + 1);
  const isStatic = passes.kind === 'static';
  const [b, s] = isStatic ? [made, tokens + passes.lengthOffset] : [requests, tokens + 1];
  const rows = new Rows(basis);
  const { forward } = rows;
  for (const { name, layers, generation, path } of forward.operators) if (generation !== null) rows.add(name, layers, () => generation(made), path);
  const attention = forward.attention.reduce((sum, one) => sum + rows.add(one.name, one.layers, () => generationAttention({ ...forward, attention: [one] }, b, s)), 0);
  rows.add('logits_gemm', 1, () => forward.logits(made));
  // Experts of data-parallel ranks wait for each other: nothing runs beside them.
  const shorter = isStatic || worker.layout.attentionDp === 1 ? rows.shorterPath() : undefined;
  const kernels = rows.kernels((path) => path !== undefined && path === shorter);
  const ladder = new Ladder(kernels.ms);
  const drafting = (worker.model.layers + drafts) / worker.model.layers;
  ladder.times(`${drafts} drafting layers`, drafting);
  if (isStatic) ladder.to(`least step of ${LEAST_DECODE_MS} ms`, Math.max(LEAST_DECODE_MS, ladder.ms));
  else {
    const { physical, factors } = passes;
    ladder.times('kernels in decode steps', physical.mDec);
    ladder.to(`attention of these × ${figure(physical.mGa)}`, ladder.ms + drafting * physical.mDec * (physical.mGa - 1) * attention);
    ladder.to('host time', ladder.ms + physical.hostMs);
    ladder.times('factor of this deployment', factors.decode);
  }
  ladder.times('speedup', 1 / (speedup || 1));
  return { kind: 'decode', requests, tokens, kernels, added: ladder.added, ms: ladder.ms };
}

/** One layer's attention of one whole prompt, ms, projections that it was measured with included. */
function promptMs(kind: 'static' | 'shared', one: AttentionOperator, tokens: number): number {
  return kind === 'static' ? one.context(1, tokens) : promptAttention(one, tokens) + (one.projections?.(tokens) ?? 0);
}

/** Operators as they are asked for, with the sources that answer. */
class Rows {
  readonly forward: ForwardModel;
  private readonly asked = new Set<string>();
  private readonly rows: { readonly name: string; readonly layers: number; readonly ms: number; readonly from: string; readonly path: PassOperator['path'] }[] = [];

  constructor({ worker, times }: OperatorBasis) {
    this.forward = createForwardModel(worker, times.traced((name, index) => this.asked.add(index === 0 || name === DATASHEET ? name : `borrowed from ${name}`)));
  }

  /** Returns the time; one that takes none is left out. */
  add(name: string, layers: number, time: () => number, path?: PassOperator['path']): number {
    this.asked.clear();
    const ms = time();
    const from = this.asked.size > 0 ? [...this.asked].sort().join(', ') : name === 'p2p' ? 'link bandwidth' : 'memory bandwidth';
    if (ms > 0) this.rows.push({ name, layers, ms, from, path });
    return ms;
  }

  shorterPath(): PassOperator['path'] {
    const sum = (which: PassOperator['path']): number => this.rows.reduce((total, { path, ms }) => (path === which ? total + ms : total), 0);
    return sum('shared') <= sum('routed') ? 'shared' : 'routed';
  }

  kernels(isBeside: (path: PassOperator['path']) => boolean): NonNullable<PassBreakdown['kernels']> {
    const ms = this.rows.reduce((sum, row) => sum + (isBeside(row.path) ? 0 : row.ms), 0);
    return { ms, operators: this.rows.map(({ path, ...row }) => ({ ...row, beside: isBeside(path), share: isBeside(path) ? 0 : row.ms / ms })) };
  }
}

/** A time that grows step by step; steps that change nothing are left out. */
export class Ladder {
  readonly added: Addition[] = [];

  constructor(public ms: number) {}

  to(what: string, ms: number): void {
    if (ms !== this.ms) this.added.push({ what, ms: ms - this.ms });
    this.ms = ms;
  }

  times(what: string, factor: number): void {
    this.to(`${what} × ${figure(factor)}`, this.ms * factor);
  }
}

/** Three digits. */
function figure(value: number): string {
  return String(Number(value.toPrecision(3)));
}
