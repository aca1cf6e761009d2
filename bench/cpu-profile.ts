/** The part of a .cpuprofile that is read here. */
export interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number } }[];
  /** Node seen at each sample, and microseconds since the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** Where the function begins; empty for what is no function. */
  readonly url: string;
  readonly line: number;
  readonly ms: number;
}

/** Time inside each function itself, longest first; idle time is left out. A sample stands for the time until the next. */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): SelfTime[] {
  const functionOf = new Map(nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [id, { name: functionName || '(anonymous)', url, line: lineNumber + 1 }]));
  const times = new Map<string, SelfTime>();
  for (let at = 0; at + 1 < samples.length; at++) {
    const where = functionOf.get(samples[at]!)!;
    if (where.name === '(idle)') continue;
    const key = `${where.name} ${where.url}:${where.line}`;
    times.set(key, { ...where, ms: (times.get(key)?.ms ?? 0) + timeDeltas[at + 1]! / 1000 });
  }
  return [...times.values()].sort((a, b) => b.ms - a.ms);
}
