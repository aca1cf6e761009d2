import { InputError } from '../../core/problem.js';
import { fullPrompts } from '../full-prompts.js';
import type { Workload } from '../workload.js';
import { rowHintsData } from './row-hints.js';

/**
 * A workload as the lines of a Mooncake file (`workload.traceBlockTokens` tokens per id, ids numbered by first
 * appearance); read back, it is the same workload, but that delta sessions have become whole prompts. Sessions of one turn
 * lose their name. Throws `E-UNSUPPORTED` for requests that wait for others: the format cannot say it.
 * Source: workload spec, section 1.2.
 */
export function mooncakeText(given: Workload): string {
  if (given.graph) throw new InputError({ code: 'E-UNSUPPORTED', ...(given.source && { file: given.source.file }), what: 'its requests wait for each other, which Mooncake rows cannot say', hint: 'replay the trace as it is' });
  const workload = fullPrompts(given);
  const numbers = new Map<number, number>();
  const number = (id: number): number => {
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    return numbers.get(id)!;
  };
  const { hashIds, hashOffsets, authored } = workload;
  const ids = Array.from(hashIds, number);
  const lines: string[] = [];
  for (let r = 0; r < workload.requestCount; r++) {
    const arrivalMs = workload.arrivalMs[r]!;
    const isLater = workload.turn[r]! > 0;
    const isSession = isLater || workload.nextTurn[r]! >= 0;
    const tokens = authored ? outputTokens(authored, r, number) : [];
    lines.push(
      JSON.stringify({
        ...(isSession && { session_id: workload.sessionNames[workload.session[r]!] }),
        ...(Number.isNaN(arrivalMs) ? {} : { timestamp: arrivalMs }),
        ...(isLater && { delay: workload.delayMs[r] }),
        input_length: workload.promptTokens[r],
        output_length: workload.outputTokens[r],
        hash_ids: ids.slice(hashOffsets[r], hashOffsets[r + 1]),
        ...(tokens.length > 0 && { output_token_ids: tokens }),
        ...rowHintsData({ hints: workload.hints?.get(r), priority: workload.priority?.[r], strictPriority: workload.strictPriority?.[r] }),
      }),
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}

function outputTokens({ offsets, symbols, counts }: NonNullable<Workload['authored']>, r: number, number: (id: number) => number): number[] {
  const tokens: number[] = [];
  for (let run = offsets[r]!; run < offsets[r + 1]!; run++) for (let i = 0; i < counts[run]!; i++) tokens.push(number(symbols[run]!));
  return tokens;
}
