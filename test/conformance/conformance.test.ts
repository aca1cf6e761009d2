import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { caseFolders, runCase } from './runner.js';

const golden = join(dirname(fileURLToPath(import.meta.url)), '../../../shared/golden');
const present = existsSync(golden);
if (!present) console.warn('skipped: recorded runs of the reference systems (../shared/golden is not there)');

/** Features that come later; anything else must run. */
const LATER = /not supported yet|tiers/;

/** Recorded over tables one release later than those at hand: a few passes beyond the measured sizes differ (DIFFERENCES.md). */
const TABLES = /-aic$/;

/** Runs without recorded choices that the peer itself does not repeat: its ties and draws are unseeded or its own. */
const UNREPEATABLE = /closed\d+-conv400-kv4|kv8-|synthetic-(poisson|prefix-groups)|mtp2-burst-default/;

describe.skipIf(!present)('recorded runs of the reference systems', () => {
  const folders = present ? ['cases', 'aisimulate-0.13'].flatMap((place) => caseFolders(join(golden, place))) : [];
  it.each(folders.map((folder) => [folder.split('/').at(-1)!, folder]))('%s', { timeout: 120_000 }, async (_name, folder) => {
    const result = await runCase(folder);
    if (result.verdict === 'REFUSED') expect(result.note).toMatch(LATER);
    else if (TABLES.test(folder)) expect(Number(/times (\S+) ms/.exec(result.note)![1]), result.note).toBeLessThan(2);
    else expect(result.verdict, result.note).toBe(UNREPEATABLE.test(folder) ? 'CLOSE' : 'EXACT');
  });
});
