import { readFileSync } from 'node:fs';
import { arch, availableParallelism, hostname, platform } from 'node:os';

/** meta.json: the only artefact with host, versions, command and wall time. */
export interface Meta {
  readonly schema: 'dynotwin.meta/1';
  readonly dynotwin: string;
  readonly node: string;
  readonly host: string;
  readonly platform: string;
  readonly cores: number;
  readonly command: readonly string[];
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly wall_ms: number;
}

/** Starts the clock; the function returned gives the content of meta.json at the end. */
export function startMeta(): () => Meta {
  const started = new Date();
  const start = performance.now();
  return () => ({
    schema: 'dynotwin.meta/1',
    dynotwin: packageVersion(),
    node: process.version,
    host: hostname(),
    platform: `${platform()} ${arch()}`,
    cores: availableParallelism(),
    command: process.argv.slice(2),
    started: started.toISOString(),
    wall_ms: Math.round(performance.now() - start),
  });
}

/** Version of this package. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
