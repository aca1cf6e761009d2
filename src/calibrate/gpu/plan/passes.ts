import type { Sequences } from '../points.js';
import { boxCandidates, inside, pick, type Box, type Built, type Family, type PointBody } from './family.js';
import { lognormalLengths, oneLong, variationOf } from './lengths.js';
import { infeasible, paddedBatch, type Target } from './target.js';

/** Forward passes, and one layer's attention over the same sequences (spec calibration 3.1). Lengths in tokens. */

const powers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => 2 ** (from + index));

const FRESH = powers(4, 13);
const PAST = [0, 512, 4096, 16384, 65536];
const PROMPTS = [1, 2, 4, 8];
const BATCH = powers(0, 9);
const CONTEXT = [128, 512, 2048, 8192, 32768, 131072];
const CHUNK = [128, 512, 2048, 8192];
const CHUNK_PAST = [0, 8192];
const MIXED_BATCH = [1, 8, 32, 128];
const MIXED_CONTEXT = [1024, 8192];
/** Decode steps without a graph, at few shapes: they show what launching costs. */
const EAGER_BATCH = [1, 8, 64, 512];
const EAGER_CONTEXT = [128, 2048];
/** Contexts at which batches around captured sizes may be measured: the longest of which the cache holds the largest batch. */
const CAPTURE_CONTEXTS = [2048, 1024, 512, 256, 128];
/** New tokens up to which a pass with prompts is captured, too. */
const CAPTURED_TOKENS = 2048;
/** Deviation of the logarithm of ragged prompts' lengths; times of the mean of the one long sequence. */
const PROMPT_SIGMA = 0.8;
const LONG = 8;
/** A prompt of one new token would be a decode step. */
const SHORTEST_PROMPT = 2;
/** Fewest held-out points of a sort of pass; two families share those of attention (spec calibration 7.3). */
const JUDGED = 8;

/** One sequence of every prompt; `ragged`: new tokens and, with `pastVariation`, cached ones differ at an equal sum. */
function prompts(fresh: number, past: number, count: number, ragged: boolean, pastVariation = 0): Sequences {
  if (!ragged || count === 1) return Array.from({ length: count }, () => [fresh, past]);
  const pasts = pastVariation === 0 || past === 0 ? null : lognormalLengths(count, past, pastVariation, 0);
  return lognormalLengths(count, fresh, variationOf(PROMPT_SIGMA), SHORTEST_PROMPT).map((length, index) => [length, pasts?.[index] ?? past]);
}

type Raggedness = number | 'long';

/** Decode steps at a mean context of `context` tokens, the new one included. */
function steps(batch: number, context: number, raggedness: Raggedness): Sequences {
  const lengths = raggedness === 'long' ? oneLong(batch, context, LONG, 1) : raggedness === 0 || batch === 1 ? null : lognormalLengths(batch, context, raggedness, 1);
  return lengths === null ? Array.from({ length: batch }, () => [1, context - 1]) : lengths.map((length) => [1, length - 1]);
}

type Wrap = (seqs: Sequences) => PointBody;

function checked(target: Target, seqs: Sequences, wrap: Wrap): Built {
  const reason = infeasible(target, seqs);
  return reason === null ? { body: wrap(seqs) } : { refusal: reason };
}

const tokensOf = (seqs: Sequences): number => seqs.reduce((sum, [fresh]) => sum + fresh, 0);

/** Passes of one shard of several are others than those of the whole model: their name says so. */
const shard = ({ tp }: Target): { readonly tp?: number } => (tp === 1 ? {} : { tp });

function eagerPass(target: Target): Wrap {
  return (seqs) => ({ kind: 'pass', mode: 'eager', seqs, rows: seqs.length, ...shard(target) });
}

/** Captured as it is. */
function graphPass(target: Target): Wrap {
  return (seqs) => ({ kind: 'pass', mode: 'graph', seqs, rows: seqs.length, ...shard(target) });
}

/** A decode step in the smallest graph that holds it. */
function graphStep(target: Target): Wrap {
  return (seqs) => ({ kind: 'pass', mode: 'graph', seqs, rows: seqs.length, pad_to: paddedBatch(target.captures, seqs.length)!, ...shard(target) });
}

interface Axes {
  readonly fresh: readonly number[];
  readonly past: readonly number[];
  readonly context: readonly number[];
}

/** The values that some pass of this target can have. */
function axesOf({ maxTokens, maxContext }: Target): Axes {
  return { fresh: FRESH.filter((fresh) => fresh <= maxTokens), past: PAST.filter((past) => past + FRESH[0]! <= maxContext), context: CONTEXT.filter((context) => context <= maxContext) };
}

/** Prompts alone: a whole pass, or one layer's attention (`ctx`). */
function promptFamily(target: Target, name: 'prefill' | 'ctx', wrap: Wrap): Family {
  const { fresh, past } = axesOf(target);
  const axes = [fresh, past, PROMPTS];
  const build = (captured: boolean) => ([tokens, cached, count]: readonly number[], odd: boolean): Built => checked(target, prompts(tokens!, cached!, count!, odd), captured ? graphPass(target) : wrap);
  const boxes: Box[] = [{ cell: '', axes, anchors: 'all', later: 0, slide: 0, finer: true, build: build(false) }];
  if (name === 'prefill') boxes.push({ cell: 'graph', axes: [fresh.filter((tokens) => tokens <= CAPTURED_TOKENS), past, PROMPTS], anchors: 'none', later: 2, build: build(true) });
  const captured = (seqs: Sequences): boolean => tokensOf(seqs) <= CAPTURED_TOKENS;
  return {
    name,
    label: label(name, target),
    candidates: boxes.flatMap(boxCandidates).filter(({ cell, at }) => cell === '' || captured(prompts(at[0]!, at[1]!, at[2]!, false))),
    heldOut: name === 'prefill' ? JUDGED : JUDGED / 2,
    between: (u) => {
      const at = inside(axes, u);
      return { at, cell: '', built: checked(target, prompts(at[0]!, at[1]!, at[2]!, true, 0.5), wrap) };
    },
    refine: (cell, at) => build(cell === 'graph')(at, false),
  };
}

/** Decode steps alone: a whole pass, or one layer's attention (`gen`). */
function stepFamily(target: Target, name: 'decode' | 'gen', wrap: Wrap): Family {
  const { context } = axesOf(target);
  const axes = [BATCH, context];
  const build = (raggedness: Raggedness, how = wrap) => ([batch, mean]: readonly number[]): Built => checked(target, steps(batch!, mean!, raggedness), how);
  const ragged = (raggedness: Raggedness, batches: readonly number[], anchors: Box['anchors'], later: number): Box => ({ cell: '', axes: [batches, context], anchors, later, slide: 1, build: build(raggedness) });
  const boxes: Box[] = [
    { cell: '', axes, anchors: 'all', later: 0, slide: 1, finer: true, build: build(0) },
    ragged('long', BATCH.filter((batch) => batch > LONG), 'all', 1),
    ragged(1, BATCH.slice(1), 'none', 1),
    ragged(0.5, BATCH.slice(1), 'none', 2),
  ];
  if (name === 'decode') {
    boxes.push({ cell: 'eager', axes: [EAGER_BATCH, EAGER_CONTEXT], anchors: 'none', later: 0, build: build(0, eagerPass(target)) });
    const largest = target.captures.at(-1)!;
    const held = CAPTURE_CONTEXTS.find((mean) => largest * mean <= target.kvTokens) ?? CAPTURE_CONTEXTS.at(-1)!;
    for (const offset of [0, 1, -1]) {
      const batches = target.captures.map((size) => size + offset).filter((batch) => batch >= 1 && batch <= largest);
      boxes.push({ cell: '', axes: [batches, [held]], anchors: 'none', later: 0, build: build(0) });
    }
  }
  return {
    name,
    label: label(name, target),
    candidates: boxes.flatMap(boxCandidates),
    heldOut: name === 'decode' ? JUDGED : JUDGED / 2,
    between: (u) => {
      const at = inside(axes, u);
      const long = u[3]! < 0.25 && at[0]! > LONG;
      return { at, cell: '', built: build(long ? 'long' : Number(u[2]!.toFixed(3)))(at) };
    },
    refine: (cell, at) => build(0, cell === 'eager' ? eagerPass(target) : wrap)(at),
  };
}

/** A chunk of a prompt beside decode steps; they share the tokens of a pass, so the largest chunk leaves the steps their place. */
function mixedFamily(target: Target): Family {
  const { maxTokens, maxContext } = target;
  const axes = [CHUNK.filter((chunk) => chunk <= maxTokens), MIXED_BATCH, MIXED_CONTEXT.filter((context) => context <= maxContext), CHUNK_PAST.filter((past) => past < maxContext)];
  const seqsOf = ([chunk, batch, context, past]: readonly number[], raggedness: number): Sequences => [[Math.min(chunk!, maxTokens - batch!), past!], ...steps(batch!, context!, raggedness)];
  const build = (wrap: Wrap) => (at: readonly number[]): Built => checked(target, seqsOf(at, 0), wrap);
  const boxes: Box[] = [
    { cell: '', axes, anchors: 'half', later: 0, slide: 1, finer: true, build: build(eagerPass(target)) },
    { cell: 'graph', axes, anchors: 'none', later: 2, build: build(graphPass(target)) },
  ];
  return {
    name: 'mixed',
    label: label('mixed', target),
    candidates: boxes.flatMap(boxCandidates).filter(({ cell, at }) => cell === '' || tokensOf(seqsOf(at, 0)) <= CAPTURED_TOKENS),
    heldOut: JUDGED,
    between: (u) => {
      const at = inside(axes, u);
      return { at, cell: '', built: checked(target, seqsOf(at, pick([0.5, 1], u[4]!)), eagerPass(target)) };
    },
    refine: (cell, at) => build(cell === 'graph' ? graphPass(target) : eagerPass(target))(at),
  };
}

function label(name: string, { tp }: Target): string {
  return `${name} tp ${tp}`;
}

/** Families of one shard that its forward passes make up. */
export function passFamilies(target: Target): Family[] {
  return [stepFamily(target, 'decode', graphStep(target)), promptFamily(target, 'prefill', eagerPass(target)), mixedFamily(target)];
}

/** One layer's attention over prompts and over decode steps. */
export function attentionFamilies(target: Target): Family[] {
  const { attention } = target;
  return [
    promptFamily(target, 'ctx', (seqs) => ({ kind: 'attn_ctx', mode: 'graph', seqs, ...attention })),
    stepFamily(target, 'gen', (seqs) => ({ kind: 'attn_gen', mode: 'graph', seqs, ...attention })),
  ];
}

/** Coordinates and cell of a measured pass or attention; null for another kind. */
export function coordinatesOfSequences(body: PointBody): { readonly name: 'decode' | 'prefill' | 'mixed' | 'ctx' | 'gen'; readonly cell: string; readonly at: readonly number[] } | null {
  if (body.kind !== 'pass' && body.kind !== 'attn_ctx' && body.kind !== 'attn_gen') return null;
  const { seqs } = body;
  const chunks = seqs.filter(([fresh]) => fresh > 1);
  const decodes = seqs.filter(([fresh]) => fresh === 1);
  const mean = (values: readonly number[]): number => Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
  const fresh = mean(chunks.map(([tokens]) => tokens));
  const past = mean(chunks.map(([, cached]) => cached));
  const context = mean(decodes.map(([, cached]) => cached + 1));
  if (chunks.length === 0) return { name: body.kind === 'pass' ? 'decode' : 'gen', cell: body.kind === 'pass' && body.mode === 'eager' ? 'eager' : '', at: [decodes.length, context] };
  const captured = body.kind === 'pass' && body.mode === 'graph' ? 'graph' : '';
  if (decodes.length === 0) return { name: body.kind === 'pass' ? 'prefill' : 'ctx', cell: captured, at: [fresh, past, chunks.length] };
  return { name: 'mixed', cell: captured, at: [fresh, decodes.length, context, past] };
}
