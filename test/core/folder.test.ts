import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkTarget, discardUnfinished, writeFileWhole, writeFolder } from '../../src/core/folder.js';
import { InputError, RunError, formatProblem } from '../../src/core/problem.js';

const root = mkdtempSync(join(tmpdir(), 'dynotwin-folder-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const put = (name: string, text: string) => (folder: string) => writeFileSync(join(folder, name), text);

describe('an output folder', () => {
  it('appears whole, with nothing beside it', async () => {
    const place = join(root, 'whole');
    mkdirSync(place);
    await writeFolder(join(place, 'out'), false, put('a.txt', 'a'));
    expect(readdirSync(place)).toEqual(['out']);
    expect(readFileSync(join(place, 'out', 'a.txt'), 'utf8')).toBe('a');
  });

  it('is made with its parents', async () => {
    await writeFolder(join(root, 'deep', 'er', 'out'), false, put('a.txt', 'a'));
    expect(existsSync(join(root, 'deep/er/out/a.txt'))).toBe(true);
  });

  it('does not appear when filling it fails, and an older one survives', async () => {
    const place = join(root, 'fails');
    mkdirSync(place);
    await writeFolder(join(place, 'out'), false, put('meta.json', 'old'));
    const failing = (folder: string): void => {
      put('meta.json', 'new')(folder);
      throw new Error('disk full');
    };
    await expect(writeFolder(join(place, 'out'), true, failing)).rejects.toThrow('disk full');
    await expect(writeFolder(join(place, 'other'), false, failing)).rejects.toThrow('disk full');
    expect(readdirSync(place)).toEqual(['out']);
    expect(readFileSync(join(place, 'out', 'meta.json'), 'utf8')).toBe('old');
  });

  it('is refused when it exists, unless overwriting: then the old files are gone', async () => {
    const out = join(root, 'exists');
    await writeFolder(out, false, put('meta.json', 'old'));
    expect(() => checkTarget(out, false)).toThrow(InputError);
    await expect(writeFolder(out, false, put('new.txt', ''))).rejects.toThrow(/E-OUT: --out: .*exists; .*--overwrite/);
    await writeFolder(out, true, put('new.txt', ''));
    expect(readdirSync(out)).toEqual(['new.txt']);
  });

  it('never replaces what it did not write: the current folder, one around it, foreign files', async () => {
    const foreign = join(root, 'foreign');
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'thesis.tex'), '');
    for (const target of ['', '.', '..', '/', foreign, join(foreign, 'thesis.tex')]) {
      await expect(writeFolder(target, true, put('a.txt', '')), target).rejects.toThrow(/E-OUT/);
    }
    expect(readdirSync(foreign)).toEqual(['thesis.tex']);
    await expect(writeFolder(join(foreign, 'thesis.tex', 'out'), false, put('a.txt', ''))).rejects.toThrow(/E-OUT: --out: cannot make .* is a file/);
    await expect(writeFolder('/proc/out', false, put('a.txt', ''))).rejects.toThrow(/E-FILE: --out: cannot write/);
  });

  it('is discarded while in progress', async () => {
    const place = join(root, 'interrupted');
    mkdirSync(place);
    const result = writeFolder(join(place, 'out'), false, async (folder) => {
      put('a.txt', 'a')(folder);
      discardUnfinished();
      expect(readdirSync(place)).toEqual([]);
      await Promise.reject(new Error('interrupted'));
    });
    await expect(result).rejects.toThrow('interrupted');
    expect(readdirSync(place)).toEqual([]);
  });
});

describe('an output file', () => {
  it('appears whole; a place that cannot be written is bad input', () => {
    const place = join(root, 'file');
    mkdirSync(place);
    writeFileWhole(join(place, 'a.json'), '{}');
    expect(readdirSync(place)).toEqual(['a.json']);
    expect(() => writeFileWhole(join(place, 'a.json', 'b.json'), '{}', '--report')).toThrow(/error E-FILE: --report: cannot write/);
  });
});

describe('problems', () => {
  it('are one line: place, code, path, what, hint', () => {
    const problem = { code: 'E-UNIT', file: 's.yaml', line: 3, col: 7, path: 'run.x', what: 'no unit', hint: 'write 3 ms' };
    expect(formatProblem(problem)).toBe('s.yaml:3:7: error E-UNIT: run.x: no unit; write 3 ms');
    expect(formatProblem({ code: 'W-CLAMPED', what: 'cut' })).toBe('warning W-CLAMPED: cut');
    expect(new InputError([problem, { code: 'E-X', what: 'y' }]).message.split('\n')).toHaveLength(2);
    expect(new RunError({ code: 'E-RESOURCE', what: 'too much' }).problem.code).toBe('E-RESOURCE');
  });
});
