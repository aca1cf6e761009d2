import { InputError } from '../../core/problem.js';
import { randomStream, type RandomStream } from '../../core/random.js';
import { conversation } from './conversation.js';
import { documentQa } from './document-qa.js';
import { fullBlocks, GENERATED_BLOCK_TOKENS, type Draft, type ModelInput } from './drafts.js';
import { toolAgent } from './tool-agent.js';

const MODELS = { conversation, document_qa: documentQa, tool_agent: toolAgent } as const satisfies Record<string, (input: ModelInput) => Draft[]>;
export type TraceKind = keyof typeof MODELS;
export const TRACE_KINDS = Object.keys(MODELS) as readonly TraceKind[];

export interface GeneratorSpec {
  readonly like: TraceKind;
  /** Span of the arrivals. */
  readonly durationMs: number;
  /** Factor on the rate of sessions. */
  readonly scale: number;
  readonly seed: number;
}

/** A row of a Mooncake trace of 512-token blocks. */
export interface TraceRow {
  /** ms. */
  readonly timestamp: number;
  readonly input_length: number;
  readonly output_length: number;
  readonly hash_ids: readonly number[];
}

/** Recent requests from which unrelated ones copy, and attempts to find one that is long enough. */
const COPY_WINDOW = 4000;
const COPY_TRIES = 30;
/** Largest duration · scale: the rows are held in memory. */
const MAX_TRAFFIC_H = 48;

/**
 * Rows that imitate a public trace, sorted by time, ids numbered by first appearance. Same
 * arguments,XX * Source: workload spec, section 7.2 (our own models, fitted there).
 */
export function generateTrace(spec: GeneratorSpec): TraceRow[] {
  const hours = (spec.durationMs * spec.scale) / 3.6e6;
  if (hours > MAX_TRAFFIC_H) {
    throw new InputError({ code: 'E-RANGE', path: 'duration', what: `duration times scale is ${hours.toFixed(1)} h of traffic`, hint: `stay within ${MAX_TRAFFIC_H} h` });
  }
  let idCount = 0;
  const fresh = (count: number): number[] => Array.from({ length: count }, () => idCount++);
  const random = randomStream(spec.seed, `generate/${spec.like}`);
  const drafts = MODELS[spec.like]({ durationMs: spec.durationMs, scale: spec.scale, random, fresh }).sort((a, b) => a.timeMs - b.timeMs);
  if (drafts.length === 0) {
    throw new InputError({ code: 'E-RANGE', path: 'duration', what: `${spec.durationMs} ms at scale ${spec.scale} make no request`, hint: 'generate a longer span or a larger scale' });
  }
  assignIds(drafts, fresh, randomStream(spec.seed, `generate/${spec.like}/copies`));
  return renumbered(drafts);
}

/** The rows as JSON lines, spaced as in the public files. */
export function formatRows(rows: readonly TraceRow[]): string {
  return rows.map((row) => `{"timestamp": ${row.timestamp}, "input_length": ${row.input_length}, "output_length": ${row.output_length}, "hash_ids": [${row.hash_ids.join(', ')}]}\n`).join('');
}

/** Leading blocks from the base or a copied request, the rest (a partial block always) fresh. */
function assignIds(drafts: readonly Draft[], fresh: (count: number) => number[], random: RandomStream): void {
  drafts.forEach((draft, index) => {
    const source = draft.copiedBlocks > 0 ? copySource(drafts, index, draft.copiedBlocks, random) : null;
    const kept = source ? source.ids.slice(0, draft.copiedBlocks) : draft.base.ids.slice(0, draft.keptBlocks);
    draft.ids = [...kept, ...fresh(Math.ceil(draft.promptTokens / GENERATED_BLOCK_TOKENS) - kept.length)];
  });
}

function copySource(drafts: readonly Draft[], index: number, blocks: number, random: RandomStream): Draft | null {
  const window = Math.min(index, COPY_WINDOW);
  for (let attempt = 0; window > 0 && attempt < COPY_TRIES; attempt++) {
    const candidate = drafts[index - 1 - random.integer(window)]!;
    if (fullBlocks(candidate.promptTokens) >= blocks) return candidate;
  }
  return null;
}

function renumbered(drafts: readonly Draft[]): TraceRow[] {
  const numbers = new Map<number, number>();
  const numberOf = (id: number): number => {
    const number = numbers.get(id) ?? numbers.size;
    numbers.set(id, number);
    return number;
  };
  return drafts.map(({ timeMs, promptTokens, outputTokens, ids }) => ({ timestamp: timeMs, input_length: promptTokens, output_length: outputTokens, hash_ids: ids.map(numberOf) }));
}
