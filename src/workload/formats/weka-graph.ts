import type { DagRow } from './dag.js';
import type { RowText } from './row-fields.js';
import { detectChains, EPSILON_S, type Chain, type WekaRequest } from './weka-chains.js';

/** A sub-agent: what ran beside its parent. */
export interface WekaAgent {
  readonly name: string;
  /** Position in the play. */
  readonly order: number;
  readonly endS: number;
  /** Its parent waited for it. */
  readonly blocking: boolean;
  readonly requests: readonly WekaRequest[];
}

export interface WekaPlay {
  readonly name: string;
  readonly row: RowText;
  readonly requests: readonly WekaRequest[];
  readonly agents: readonly WekaAgent[];
}

/** A chain with its session's name, and the level it belongs to. */
interface Stream extends Chain {
  readonly session: string;
  readonly scope: string;
}

interface Wait {
  readonly on: WekaRequest;
  readonly trigger: 'dispatch' | 'completion';
  readonly delayMs: number;
}

/**
 * Turns the recorded times of a play into waits: within a conversation each request follows the end of the one
 * before; a fork, and a sub-agent's first request, follow the dispatch of the request they came from if it was still
 * running, else its end, as long after as recorded; across conversations of one level a request waits for what had ended
 * last in each other one; and the parent's first request after the end of a sub-agent it waited for follows each of
 * its conversations' ends by the recorded gap. Anything else starts with the play.
 * Source: workload spec, section 1.7; recorded runs of aisimulate-core 0.13 for the gaps of joins.
 *
 * @param numbers counts the hash ids handed out over the corpus
 */
export function lowerPlay(play: WekaPlay, blockTokens: number, numbers: { next: number }): DagRow[] {
  const waits = new Map<WekaRequest, Wait[]>();
  const wait = (request: WekaRequest, on: WekaRequest, trigger: Wait['trigger'], delayS: number): void => {
    const list = waits.get(request) ?? [];
    waits.set(request, list);
    const same = list.findIndex((one) => one.on === on && one.trigger === trigger);
    const delayMs = Math.max(0, delayS) * 1000;
    if (same < 0) list.push({ on, trigger, delayMs });
    else if (list[same]!.delayMs < delayMs) list[same] = { on, trigger, delayMs };
  };
  const spawn = (request: WekaRequest, from: WekaRequest): void => {
    if (request.startS < from.endS) wait(request, from, 'dispatch', request.startS - from.startS);
    else wait(request, from, 'completion', request.startS - from.endS);
  };
  const streams = streamsOf('root', play.requests);
  const main = streams[0]!;
  for (const agent of play.agents) {
    const before = main.requests.filter(({ order }) => order < agent.order).reduce<WekaRequest | null>((latest, one) => (latest && latest.order > one.order ? latest : one), null);
    if (agent.requests.length === 0) continue;
    const children = streamsOf(`subagent:${agent.order}:${agent.name}`, agent.requests);
    streams.push(...children);
    if (before) children[0]!.fork = before;
    if (!agent.blocking) continue;
    const after = main.requests.filter(({ order, startS }) => order > agent.order && startS + EPSILON_S >= agent.endS);
    const join = after.reduce<WekaRequest | null>((first, one) => (first && first.order < one.order ? first : one), null);
    for (const child of join ? children : []) wait(join!, child.requests.at(-1)!, 'completion', join!.startS - child.requests.at(-1)!.endS);
  }
  for (const { requests, fork } of streams) {
    requests.slice(1).forEach((request, index) => wait(request, requests[index]!, 'completion', request.startS - requests[index]!.endS));
    if (fork) spawn(requests[0]!, fork);
  }
  joinFrontiers(streams, (request, on) => wait(request, on, 'completion', 0));
  const root = main.requests[0]!;
  for (const { requests } of streams) {
    if (requests[0] !== root && !waits.has(requests[0]!)) wait(requests[0]!, root, 'dispatch', requests[0]!.startS - root.startS);
  }
  const originS = streams.reduce((least, { requests }) => Math.min(least, requests[0]!.startS), Infinity);
  const known = new Map<number | bigint, number>();
  /** Ids of whole blocks the file names are the play's; all others the request's own. */
  const hashIds = ({ hashes, promptTokens }: WekaRequest): number[] =>
    Array.from({ length: Math.ceil(promptTokens / blockTokens) }, (_, block) => {
      const hash = block < Math.floor(promptTokens / blockTokens) ? hashes[block] : undefined;
      if (hash === undefined) return numbers.next++;
      if (!known.has(hash)) known.set(hash, numbers.next++);
      return known.get(hash)!;
    });
  return streams.flatMap(({ session, requests }) => requests.map((request) => rowOf(play, session, request, waits.get(request) ?? [], originS, hashIds(request))));
}

/** Conversations of one level, the main one first. */
function streamsOf(name: string, requests: readonly WekaRequest[]): Stream[] {
  return detectChains(requests).map(({ requests: members, fork }, index) => ({ requests: members, fork, session: index === 0 ? name : `${name}:worker:${index - 1}`, scope: name }));
}

/** What had ended last, by the start of each request, in each other conversation of its level. */
function joinFrontiers(streams: readonly Stream[], join: (request: WekaRequest, on: WekaRequest) => void): void {
  const endedBy = (one: WekaRequest, startS: number): boolean => one.startS < startS && one.endS <= startS + EPSILON_S;
  for (const stream of streams) {
    const others = streams.filter((other) => other !== stream && other.scope === stream.scope);
    for (const request of stream.requests) {
      const frontier = others.flatMap(({ requests }) => {
        const ended = requests.filter((one) => endedBy(one, request.startS));
        return ended.length === 0 ? [] : [ended.reduce((latest, one) => (one.endS > latest.endS || (one.endS === latest.endS && one.startS >= latest.startS) ? one : latest))];
      });
      for (const one of frontier) if (!frontier.some((later) => endedBy(one, later.startS))) join(request, one);
    }
  }
}

function rowOf(play: WekaPlay, session: string, request: WekaRequest, waits: readonly Wait[], originS: number, hashIds: readonly number[]): DagRow {
  const name = (one: WekaRequest): string => `${play.name}:${one.id}`;
  const { promptTokens, outputTokens, path } = request;
  return {
    name: name(request),
    session: `${play.name}:${session}`,
    play: play.name,
    notBeforeMs: Math.max(0, request.startS - originS) * 1000,
    promptTokens,
    outputTokens,
    hashIds,
    waitsFor: waits.map(({ on, trigger, delayMs }) => ({ name: name(on), trigger, delayMs, path })),
    line: play.row.line,
    problem: (inner, what, hint) => play.row.problem([...path, ...inner], what, hint),
  };
}
