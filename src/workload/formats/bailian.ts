import { WorkloadBuilder } from '../builder.js';
import type { Workload } from '../workload.js';
import { lineBatches, noRequest, traceName } from './lines.js';
import { RowText } from './row-fields.js';
import type { TraceOptions } from './trace.js';

/** Tokens per hash id of the published files. */
const BLOCK_TOKENS = 16;

/**
 * Reads a Bailian trace: JSON lines of `chat_id, parent_chat_id (-1 = none), timestamp (s), input_length,
 * output_length, turn, hash_ids`. A chat whose parent stands in the file is the next turn of its session, as long after the
 * parent's end as the timestamps are apart, unless another chat has continued that parent already; such chats, and those whose
 * parent is missing, arrive at their own time. `type` is not used.
 * Source: workload spec, section 1.7.
 */
export async function readBailian(path: string, options: TraceOptions): Promise<Workload> {
  const blockTokens = options.blockTokens ?? BLOCK_TOKENS;
  const builder = new WorkloadBuilder(traceName(path), blockTokens);
  const lines: number[] = [];
  /** Last turns that can be continued, by chat. */
  const open = new Map<number, { readonly session: number; readonly timestampS: number }>();
  let lineNumber = 0;
  let skip = options.skip ?? 0;
  reading: for await (const batch of lineBatches(path)) {
    for (const text of batch) {
      lineNumber++;
      if (text.trim() === '' || skip-- > 0) continue;
      if (lines.length >= (options.requests ?? Infinity)) break reading;
      const fields = new RowText(path, lineNumber, text).object();
      const chat = fields.requiredCount('chat_id');
      const parent = fields.count('parent_chat_id', -1) ?? -1;
      const timestampS = fields.requiredNumber('timestamp', 0);
      const promptTokens = fields.requiredCount('input_length', 1);
      const hashIds = fields.ids('hash_ids') ?? fields.missing('hash_ids');
      if (hashIds.length * blockTokens < promptTokens) throw fields.problem('hash_ids', `${hashIds.length} ids cover ${hashIds.length * blockTokens} tokens, input_length is ${promptTokens}`, 'set the block size the trace uses');
      const before = open.get(parent);
      open.delete(parent);
      if (before && timestampS < before.timestampS) throw fields.refused('timestamp', 'is earlier than that of its parent', 'put the rows in order of time');
      const session = before?.session ?? builder.addSession(`chat_${chat}`);
      open.set(chat, { session, timestampS });
      const times = before ? { arrivalMs: NaN, delayMs: 1000 * (timestampS - before.timestampS) } : { arrivalMs: 1000 * timestampS, delayMs: 0 };
      builder.addRequest({ session, ...times, promptTokens, outputTokens: fields.requiredCount('output_length') }, hashIds);
      lines.push(lineNumber);
    }
  }
  if (lines.length === 0) throw noRequest(path);
  return builder.finish([], { file: path, lines });
}
