import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../src/core/problem.js';
import { simulationConfig } from '../../src/sim/execute.js';
import { buildWorkload } from '../../src/workload/build.js';
import { TRACE_FORMATS } from '../../src/workload/formats/trace.js';
import { candidateId, canonicalJson, scenarioHash } from '../../src/scenario/hash.js';
import { loadFile } from '../../src/scenario/load.js';
import { TRACE_FORMAT_NAMES } from '../../src/scenario/scenario.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { environment, files, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const disagg = (more = ''): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, prefill: {replicas: 1}, decode: {replicas: 3, tp: 2}}
router: kv
${more}
`;

describe('defaults by fidelity', () => {
  it('realistic', () => {
    const { deployment, router, timing } = scenarioOf(disagg());
    expect(deployment.kvTransfer).toEqual({ bytesPerSecond: 64e9, latencyMs: 0, charge: 'missing', contention: 'fair', bytesPerToken: 147_456, bytesPerRequest: 0 });
    expect(deployment.pools.map((pool) => [pool.role, pool.kvBlocks, pool.kvBlocksEstimated, pool.engine.maxNumSeqs])).toEqual([
      ['prefill', 3686, true, 256],
      ['decode', 7372, true, 256],
    ]);
    expect([router.indexVisible, timing.source]).toEqual(['pass_end', 'fitted']);
  });

  it('dynosim', () => {
    const { deployment, router, timing } = scenarioOf(disagg('run: {fidelity: dynosim}'));
    expect(deployment.kvTransfer).toMatchObject({ bytesPerSecond: null });
    expect(deployment.pools.map((pool) => [pool.kvBlocks, pool.kvBlocksEstimated])).toEqual([[16384, false], [16384, false]]);
    expect([router.indexVisible, timing.source]).toEqual(['pass_start', 'polynomial']);
    const linked = scenarioOf(disagg('run: {fidelity: dynosim}\ntiming: auto'), ['deployment.kv_transfer.bandwidth=nvlink']).deployment;
    expect(linked.kvTransfer).toMatchObject({ bytesPerSecond: 450e9, charge: 'full', contention: 'none', bytesPerToken: 100_000 });
    expect(linked.pools[0]).toMatchObject({ kvBlocks: 3686, kvBlocksEstimated: true });
  });

  it('aisimulate', () => {
    const { deployment, router } = scenarioOf(disagg('run: {fidelity: aisimulate}'));
    expect(deployment.kvTransfer).toMatchObject({ bytesPerSecond: null });
    expect(deployment.pools.map((pool) => pool.engine.maxNumSeqs)).toEqual([1, 256]);
    expect(router.indexVisible).toBe('pass_end');
  });

  it('explicit values win', () => {
    const sets = ['run.fidelity=dynosim', 'deployment.prefill.engine.max_num_seqs=4', 'deployment.kv.blocks=77', 'router.index.visible=pass_end'];
    const { deployment, router } = scenarioOf(disagg(), sets);
    expect(deployment.pools.map((pool) => [pool.engine.maxNumSeqs, pool.kvBlocks])).toEqual([[4, 77], [256, 77]]);
    expect(router.indexVisible).toBe('pass_end');
  });
});

describe('engines', () => {
  const engineOf = (engine: string, sets: readonly string[] = []) => scenarioOf(scenarioText('router: kv'), [`deployment.engine=${engine}`, ...sets]);

  it('sglang: its defaults and settings', () => {
    const { engine, kvBlocks } = engineOf('sglang').deployment.pools[0]!;
    expect(engine).toEqual({
      name: 'sglang', version: '0.5.14', blockTokens: 1, maxNumSeqs: 256, maxNumBatchedTokens: 8192, prefixCaching: true, chunkedPrefill: true, contextTokens: 40_960, memoryFraction: 0.88, preemption: 'lifo',
      sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 },
    });
    expect(kvBlocks).toBe(Math.floor(4096 * 0.88 * 64));
    const set = engineOf('{name: sglang, version: 0.5.10, block_size: 16, prefix_caching: false, memory_fraction: 0.8, schedule_policy: lpm, max_prefill_tokens: 4, chunked_prefill_size: 32, clip_max_new_tokens: 6, schedule_conservativeness: 0.5, decode_interval: 3}');
    expect(set.deployment.pools[0]!.engine).toMatchObject({
      version: '0.5.10', blockTokens: 16, prefixCaching: false, memoryFraction: 0.8,
      sglang: { schedulePolicy: 'lpm', maxPrefillTokens: 4, chunkedPrefillSize: 32, clipMaxNewTokens: 6, scheduleConservativeness: 0.5, decodeInterval: 3 },
    });
  });

  it('sglang: a receive interval of realistic aggregated workers', () => {
    const scenario = engineOf('{name: sglang, receive_interval: 30}');
    expect(scenario.deployment.pools[0]!.engine.sglang!.receiveInterval).toBe(30);
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect(engineOf('{name: sglang, receive_interval: 1}')).toEqual(engineOf('sglang'));
    expect(() => engineOf('{name: sglang, receive_interval: 30}', ['run.fidelity=dynosim'])).toThrow('E-NO-EFFECT');
  });

  it('admission: realistic aggregated workers', () => {
    const scenario = engineOf('{name: trtllm, admission: next_pass}');
    expect(scenario.deployment.pools[0]!.engine.admission).toBe('next_pass');
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect(engineOf('{name: trtllm, admission: same_pass}')).toEqual(engineOf('trtllm'));
    for (const fidelity of ['dynosim', 'aisimulate']) expect(() => engineOf('{name: trtllm, admission: next_pass}', [`run.fidelity=${fidelity}`])).toThrow('E-NO-EFFECT');
  });

  it('report.warmup: fewer than there are requests', () => {
    const scenario = scenarioOf(scenarioText('report: {warmup: 8}'));
    expect(scenario.report.warmupRequests).toBe(8);
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect('warmupRequests' in scenarioOf(scenarioText('report: {warmup: 0}')).report).toBe(false);
    expect(() => scenarioOf(scenarioText('report: {warmup: 160}'))).toThrow('160 of 160 requests leaves none to measure');
  });

  it('frontend: absent where nothing takes time', () => {
    const of = (frontend: string) => scenarioOf(scenarioText(`frontend: ${frontend}`)).frontend;
    expect(of('{preprocess: {rate: 250000 tok/s}, dispatch: 4 ms}')).toEqual({ baseMs: 0, tokensPerSecond: 250_000, cores: 1, dispatchMs: 4 });
    expect(of('{preprocess: 2 ms}')).toEqual({ baseMs: 2, tokensPerSecond: null, cores: 1, dispatchMs: 0 });
    expect(of('{dispatch: 0}')).toBeUndefined();
    expect(() => of('{preprocess: {cores: 2}, dispatch: 1 ms}')).toThrow('E-NO-EFFECT');
  });

  it('trtllm: its defaults', () => {
    expect(engineOf('trtllm').deployment.pools[0]!.engine).toEqual({
      name: 'trtllm', version: '1.3.0rc20', blockTokens: 32, maxNumSeqs: 256, maxNumBatchedTokens: 8192, prefixCaching: true, chunkedPrefill: true, contextTokens: 40_960, memoryFraction: 0.9, preemption: 'lifo',
    });
    expect(engineOf('trtllm@1.3.0rc10').deployment.pools[0]!.engine.version).toBe('1.3.0rc10');
  });

  it('dynosim: blocks show at the end of a pass, and only vllm limits the context', () => {
    const visible = ['vllm', 'sglang', 'trtllm'].map((engine) => {
      const { router, deployment } = engineOf(engine, ['run.fidelity=dynosim']);
      return [router.indexVisible, deployment.pools[0]!.engine.contextTokens];
    });
    expect(visible).toEqual([['pass_start', 40_960], ['pass_end', null], ['pass_start', null]]);
    expect(engineOf('sglang', ['run.fidelity=dynosim', 'router.index.visible=pass_start', 'deployment.engine={context_length: 99}'])).toMatchObject({ router: { indexVisible: 'pass_start' }, deployment: { pools: [{ engine: { contextTokens: 99 } }] } });
  });

  it('speculative: every pool, its draws from the seed of the run', () => {
    const { pools } = scenarioOf(disagg('timing: polynomial\nrun: {seed: 7}'), ['deployment.speculative={tokens: 1}']).deployment;
    expect(pools.map((pool) => pool.engine.speculative)).toEqual([{ tokens: 1, accept: [0.85], seed: 7 }, { tokens: 1, accept: [0.85], seed: 7 }]);
    const given = scenarioOf(scenarioText('timing: polynomial'), ['deployment.speculative={method: mtp, tokens: 3, accept: [90%, 0.5]}']);
    expect(given.deployment.pools[0]!.engine.speculative).toEqual({ tokens: 3, accept: [0.9, 0.5], seed: 42 });
    expect('speculative' in scenarioOf(scenarioText()).deployment.pools[0]!.engine).toBe(false);
  });

  it('a chunk that is not whole blocks is only ever the default', () => {
    const scenario = engineOf('{name: sglang, block_size: 48}');
    expect(scenario.deployment.pools[0]!.engine.sglang!.chunkedPrefillSize).toBe(8192);
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
  });

  it('a sweep over engines drops what an engine does not read', () => {
    const { candidates } = sweepOf(scenarioText('space: {deployment.engine.name: [vllm, sglang, trtllm], deployment.engine.schedule_policy: [fifo, lpm]}'));
    expect(candidates.map(({ dimensions }) => dimensions)).toEqual([
      { 'deployment.engine.name': 'vllm' },
      { 'deployment.engine.name': 'sglang', 'deployment.engine.schedule_policy': 'fifo' },
      { 'deployment.engine.name': 'sglang', 'deployment.engine.schedule_policy': 'lpm' },
      { 'deployment.engine.name': 'trtllm' },
    ]);
  });
});

describe('fields', () => {
  it('shorthands stand for mappings', () => {
    const short = scenarioOf(scenarioText('router: kv\ntiming: polynomial\ncost: $2/h'), ['deployment.engine=vllm@0.19.0']);
    expect([short.router.policy, short.timing.source, short.gpuHourPrice, short.deployment.pools[0]!.engine.version]).toEqual(['kv', 'polynomial', 2, '0.19.0']);
    expect(scenarioOf(scenarioText('router: kv'), ['router.temperature=0.3']).router).toMatchObject({ policy: 'kv', temperature: 0.3 });
  });

  it('versions that look like numbers keep their digits', () => {
    expect(scenarioOf(scenarioText(), ['deployment.engine.version=0.10']).deployment.pools[0]!.engine.version).toBe('0.10');
  });

  it('no model where nothing depends on one', () => {
    const text = 'workload: {synthetic: {isl: 8, osl: 8}, load: {concurrency: 2}}\ndeployment: {agg: {}, kv: {blocks: 100}}\ntiming: {source: fixed, prefill: 20 ms, decode: 5 ms}\n';
    expect(scenarioOf(text).deployment).toMatchObject({ model: null, hardware: null, pools: [{ kvBlocks: 100, engine: { contextTokens: null } }] });
    expect(problemsOf(() => load(text.replace(', kv: {blocks: 100}', '')))).toHaveLength(2);
    expect(problemsOf(() => load(text.replace('kv: {blocks: 100}', 'kv: {blocks: auto}')))[0]).toContain('E-MISSING: deployment.model: required to size the KV cache');
  });

  it('synthetic requests: 10 rounds of load by default', () => {
    expect(scenarioOf(scenarioText()).workload.requests).toBe(160);
    expect(scenarioOf(scenarioText(), ['workload.rounds=3']).workload.requests).toBe(48);
    expect(scenarioOf(scenarioText(), ['workload.load={concurrency: null, rate: 2.5 req/s}']).workload).toMatchObject({ requests: 25, load: { kind: 'rate', requestsPerSecond: 2.5, arrivals: 'poisson', seed: 42 } });
    expect(scenarioOf(scenarioText(), ['workload.requests=7']).workload.requests).toBe(7);
  });

  it('sessions of several turns', async () => {
    const make = (...sets: string[]) => scenarioOf(scenarioText(), ['workload.synthetic.turns=3', ...sets]);
    const cumulative = make('workload.synthetic.think_time={mean: 2 s}', 'workload.sessions=5');
    expect(cumulative.workload).toMatchObject({ requests: 15, source: { turns: 3, thinkTimeMs: { kind: 'exponential', ms: 2000 }, history: 'cumulative' } });
    expect(make().workload.requests).toBe(480);
    const fresh = make('run.fidelity=dynosim', 'workload.synthetic.think_time=1 s', 'workload.sessions=2');
    expect(fresh.workload.source).toMatchObject({ thinkTimeMs: { kind: 'constant', ms: 1000 }, history: 'fresh' });
    const at = { seed: 1, blockTokens: 16, strict: true, fidelity: 'realistic' } as const;
    const workload = await buildWorkload(cumulative.workload, at);
    expect([workload.requestCount, workload.sessionCount, ...workload.promptTokens.subarray(0, 3)]).toEqual([15, 5, 1024, 2176, 3328]);
    expect([...(await buildWorkload(fresh.workload, at)).promptTokens]).toEqual(Array(6).fill(1024));
    for (const scenario of [cumulative, fresh]) expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
  });

  it('distributions', () => {
    const isl = (yaml: string) => scenarioOf(scenarioText(), [`workload.synthetic.isl=${yaml}`]).workload.source;
    expect(isl('{mean: 900, std: 10, min: 1}')).toMatchObject({ isl: { kind: 'normal', mean: 900, std: 10, min: 1 } });
    expect(isl('{lognormal: {median: 1800, sigma: 0.9}, max: 16000}')).toMatchObject({ isl: { kind: 'lognormal', median: 1800, sigma: 0.9, max: 16000 } });
    expect(isl('{uniform: [4, 8]}')).toMatchObject({ isl: { kind: 'uniform', from: 4, to: 8 } });
    expect(isl('{exponential: 500}')).toMatchObject({ isl: { kind: 'exponential', mean: 500 } });
  });

  it('traces: path beside the file, timestamps by default', () => {
    const path = files({ 'trace.yaml': scenarioText().replace('{synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}', '{trace: t.jsonl}'), 't.jsonl': '{}\n' });
    const loaded = loadFile(path, { environment });
    expect(loaded).toMatchObject({ scenario: { name: 'trace', workload: { source: { path: join(path, '../t.jsonl') }, load: { kind: 'speedup', speedup: 1 }, format: 'auto', traceBlockTokens: null, requests: null } } });
  });

  it('every trace format by name, its block size, and lanes', async () => {
    expect([...TRACE_FORMAT_NAMES]).toEqual(TRACE_FORMATS);
    const row = '{"session_id": "a", "input_length": 5, "output_length": 2, "hash_ids": [1], "timestamp": 0}\n';
    const path = files({ 'format.yaml': scenarioText().replace('{synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}', '{trace: f.jsonl, load: {speedup: 2}}'), 'f.jsonl': row });
    const scenarioWith = (...sets: string[]) => {
      const loaded = loadFile(path, { environment, sets });
      if (loaded.kind !== 'scenario') throw new Error('kind');
      const again = loadFile(files({ 'format-again.yaml': scenarioToYaml(loaded.scenario, join(path, '..')) }), { environment });
      expect(again.kind === 'scenario' && again.scenario).toEqual({ ...loaded.scenario, name: 'format' });
      return loaded.scenario;
    };
    for (const format of TRACE_FORMATS) expect(scenarioWith(`workload.format=${format}`).workload).toMatchObject({ format, traceBlockTokens: null });
    expect(scenarioWith('workload.block_size=64').workload.traceBlockTokens).toBe(64);
    const laned = scenarioWith('workload.load.lanes=3');
    expect(laned.workload.load).toEqual({ kind: 'speedup', speedup: 2, lanes: 3 });
    expect(simulationConfig(laned).config.driver).toEqual({ kind: 'open', speedup: 2, lanes: 3 });
    const at = { seed: 1, blockTokens: 16, strict: true, fidelity: 'realistic' } as const;
    expect((await buildWorkload(scenarioWith('workload.format=mooncake').workload, at)).traceBlockTokens).toBe(512);
    await expect(buildWorkload(laned.workload, at)).rejects.toThrow('lanes are for agentic traces');
  });

  it('pool settings over deployment settings', () => {
    const { pools } = scenarioOf(disagg(), ['deployment.engine.max_num_seqs=100', 'deployment.decode.engine={max_num_seqs: 50}', 'deployment.decode.kv.blocks=9', 'deployment.kv.reserve=2 GB']).deployment;
    expect(pools.map((pool) => [pool.engine.maxNumSeqs, pool.kvBlocks, pool.kvReserveBytes])).toEqual([[100, 3684, 2e9], [50, 9, undefined]]);
  });

  it('YAML anchors and merge keys', () => {
    const text = `workload: {synthetic: {isl: 8, osl: 8}, load: {concurrency: 2}}
deployment:
  model: Qwen/Qwen3-8B
  hardware: h200_sxm
  prefill: &pool {replicas: 2, tp: 2}
  decode: {<<: *pool, tp: 4}
`;
    expect(scenarioOf(text).deployment.pools.map((pool) => [pool.replicas, pool.tp])).toEqual([[2, 2], [2, 4]]);
  });
});

describe('extends', () => {
  const base = scenarioText('router: {policy: kv, temperature: 0.5}\nslo: {ttft: 1 s, itl: 50 ms}');

  it('merges deeply, later files win, null restores the default', () => {
    const path = files({
      'heir.yaml': 'extends: [base.yaml, more.yaml]\ndeployment: {agg: {tp: 2}}\nslo: {itl: null, at: p90}\nworkload: {load: {concurrency: null, rate: 8 req/s}}\n',
      'base.yaml': base,
      'more.yaml': 'router: {temperature: 0.7}\ndeployment: {agg: {replicas: 5}}\n',
    });
    const loaded = loadFile(path, { environment });
    expect(loaded).toMatchObject({
      scenario: { name: 'heir', router: { policy: 'kv', temperature: 0.7 }, slo: { ttftMs: 1000, itlMs: null, at: 'p90' }, deployment: { pools: [{ replicas: 5, tp: 2 }] }, workload: { load: { kind: 'rate' } } },
    });
  });

  it('an inherited field without effect is a warning', () => {
    const path = files({ 'heir2.yaml': 'extends: base2.yaml\nrouter: round_robin\n', 'base2.yaml': base });
    const { warnings } = loadFile(path, { environment });
    expect(warnings.map((warning) => formatProblem(warning).replace(/^.*\//, ''))).toEqual([
      'base2.yaml:3:22: warning W-NO-EFFECT: router.temperature: not read by policy round_robin; remove it or set policy: kv',
    ]);
  });
});

/** Random scenario files as data. */
const scenarios = fc
  .record({
    prefill: fc.boolean(),
    engine: fc.constantFrom<unknown>('vllm', 'sglang', 'trtllm@1.3.0rc10', { name: 'sglang', block_size: 3, schedule_policy: 'lpm', decode_interval: 2, schedule_conservativeness: 0.3 }, { name: 'trtllm', max_num_batched_tokens: 4096, chunked_prefill: false }),
    speculative: fc.constantFrom<unknown>(undefined, { tokens: 1 }, { tokens: 4, accept: [0.5, '10%'] }),
    tp: fc.constantFrom(1, 2, 4),
    replicas: fc.integer({ min: 2, max: 9 }),
    blocks: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: undefined }),
    fidelity: fc.constantFrom('realistic', 'dynosim', 'aisimulate'),
    bandwidth: fc.constantFrom('none', 'tcp', '64 GB/s', '12.34567 GB/s', '333 Mb/s'),
    frontend: fc.constantFrom<unknown>(undefined, { preprocess: '5 ms' }, { preprocess: { rate: '300000 tok/s', cores: 2 }, dispatch: '4 ms' }, { preprocess: { base: '1 ms' } }, { dispatch: '0.5 ms' }),
    policy: fc.constantFrom('round_robin', 'random', 'least_loaded', 'kv'),
    source: fc.constantFrom('auto', 'polynomial', 'fixed'),
    load: fc.constantFrom({ concurrency: 7 }, { rate: '2.5 req/s', arrivals: 'gamma', smoothness: 2 }, { rate: '90 req/min', arrivals: 'burst' }),
    isl: fc.constantFrom<unknown>(100, { mean: 10.5, std: 3, min: 1 }, { lognormal: { median: 5, sigma: 0.3 } }, { uniform: [3, 9] }, { exponential: 12, max: 90 }),
    shared: fc.constantFrom<unknown>(undefined, { ratio: 0.25, groups: 3 }, { tokens: 64 }),
    turns: fc.constantFrom<unknown>({}, { turns: 3 }, { turns: 2, think_time: '2 s', history: 'fresh' }, { turns: 2, think_time: { mean: '0.5 s' } }),
    seconds: fc.double({ min: 0.001, max: 1e4, noNaN: true }),
    at: fc.constantFrom('mean', 'p90', 'max'),
  })
  .map((r) => ({
    workload: { synthetic: { isl: r.isl, osl: 20, ...(r.shared ? { shared_prefix: r.shared } : {}), ...('rate' in r.load ? {} : (r.turns as object)) }, load: r.load },
    deployment: {
      model: 'Qwen/Qwen3-8B',
      hardware: 'h200_sxm',
      engine: r.engine,
      ...(r.speculative && r.source !== 'auto' ? { speculative: r.speculative } : {}),
      ...(r.blocks === undefined ? {} : { kv: { blocks: r.blocks } }),
      ...(r.prefill ? { prefill: { tp: r.tp }, decode: { replicas: r.replicas }, kv_transfer: { bandwidth: r.bandwidth } } : { agg: { replicas: r.replicas, tp: r.tp } }),
    },
    router: r.policy,
    ...(r.frontend ? { frontend: r.frontend } : {}),
    timing: r.source === 'fixed' ? { source: 'fixed', prefill: `${r.seconds} s`, decode: '5 ms' } : r.source,
    slo: { ttft: `${r.seconds} s`, at: r.at },
    run: { fidelity: r.fidelity, max_time: `${r.seconds} min` },
  }));

describe('resolved scenarios', () => {
  it('written out and read back are the same', () => {
    fc.assert(
      fc.property(scenarios, (data) => {
        const scenario = scenarioOf(JSON.stringify(data));
        const again = scenarioOf(scenarioToYaml(scenario));
        expect(again).toEqual(scenario);
        expect(scenarioHash(again)).toBe(scenarioHash(scenario));
      }),
      { numRuns: 200 },
    );
  });

  it('a trace is written relative to the folder', () => {
    const path = files({ 'place.yaml': scenarioText().replace('{synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}', '{trace: t2.jsonl}'), 't2.jsonl': '{}\n' });
    const loaded = loadFile(path, { environment });
    if (loaded.kind !== 'scenario') throw new Error('kind');
    const yaml = scenarioToYaml(loaded.scenario, join(path, '../out/run'));
    expect(yaml).toContain('trace: ../../t2.jsonl');
    const copy = join(path, '../again.yaml');
    writeFileSync(copy, scenarioToYaml(loaded.scenario, join(path, '..')));
    const again = loadFile(copy, { environment });
    expect(again.kind === 'scenario' && scenarioHash(again.scenario)).toBe(scenarioHash(loaded.scenario));
  });

  it('canonical form', () => {
    expect(canonicalJson({ b: [1, 0.1, 1e21], a: { d: null, c: undefined } })).toBe('{"a":{"d":null},"b":[1,0.1,1e+21]}');
    const scenario = scenarioOf(scenarioText());
    expect(candidateId(scenario)).toBe(`c-${scenarioHash(scenario).slice(0, 10)}`);
    expect(scenarioHash(scenario)).toMatch(/^[0-9a-f]{64}$/);
    expect(scenarioHash({ ...scenario, gpuHourPrice: 1 })).not.toBe(scenarioHash(scenario));
  });
});
