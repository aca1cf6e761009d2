import type { Workload } from '../workload/workload.js';

/** Who stays together: the sessions, or what they are grouped to. */
export interface AffinityKeys {
  /** Key of each request. */
  readonly of: ArrayLike<number>;
  readonly count: number;
}

/**
 * Sessions with siblings as one: those of an agentic trace whose first requests (in file order) wait for the same requests, as
 * sub-agents do that one turn has spawned. A session that waits for nobody has none. Nobody else's definition: Dynamo names such a mode of its replay
 * and does not say what a group is.
 */
export function siblingGroups({ graph, session, sessionCount, requestCount }: Pick<Workload, 'graph' | 'session' | 'sessionCount' | 'requestCount'>): AffinityKeys {
  if (!graph) return { of: session, count: sessionCount };
  const first = new Int32Array(sessionCount).fill(-1);
  for (let request = 0; request < requestCount; request++) if (first[session[request]!]! < 0) first[session[request]!] = request;
  const sources: number[][] = Array.from({ length: sessionCount }, () => []);
  for (let source = 0; source < requestCount; source++) {
    for (let edge = graph.offsets[source]!; edge < graph.offsets[source + 1]!; edge++) {
      const target = graph.targets[edge]!;
      if (first[session[target]!] === target) sources[session[target]!]!.push(source);
    }
  }
  const groups = new Map<string, number>();
  const groupOf = sources.map((list, index) => {
    const name = list.length === 0 ? `alone ${index}` : list.join(' ');
    const known = groups.get(name) ?? groups.size;
    groups.set(name, known);
    return known;
  });
  return { of: Int32Array.from(session, (index) => groupOf[index]!), count: groups.size };
}
