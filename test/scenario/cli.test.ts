import { Command } from 'commander';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { registerSchema } from '../../src/cli/schema.js';
import { registerValidate } from '../../src/cli/validate.js';
import { InputError } from '../../src/core/problem.js';

const shipped = join(import.meta.dirname, '../../scenarios');
const fixtures = join(import.meta.dirname, '../fixtures/scenarios');

/** Runs a command in this process; what it printed on stdout, and the problems it threw. */
async function run(...words: string[]): Promise<{ out: string; problems: readonly string[] }> {
  const program = new Command();
  registerValidate(program);
  registerSchema(program);
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  const outcome = await program.parseAsync(words, { from: 'user' }).then(
    () => [],
    (error: unknown) => {
      if (error instanceof InputError) return error.problems.map((problem) => problem.code);
      throw error;
    },
  );
  const out = write.mock.calls.map(([text]) => String(text)).join('');
  write.mockRestore();
  return { out, problems: outcome };
}

describe('validate', () => {
  it('says what good files resolve to', async () => {
    const { out, problems } = await run('validate', join(shipped, 'first-run.yaml'), join(shipped, 'quickstart.yaml'), '--format', 'json');
    expect(problems).toEqual([]);
    const [first, quick] = JSON.parse(out) as Record<string, unknown>[];
    expect(first).toMatchObject({ kind: 'scenario', candidates: 1, gpus: '2', timing: 'tables', kv_blocks: expect.stringMatching(/^agg \d+$/) as string });
    expect(quick).toMatchObject({ kind: 'sweep', candidates: 88, gpus: '1-8', timing: 'tables' });
  });

  it('collects the errors of every file, and still lists good ones', async () => {
    const { out, problems } = await run('validate', join(fixtures, 'b02.yaml'), join(shipped, 'first-run.yaml'), join(fixtures, 'b08.yaml'));
    expect(problems).toEqual(['E-UNIT', 'E-MISSING']);
    expect(out).toMatch(/first-run\.yaml +OK +scenario/);
    expect(out).not.toContain('b02');
  });

  it('prints the resolved scenario, overrides applied', async () => {
    const { out } = await run('validate', join(shipped, 'first-run.yaml'), '--set', 'deployment.agg.replicas=4', '--format', 'yaml');
    expect(parse(out)).toMatchObject({ deployment: { agg: { replicas: 4 } }, timing: { source: 'tables' }, workload: { requests: 160 } });
  });
});

describe('schema', () => {
  it('prints every kind', async () => {
    expect(JSON.parse((await run('schema')).out)).toMatchObject({ title: 'dynotwin scenario file' });
    expect(JSON.parse((await run('schema', 'sweep')).out)).toMatchObject({ required: ['space'] });
    expect(JSON.parse((await run('schema', 'gate')).out)).toMatchObject({ required: ['gate'] });
    expect((await run('schema', 'plan')).problems).toEqual(['E-ENUM']);
  });
});
