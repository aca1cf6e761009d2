import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const PYTHON = process.env['DYNOTWIN_TORCH_PYTHON'];
const SCRIPT = fileURLToPath(new URL('model_check.py', import.meta.url));
const ENGINES = fileURLToPath(new URL('../../../../engines/cuda', import.meta.url));

it.skipIf(PYTHON === undefined)('decoder, kernels and operators compute what they should (needs DYNOTWIN_TORCH_PYTHON, a Python with torch, Triton and numpy < 2.4)', { timeout: 900_000 }, () => {
  const { status, stdout, stderr } = spawnSync(PYTHON!, [SCRIPT, ENGINES], { encoding: 'utf8' });
  const failed = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('ok '));
  expect([...failed, ...(status === 0 ? [] : [stderr])]).toEqual([]);
  expect(stdout.match(/^ok /gm)!.length).toBeGreaterThan(20);
});
