import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { registerDeploy } from '../../src/cli/deploy.js';
import { InputError } from '../../src/core/problem.js';
import { componentsOf } from '../../src/deploy/view.js';
import { loadSweep } from '../../src/scenario/load.js';
import type { Candidate } from '../../src/scenario/scenario.js';
import { createEnvironment } from '../../src/timing/environment.js';

const SCENARIO = `name: two-by-two
workload:
  synthetic: {isl: 1024, osl: 128}
  load: {concurrency: 16}
  requests: 100
deployment:
  model: Qwen/Qwen3-32B
  hardware: h200_sxm
  agg: {replicas: 2, tp: 2}
router: kv
`;
const SWEEP = `${SCENARIO.replace('two-by-two', 'sizes')}space:
  deployment.agg.replicas: [1, 3]
objectives: [max tok_s_per_gpu]
`;

let folder: string;
let candidates: readonly Candidate[];
const at = (...parts: string[]): string => join(folder, ...parts);

/** Runs the command; gives what went to stdout and stderr, or the refusal. */
async function deploy(...args: string[]): Promise<{ out: string; err: string }> {
  const written = { out: '', err: '' };
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((text) => { written.out += String(text); return true; });
  const err = vi.spyOn(process.stderr, 'write').mockImplementation((text) => { written.err += String(text); return true; });
  const program = new Command().exitOverride();
  registerDeploy(program);
  try {
    await program.parseAsync(['node', 'dynotwin', 'deploy', ...args]);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    written.err += error.message;
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
  return written;
}

function sweepFolder(name: string, recommended: readonly string[], nearest: readonly string[] = []): void {
  const row = ({ id, dimensions }: Candidate): unknown => ({ id, status: 'completed', reason: '', dimensions, metrics: {}, feasible: recommended.includes(id), margins: [], rank: 1, on_front: false });
  mkdirSync(at(name));
  writeFileSync(at(name, 'sweep.yaml'), SWEEP);
  writeFileSync(at(name, 'sweep.json'), JSON.stringify({
    schema: 'dynotwin.sweep/1', name: 'sizes', counts: { product: 2, merged: 0, illegal: 0, toRun: 2 }, objectives: [], constraints: [], search: { method: 'grid', trials: 10 }, top: 5,
    front: [], recommendations: recommended.map((id) => ({ id, label: 'best', reasons: [], tied_with: [] })), nearest_misses: nearest, binding_constraint: null, failures: [], illegal: [],
    candidates: candidates.map(row),
  }));
}

const replicas = (yaml: string): number => componentsOf(parse(yaml)).find(({ name }) => name === 'VllmWorker')!.replicas;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'deploy-'));
  writeFileSync(at('one.yaml'), SCENARIO);
  writeFileSync(at('sweep.yaml'), SWEEP);
  mkdirSync(at('run'));
  writeFileSync(at('run', 'scenario.yaml'), SCENARIO);
  mkdirSync(at('empty'));
  candidates = loadSweep(at('sweep.yaml'), { environment: createEnvironment() }).sweep.candidates;
  sweepFolder('plan', [candidates[1]!.id]);
  sweepFolder('infeasible', [], [candidates[0]!.id]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('deploy', () => {
  it('prints the manifest of a scenario file and of a run folder, the same', async () => {
    const file = await deploy(at('one.yaml'));
    expect(parse(file.out)).toMatchObject({ apiVersion: 'nvidia.com/v1beta1', kind: 'DynamoGraphDeployment', metadata: { name: 'two-by-two' } });
    expect(replicas(file.out)).toBe(2);
    expect(file.out).not.toContain('--num-gpu-blocks-override');
    expect(file.err).toBe('');
    expect(await deploy(at('run'))).toEqual(file);
  });

  it('takes api, release, name, namespace and fields of the scenario', async () => {
    const { out, err } = await deploy(at('one.yaml'), '--api', 'v1alpha1', '--dynamo', '1.1.0', '--name', 'other', '--namespace', 'ml', '--set', 'deployment.agg.replicas=5');
    expect(parse(out)).toMatchObject({ apiVersion: 'nvidia.com/v1alpha1', metadata: { name: 'other', namespace: 'ml' }, spec: { services: { VllmWorker: { replicas: 5 } } } });
    expect(out).toContain('vllm-runtime:1.1.0');
    expect(err).toContain('warning W-COMPAT: deployment.engine.version: Dynamo 1.1.0 runs vLLM 0.19.0');
    expect((await deploy(at('one.yaml'), '--dynamo', '1.1.0', '--quiet')).err).toBe('');
  });

  it('deploys the first recommendation of a plan, or the candidate named', async () => {
    const first = await deploy(at('plan'));
    expect(replicas(first.out)).toBe(candidates[1]!.scenario.deployment.pools[0]!.replicas);
    expect(first.out).toContain(`candidate ${candidates[1]!.id},`);
    expect(replicas((await deploy(at('plan'), '--candidate', candidates[0]!.id)).out)).toBe(candidates[0]!.scenario.deployment.pools[0]!.replicas);
  });

  it('writes a file whole, and replaces none unasked', async () => {
    const { out } = await deploy(at('one.yaml'), '--out', at('dgd.yaml'));
    expect(out.trim()).toBe(at('dgd.yaml'));
    expect(readFileSync(at('dgd.yaml'), 'utf8')).toBe((await deploy(at('one.yaml'))).out);
    expect((await deploy(at('one.yaml'), '--out', at('dgd.yaml'))).err).toContain('error E-OUT');
    expect((await deploy(at('one.yaml'), '--out', at('dgd.yaml'), '--overwrite')).err).toBe('');
    expect((await deploy(at('one.yaml'), '--out', at('dgd.yaml', 'below.yaml'))).err).toContain('error E-FILE: --out: cannot write');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('refuses with a reason and leaves nothing behind', async () => {
    const cases: readonly (readonly [string[], string])[] = [
      [[at('nowhere')], 'error E-FILE: no such file or folder'],
      [[at('empty')], 'error E-KIND: holds neither sweep.json nor scenario.yaml'],
      [[at('sweep.yaml')], 'error E-KIND'],
      [[at('one.yaml'), '--kind', 'dgdr'], "error E-UNSUPPORTED: --kind: 'dgdr' manifests are not written yet; use --kind dgd"],
      [[at('one.yaml'), '--api', 'v1'], 'error E-ENUM: --api'],
      [[at('one.yaml'), '--dynamo', '9.9.9'], 'error E-UNSUPPORTED: --dynamo'],
      [[at('one.yaml'), '--candidate', 'c-0'], 'error E-NO-EFFECT: --candidate'],
      [[at('one.yaml'), '--set', 'deployment.agg.replcas=1'], 'error E-FIELD'],
      [[at('plan'), '--candidate', 'c-0'], `'c-0' is not a candidate of this sweep; known are ${candidates.map(({ id }) => id).join(', ')}`],
      [[at('plan'), '--set', 'deployment.agg.replicas=1'], 'error E-COMBINATION: --set'],
      [[at('infeasible')], `error E-MISSING: --candidate: the sweep recommends no candidate; name one; closest were ${candidates[0]!.id}`],
    ];
    for (const [args, message] of cases) {
      const { out, err } = await deploy(...args, '--out', at('refused.yaml'));
      expect(err).toContain(message);
      expect(out).toBe('');
    }
    expect(existsSync(at('refused.yaml'))).toBe(false);
  });
});
