import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Packages that importing a module brings in, by its static imports and theirs. */
function packagesOf(path: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(path)) return packages;
  seen.add(path);
  for (const [, names, from] of readFileSync(path, 'utf8').matchAll(/^(?:import|export) ([^;]*?) from '([^']+)';/gm)) {
    if (names!.startsWith('type ')) continue;
    if (!from!.startsWith('.')) packages.add(from!);
    else for (const name of packagesOf(resolve(dirname(path), from!.replace(/\.js$/, '.ts')), seen)) packages.add(name);
  }
  return packages;
}

describe('a replay starts quickly', () => {
  it.each([['src/cli/main.ts', ['commander']], ['src/cli/replay.ts', []]])('%s loads no package it does not need', (path, wanted) => {
    expect([...packagesOf(path)].filter((name) => !name.startsWith('node:'))).toEqual(wanted);
  });
});
