import { WorkloadBuilder } from '../builder.js';
import type { Workload } from '../workload.js';
import { lineBatches, noRequest, traceName } from './lines.js';
import { RowText, type RowFields } from './row-fields.js';
import type { TraceOptions } from './trace.js';

/**
 * Reads Applied Compute sessions: each row is a session of num_turns + 1 requests whose prompts grow by the
 * answer and the tool output before. A session's blocks are its own, except its first
 * round(blocks of the first prompt · ratio), which belong to its group (0-based physical line mod groups) when asked for.
 * There are no timestamps: profile `aisimulate` starts all sessions at 0 in an open loop, the others need a closed one.
 * Source: workload spec, section 1.6; compat S5.
 */
export async function readTrie(path: string, options: TraceOptions): Promise<Workload> {
  const blockTokens = options.blockTokens ?? 512;
  const builder = new WorkloadBuilder(traceName(path), blockTokens);
  const lines: number[] = [];
  const blocks = new SessionBlocks(options.sharedPrefix);
  const arrivalMs = options.fidelity === 'aisimulate' ? 0 : NaN;
  let lineNumber = 0;
  let skip = options.skip ?? 0;
  let rows = 0;
  reading: for await (const batch of lineBatches(path)) {
    for (const text of batch) {
      lineNumber++;
      if (text.trim() === '') continue;
      if (skip-- > 0) continue;
      if (rows++ >= (options.requests ?? Infinity)) break reading;
      const turns = turnsOf(new RowText(path, lineNumber, text).object());
      const session = builder.addSession(`applied_compute_agentic_session_${lineNumber}`);
      const ids = blocks.open(lineNumber - 1, Math.ceil(turns[0]!.promptTokens / blockTokens));
      turns.forEach((turn, index) => {
        builder.addRequest({ ...turn, session, arrivalMs: index === 0 ? arrivalMs : NaN }, ids(Math.ceil(turn.promptTokens / blockTokens)));
        lines.push(lineNumber);
      });
    }
  }
  if (lines.length === 0) throw noRequest(path);
  return builder.finish([], { file: path, lines });
}

interface Turn {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly delayMs: number;
}

function turnsOf(fields: RowFields): Turn[] {
  const count = fields.requiredCount('num_turns');
  const lists = {
    assistant_response_length: fields.items('assistant_response_length', (list, index) => list.requiredCount(index)),
    tool_call_output_length: fields.items('tool_call_output_length', (list, index) => list.requiredCount(index)),
    tool_call_latency: fields.items('tool_call_latency', (list, index) => list.requiredNumber(index, 0)),
  };
  for (const [name, list] of Object.entries(lists)) {
    if (list === undefined) fields.missing(name);
    if (list.length !== count) throw fields.problem(name, `holds ${list.length} values, num_turns is ${count}`, 'give one value per turn');
  }
  const finalTokens = fields.requiredCount('final_assistant_response_length');
  let promptTokens = fields.requiredCount('input_prompt_length', 1);
  const turns: Turn[] = [];
  for (let turn = 0; turn <= count; turn++) {
    const outputTokens = lists.assistant_response_length![turn] ?? finalTokens;
    turns.push({ promptTokens, outputTokens, delayMs: turn === 0 ? 0 : 1000 * lists.tool_call_latency![turn - 1]! });
    promptTokens += outputTokens + (lists.tool_call_output_length![turn] ?? 0);
  }
  return turns;
}

/** Hands out the hash ids of sessions; those of groups first come, first numbered. */
class SessionBlocks {
  private next = 0;
  private readonly groups: number[][];

  constructor(private readonly shared: TraceOptions['sharedPrefix']) {
    this.groups = Array.from({ length: shared?.groups ?? 0 }, () => []);
  }

  /** Ids of a session by the number of blocks its prompt has; they persist over its turns. */
  open(line: number, firstBlocks: number): (blocks: number) => number[] {
    const group = this.groups[line % Math.max(1, this.groups.length)] ?? [];
    const ofGroup = Math.round(firstBlocks * (this.groups.length > 0 ? this.shared!.ratio : 0));
    const ids: number[] = [];
    return (blocks) => {
      while (ids.length < blocks) ids.push(ids.length < ofGroup ? (group[ids.length] ??= this.next++) : this.next++);
      return ids.slice(0, blocks);
    };
  }
}
