import type { DagRow } from './dag.js';
import type { RecordedRequest, RecordedTool } from './request-trace.js';

/**
 * Infers who waited for whom from recorded times: a request waits for its session's previous one; a child
 * session's first request for its parent's latest request that had started by then; and the parent's first request that
 * started at or after the child's last end waits for that child request. Where a tool call names the requests that made it and
 * read its result, these replace the last two.
 *
 * `single` (profile `dynosim`): a request starts as long after the last of these ends as it did when recorded. Else every wait
 * has its own recorded gap, and a child session's first request counts from its parent request's start, not its end. Tool
 * time is part of the gaps.
 * Source: workload spec, section 1.5 (agentic); recorded runs of aisimulate-core 0.13 for the gaps of the others.
 *
 * @param requests in order of (start, end, id)
 */
export function inferWaits(requests: readonly RecordedRequest[], tools: readonly RecordedTool[], gaps: 'single' | 'each'): DagRow[] {
  const sessions = new Map<string, RecordedRequest[]>();
  for (const request of requests) {
    const { session } = request.agent!;
    const members = sessions.get(session);
    if (members) members.push(request);
    else sessions.set(session, [request]);
  }
  const waits = new Map<RecordedRequest, Set<RecordedRequest>>(requests.map((request) => [request, new Set()]));
  const spawns = new Map<RecordedRequest, RecordedRequest>();
  for (const members of sessions.values()) members.slice(1).forEach((request, before) => waits.get(request)!.add(members[before]!));
  const links = explicitLinks(requests, tools, sessions);
  for (const [session, parent] of parents(requests)) {
    const children = sessions.get(session)!;
    const parentRequests = sessions.get(parent);
    if (!parentRequests) continue;
    const first = children[0]!;
    const last = children.reduce((latest, one) => (finishesAfter(one, latest) ? one : latest));
    const link = links.get(session);
    const spawner = link ? link.source : parentRequests.findLast(({ startMs }) => startMs <= first.startMs);
    const joiner = link ? link.consumer : parentRequests.find(({ startMs }) => startMs >= last.endMs);
    if (spawner) spawns.set(first, spawner);
    if (joiner) waits.get(joiner)!.add(last);
  }
  const startMs = requests[0]!.startMs;
  return requests.map((request) => dagRow(request, gaps === 'single' ? lastOf(request, waits.get(request)!, spawns.get(request)) : eachOf(request, waits.get(request)!, spawns.get(request)), startMs));
}

type Waits = DagRow['waitsFor'];

const PATH = ['agent_context'];

function lastOf(request: RecordedRequest, ends: ReadonlySet<RecordedRequest>, spawner: RecordedRequest | undefined): Waits {
  const all = [...new Set(spawner ? [...ends, spawner] : ends)];
  const delayMs = Math.max(0, request.startMs - all.reduce((latest, { endMs }) => Math.max(latest, endMs), -Infinity));
  return all.map(({ id }) => ({ name: id, trigger: 'completion', delayMs, path: PATH }));
}

function eachOf(request: RecordedRequest, ends: ReadonlySet<RecordedRequest>, spawner: RecordedRequest | undefined): Waits {
  const waits = [...ends].map(({ id, endMs }) => ({ name: id, trigger: 'completion' as const, delayMs: Math.max(0, request.startMs - endMs), path: PATH }));
  return spawner ? [...waits, { name: spawner.id, trigger: 'dispatch', delayMs: Math.max(0, request.startMs - spawner.startMs), path: PATH }] : waits;
}

function dagRow(request: RecordedRequest, waitsFor: Waits, originMs: number): DagRow {
  const { row, promptTokens, outputTokens, hashIds, authored } = request;
  return {
    name: request.id,
    session: request.agent!.session,
    play: null,
    notBeforeMs: waitsFor.length === 0 ? request.startMs - originMs : 0,
    promptTokens,
    outputTokens,
    hashIds,
    ...(authored && { authored }),
    waitsFor,
    line: row.line,
    problem: row.problem.bind(row),
  };
}

function finishesAfter(a: RecordedRequest, b: RecordedRequest): boolean {
  if (a.endMs !== b.endMs) return a.endMs > b.endMs;
  return a.startMs !== b.startMs ? a.startMs > b.startMs : a.id > b.id;
}

/** Parent session of every child session. */
function parents(requests: readonly RecordedRequest[]): Map<string, string> {
  const parentOf = new Map<string, string>();
  for (const { agent, row } of requests) {
    const { session, parent } = agent!;
    if (parent === undefined) continue;
    const known = parentOf.get(session);
    if (known !== undefined && known !== parent) throw row.problem(['agent_context', 'parent_session_id'], `session '${session}' has parent '${parent}' here and '${known}' before`, 'give a session one parent');
    parentOf.set(session, parent);
  }
  return parentOf;
}

/** Child session → the requests that made and read the tool call that ran it. */
function explicitLinks(requests: readonly RecordedRequest[], tools: readonly RecordedTool[], sessions: ReadonlyMap<string, RecordedRequest[]>): Map<string, { source: RecordedRequest; consumer: RecordedRequest | undefined }> {
  const byId = new Map(requests.map((request) => [request.id, request]));
  const links = new Map<string, { source: RecordedRequest; consumer: RecordedRequest | undefined }>();
  for (const { row, id, session, source, consumer, child } of tools) {
    const find = (field: string, request: string): RecordedRequest => {
      const found = byId.get(request);
      if (found?.agent?.session === session) return found;
      throw row.problem(['tool', 'claude', field], `tool '${id}' names '${request}', which is no request of session '${session}'`, 'name a request of the same session');
    };
    const link = { source: find('source_request_id', source), consumer: consumer === undefined ? undefined : find('consumer_request_id', consumer) };
    if (child === undefined || !sessions.has(child)) continue;
    if (links.has(child)) throw row.problem(['tool', 'claude', 'child_session_id'], `two tool calls name session '${child}'`, 'let one tool call run it');
    links.set(child, link);
  }
  return links;
}
