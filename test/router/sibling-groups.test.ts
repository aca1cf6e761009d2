import { describe, expect, it } from 'vitest';
import { siblingGroups } from '../../src/router/sibling-groups.js';
import { readTrace } from '../../src/workload/formats/trace.js';
import type { Workload } from '../../src/workload/workload.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { Simulation } from '../../src/sim/simulation.js';
import { configOf, finish, workloadOf } from '../support/simulate.js';
import { temporaryFile } from '../workload/support.js';

/** Two lead agents; each spawns sub-agents from one of its requests, the first one another later. */
async function agents(): Promise<Workload> {
  const header = { schema: 'dynamo.agentic_mooncake', version: 2, block_size: 4, hash_id_scope: 'local', source: { format: 'test', digest: 'd' } };
  let next = 0;
  const row = (request_id: string, session_id: string, spawnedBy?: string, play = 'p'): object => ({
    request_id, session_id, play_id: play, model: 'm', input_length: 4, output_length: 8, hash_ids: [next++], not_before_ms: 0,
    ...(spawnedBy ? { dependencies: [{ request_id: spawnedBy, delay_ms: 0, trigger: 'dispatch', relation: 'spawn' }] } : {}),
  });
  const rows = [header, row('a1', 'a'), row('b1', 'b', undefined, 'q'), row('c1', 'c', 'a1'), row('d1', 'd', 'a1'), row('e1', 'e', 'b1', 'q'), row('f1', 'f', 'a1')];
  return readTrace([temporaryFile(rows.map((each) => JSON.stringify(each)).join('\n'))], 'agentic_mooncake', { blockTokens: null, strict: true, fidelity: 'realistic' });
}

describe('sessions that one request has spawned', () => {
  it('are one group, apart from those of others and from who waits for nobody', async () => {
    const workload = await agents();
    const { of, count } = siblingGroups(workload);
    const named = Object.fromEntries(workload.graph!.requestNames.map((name, request) => [name, of[request]]));
    expect(count).toBe(4);
    expect(new Set([named['c1'], named['d1'], named['f1']]).size).toBe(1);
    expect(new Set([named['a1'], named['b1'], named['c1'], named['e1']]).size).toBe(4);
  });

  it('are sessions where nobody waits for anybody', () => {
    const workload = workloadOf([{ ids: [1], output: 1, session: 'a' }, { ids: [2], output: 1, session: 'b' }, { ids: [3], output: 1, session: 'a' }]);
    expect(siblingGroups(workload)).toEqual({ of: workload.session, count: 2 });
  });

  it('go to one worker under affinity, and the run says where there are none', async () => {
    const workload = await agents();
    const run = (by: 'sibling_group' | undefined, load = workload) => {
      const config = configOf({ workers: 3, router: { policy: 'round_robin', affinity: { ttlMs: 1e6, soft: false, ...(by ? { by } : {}) } } });
      return finish(new Simulation(config, load, expandBlocks(load, config.pools[0]!.engine.blockTokens)));
    };
    const workersOf = (names: readonly string[], by?: 'sibling_group'): number => new Set(names.map((name) => run(by).requests.decodeWorker[workload.graph!.requestNames.indexOf(name)])).size;
    expect(workersOf(['c1', 'd1', 'f1'], 'sibling_group')).toBe(1);
    expect(workersOf(['c1', 'd1', 'f1'])).toBeGreaterThan(1);
    const alone = workloadOf([{ ids: [1], output: 1, session: 'a' }, { ids: [2], output: 1, session: 'a' }]);
    expect(run('sibling_group', alone).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'router.affinity.by' }]);
  });
});
