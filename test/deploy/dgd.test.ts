import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { InputError } from '../../src/core/problem.js';
import { generateDgd, type DgdOptions } from '../../src/deploy/dgd.js';
import { validateDgd } from '../../src/deploy/validate.js';
import { componentsOf, flagValue, type ComponentView } from '../../src/deploy/view.js';
import type { PoolSpec, Quant, RouterSpec, Scenario, TopologySpec } from '../../src/scenario/scenario.js';
import { crdErrors, hasCrds } from './crd.js';
import { DISAGG, pool, scenario, scenarios } from './scenarios.js';

const EVENTS = '{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20080","enable_kv_cache_events":true}';
const NIXL = '{"kv_connector":"NixlConnector","kv_role":"kv_both"}';

function component(source: Scenario, name: string, options: DgdOptions = {}): ComponentView {
  return componentsOf(generateDgd(source, options).manifest).find((candidate) => candidate.name === name)!;
}

function refusal(source: Scenario, options: DgdOptions = {}): string {
  try {
    generateDgd(source, options);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('aggregated', () => {
  it('deploys 2 × TP4 behind the KV router: 3 pods, 8 GPUs (spec: dgd section 12 example 1)', () => {
    const { manifest, yaml, warnings } = generateDgd(scenario({ name: 'sim-agg' }));
    expect(manifest).toEqual({
      apiVersion: 'nvidia.com/v1beta1',
      kind: 'DynamoGraphDeployment',
      metadata: { name: 'sim-agg' },
      spec: {
        backendFramework: 'vllm',
        components: [
          {
            name: 'Frontend', type: 'frontend', replicas: 1,
            podTemplate: { spec: { containers: [{
              name: 'main', image: 'nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.2.0', command: ['python3', '-m', 'dynamo.frontend'],
              args: ['--router-mode', 'kv', '--router-kv-overlap-score-credit', '1', '--router-prefill-load-scale', '1', '--router-temperature', '0', '--router-queue-threshold', '1000000'],
            }] } },
          },
          {
            name: 'VllmWorker', type: 'worker', replicas: 2, sharedMemorySize: '16Gi',
            podTemplate: { spec: { containers: [{
              name: 'main', image: 'nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.2.0', command: ['python3', '-m', 'dynamo.vllm'],
              args: [
                '--model', 'Qwen/Qwen3-32B', '--tensor-parallel-size', '4', '--block-size', '16', '--max-num-seqs', '256', '--max-num-batched-tokens', '8192',
                '--gpu-memory-utilization', '0.9', '--enable-prefix-caching', '--enable-chunked-prefill', '--kv-events-config', EVENTS,
              ],
              envFrom: [{ secretRef: { name: 'hf-token-secret' } }],
              resources: { requests: { 'nvidia.com/gpu': '4' }, limits: { 'nvidia.com/gpu': '4' } },
            }] } },
          },
        ],
      },
    });
    expect(warnings).toEqual([]);
    expect(parse(yaml)).toEqual(manifest);
    expect(yaml.split('\n').slice(0, 3)).toEqual([
      '# Written by dynotwin: scenario "sim-agg", for Dynamo 1.2.0.',
      '# Needs the secret hf-token-secret (key HF_TOKEN) in its namespace.',
      'apiVersion: nvidia.com/v1beta1',
    ]);
  });

  it('says the same in v1alpha1', () => {
    const { manifest } = generateDgd(scenario({ name: 'sim-agg' }), { api: 'v1alpha1', namespace: 'ml' });
    expect(manifest).toMatchObject({
      apiVersion: 'nvidia.com/v1alpha1',
      metadata: { name: 'sim-agg', namespace: 'ml' },
      spec: { services: { Frontend: { componentType: 'frontend' }, VllmWorker: {
        componentType: 'worker', replicas: 2, envFromSecret: 'hf-token-secret', sharedMemory: { size: '16Gi' }, resources: { requests: { gpu: '4' }, limits: { gpu: '4' } },
        extraPodSpec: { mainContainer: { image: 'nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.2.0' } },
      } } },
    });
  });

  it('carries every setting of the engine', () => {
    const engine = { blockTokens: 64, maxNumSeqs: 17, maxNumBatchedTokens: 2048, prefixCaching: false, chunkedPrefill: false, contextTokens: 2000, memoryFraction: 0.85 };
    const { words } = component(scenario({ pools: [pool('agg', 1, 2, engine, { kvBlocks: 777, kvBlocksEstimated: false })] }), 'VllmWorker');
    expect(words.join(' ')).toContain(
      '--tensor-parallel-size 2 --block-size 64 --max-num-seqs 17 --max-num-batched-tokens 2048 --max-model-len 2000 --gpu-memory-utilization 0.85 ' +
        '--num-gpu-blocks-override 777 --no-enable-prefix-caching --no-enable-chunked-prefill',
    );
  });

  it('data-parallel ranks: a flag, and the GPUs of all; over nodes where one has too few (spec: dgd section 12 example 9)', () => {
    const one = component(scenario({ pools: [pool('agg', 2, 2, { ranks: 4 })] }), 'VllmWorker');
    expect([one.nodeCount, one.gpusPerPod, one.words.join(' ')]).toEqual([1, 8, expect.stringContaining('--tensor-parallel-size 2 --data-parallel-size 4 ')]);
    const two = scenario({ pools: [pool('agg', 1, 4, { ranks: 4 })] });
    expect(component(two, 'VllmWorker')).toMatchObject({ nodeCount: 2, gpusPerPod: 8 });
    expect(validateDgd(generateDgd(two).manifest)).toEqual([]);
    expect(component(scenario(), 'VllmWorker').words).not.toContain('--data-parallel-size');
  });

  it('stages and spread experts: flags, and the GPUs of all', () => {
    const one = component(scenario({ pools: [pool('agg', 1, 2, { ranks: 2 }, { pp: 2, moeTp: 1, moeEp: 4 })] }), 'VllmWorker');
    expect([one.nodeCount, one.gpusPerPod, one.words.join(' ')]).toEqual([1, 8, expect.stringContaining('--tensor-parallel-size 2 --pipeline-parallel-size 2 --data-parallel-size 2 --enable-expert-parallel --block-size')]);
    const two = scenario({ pools: [pool('agg', 1, 8, {}, { pp: 2, moeTp: 8, moeEp: 1 })] });
    expect(component(two, 'VllmWorker')).toMatchObject({ nodeCount: 2, gpusPerPod: 8 });
    expect(component(two, 'VllmWorker').words).not.toContain('--enable-expert-parallel');
    expect(validateDgd(generateDgd(two).manifest)).toEqual([]);
    expect(() => generateDgd(scenario({ pools: [pool('agg', 1, 8, { ranks: 2 }, { pp: 2 })] }))).toThrow(/E-UNSUPPORTED: deployment.agg.dp.*ranks of 16 GPUs/);
    expect(() => generateDgd(scenario({ pools: [pool('agg', 1, 3, { ranks: 4 }, { pp: 2 })] }))).toThrow(/E-FIT: deployment.agg.tp: ranks of 6 GPUs/);
  });

  it('precision: the cache by a flag, anything else by the checkpoint alone', () => {
    const own = { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'bf16' } as const;
    const make = (quant: Partial<Quant>) => generateDgd(scenario({ pools: [pool('agg', 1, 2, {}, { quant: { ...own, ...quant } })] }), { checkpointQuant: own, kvElementBytes: 2 }).yaml;
    expect(make({ kv: 'fp8' })).toMatch(/--kv-cache-dtype\n\s+- fp8/);
    expect(make({})).toMatch(/--kv-cache-dtype\n\s+- bfloat16/);
    expect(() => make({ kv: 'int8' })).toThrow(/E-UNSUPPORTED: deployment.agg.quant.kv: vLLM has no int8 KV cache/);
    expect(() => make({ weights: 'fp8' })).toThrow(/deployment.agg.quant.weights: vLLM serves this checkpoint at bf16, not fp8; name a checkpoint of that precision/);
  });

  it('publishes KV events for the KV router only', () => {
    expect(flagValue(component(scenario({ router: { policy: 'round_robin' } }), 'VllmWorker').words, '--kv-events-config')).toBeNull();
  });
});

describe('disaggregated', () => {
  it('gives prefill and decode their role, transfer, RDMA devices and GPUs', () => {
    const source = scenario({ name: 'sim-pd', pools: DISAGG });
    const prefill = component(source, 'VllmPrefillWorker');
    const decode = component(source, 'VllmDecodeWorker');
    expect([prefill.type, prefill.replicas, prefill.gpusPerPod, decode.type, decode.replicas, decode.gpusPerPod]).toEqual(['prefill', 2, 2, 'decode', 1, 4]);
    expect(prefill.main).toMatchObject({ securityContext: { capabilities: { add: ['IPC_LOCK'] } }, resources: { limits: { 'nvidia.com/gpu': '2', 'rdma/ib': '2' } } });
    for (const [view, role] of [[prefill, 'prefill'], [decode, 'decode']] as const) {
      expect(flagValue(view.words, '--disaggregation-mode')).toBe(role);
      expect(flagValue(view.words, '--kv-transfer-config')).toBe(NIXL);
    }
    expect(flagValue(prefill.words, '--kv-events-config')).toBe(EVENTS);
    expect(flagValue(decode.words, '--kv-events-config')).toBeNull();
    expect(generateDgd(source).manifest['spec']).toMatchObject({ env: [{ name: 'UCX_TLS', value: 'rc_x,rc,dc_x,dc,cuda_copy,cuda_ipc' }, { name: 'UCX_RNDV_SCHEME' }, { name: 'UCX_RNDV_THRESH', value: '0' }] });
    expect(generateDgd(source).warnings.map(({ code, path }) => [code, path])).toEqual([['W-COMPAT', 'deployment.kv_transfer.bandwidth']]);
  });

  it('maps roles to v1alpha1 as worker with a sub type (spec: dgd section 12 example 5)', () => {
    const { manifest } = generateDgd(scenario({ pools: DISAGG }), { api: 'v1alpha1' });
    expect(manifest['spec']).toMatchObject({ services: {
      VllmPrefillWorker: { componentType: 'worker', subComponentType: 'prefill', resources: { limits: { gpu: '2', custom: { 'rdma/ib': '2' } } } },
      VllmDecodeWorker: { componentType: 'worker', subComponentType: 'decode' },
    } });
    expect(componentsOf(manifest).map(({ type }) => type)).toEqual(['frontend', 'prefill', 'decode']);
  });

  it('asks for no RDMA at the speed of TCP, and warns', () => {
    const { yaml, warnings } = generateDgd(scenario({ pools: DISAGG, bytesPerSecond: 1e9 }));
    expect(yaml).not.toMatch(/rdma|UCX|IPC_LOCK/);
    expect(warnings[0]!.what).toContain('without RDMA');
  });

  it('refuses pools that cut the cache differently', () => {
    expect(refusal(scenario({ pools: [pool('prefill', 1, 1), pool('decode', 1, 1, { blockTokens: 32 })] }))).toContain('error E-COMBINATION: spec.components.2: block size 32 here and 16 on prefill');
  });
});

describe('several nodes (spec: dgd section 12 example 8)', () => {
  it.each([[16, 2, 8], [8, 1, 8], [4, 1, 4]])('TP %i: %i nodes with %i GPUs each', (tp, nodes, gpus) => {
    const view = component(scenario({ pools: [pool('agg', 1, tp)] }), 'VllmWorker');
    expect([view.nodeCount, view.gpusPerPod, 'multinode' in view.raw]).toEqual([nodes, gpus, nodes > 1]);
  });

  it('refuses nodes it cannot fill', () => {
    expect(refusal(scenario({ pools: [pool('agg', 1, 12)] }))).toContain('error E-FIT: deployment.agg.tp: 12 GPUs do not fill 2 nodes of 8');
    expect(component(scenario({ pools: [pool('agg', 1, 12)] }), 'VllmWorker', { gpusPerNode: 4 }).nodeCount).toBe(3);
  });
});

describe('releases (spec: dgd section 3.10)', () => {
  const source = scenario({ pools: DISAGG });
  const words = (name: string, dynamoVersion: string): string => component(source, name, { dynamoVersion }).words.join(' ');

  it('before 1.0: v1alpha1, role flags, --connector', () => {
    expect(generateDgd(source, { dynamoVersion: '0.9.0' }).manifest['apiVersion']).toBe('nvidia.com/v1alpha1');
    expect(words('VllmPrefillWorker', '0.9.0')).toMatch(/--is-prefill-worker .*--connector nixl/);
    expect(words('VllmDecodeWorker', '0.9.0')).toMatch(/--is-decode-worker .*--connector nixl$/);
    expect(words('VllmDecodeWorker', '0.9.0')).not.toMatch(/--disaggregation-mode|--kv-transfer-config/);
    expect(words('Frontend', '0.9.0')).toContain('--router-mode kv --kv-overlap-score-weight 1 --router-temperature 0');
  });
  it('1.1: v1alpha1, mode flag, weight flag', () => {
    expect(words('VllmPrefillWorker', '1.1.1')).toContain('--disaggregation-mode prefill');
    expect(words('Frontend', '1.1.1')).toContain('--router-kv-overlap-score-weight 1');
    expect(refusal(source, { dynamoVersion: '1.1.0', api: 'v1beta1' })).toContain('error E-COMBINATION: --api: Dynamo 1.1.0 does not serve v1beta1');
  });
  it('from 1.2: v1beta1 and credits', () => {
    expect(generateDgd(source, { dynamoVersion: '1.3.0' }).manifest['apiVersion']).toBe('nvidia.com/v1beta1');
    expect(words('Frontend', '1.3.0')).toContain('--router-kv-overlap-score-credit 1');
  });
  it('1.4: newest weights, no queue to switch off', () => {
    const newest = component(scenario({ router: { overlapScoreCreditDecay: 0.5, decodeActiveRequestWeight: 2 } }), 'Frontend', { dynamoVersion: '1.4.0' });
    expect(newest.words.join(' ')).toContain('--router-kv-overlap-score-credit-decay 0.5 --router-decode-active-request-weight 2');
    expect(newest.words).not.toContain('--router-queue-threshold');
  });
  it('picks the release that carries the simulated vLLM, and warns of another', () => {
    expect(component(scenario({ pools: [pool('agg', 1, 1, { version: '0.16.0' })] }), 'VllmWorker').main!['image']).toBe('nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.0.0');
    expect(generateDgd(scenario(), { dynamoVersion: '1.3.0' }).warnings[0]).toMatchObject({ code: 'W-COMPAT', what: 'Dynamo 1.3.0 runs vLLM 0.24.0, simulated was 0.20.1' });
  });
  it('a tag that is no version needs runtimeVersionOverride from 1.4 on', () => {
    const image = 'registry.example/vllm-runtime:latest';
    expect(component(scenario(), 'VllmWorker', { dynamoVersion: '1.4.0', image }).raw['runtimeVersionOverride']).toBe('1.4.0');
    expect(component(scenario(), 'VllmWorker', { dynamoVersion: '1.3.0', image }).raw).not.toHaveProperty('runtimeVersionOverride');
  });
});

describe('router', () => {
  it.each([['round_robin', 'round-robin'], ['random', 'random'], ['least_loaded', 'least-loaded'], ['kv', 'kv'], ['direct', 'direct']] as const)('%s is the frontend mode %s', (policy, mode) => {
    expect(flagValue(component(scenario({ router: { policy } }), 'Frontend').words, '--router-mode')).toBe(mode);
  });
  it('sets switches that differ from the default', () => {
    const { words } = component(scenario({ router: { temperature: 0.2, overlapScoreCredit: 0.5, prefillLoadScale: 2, trackActiveBlocks: false, assumeKvReuse: false } }), 'Frontend');
    expect(words.join(' ')).toMatch(/-credit 0.5 --router-prefill-load-scale 2 --router-temperature 0.2 .*--no-router-track-active-blocks --no-router-assume-kv-reuse$/);
  });
  it.each<[Partial<RouterSpec>, string]>([
    [{ index: { mode: 'none' }, overlapScoreCredit: 0 }, '-credit 0 --router-prefill-load-scale 1 --router-temperature 0 --no-router-kv-events'],
    [{ index: { mode: 'approximate', policy: 'ttl', ttlMs: 90_500 } }, '--no-router-kv-events --router-ttl-secs 90.5'],
    [{ index: { mode: 'approximate', policy: 'ttl', ttlMs: null } }, '--no-router-kv-events --router-ttl-secs 1000000000'],
    [{ index: { mode: 'approximate', policy: 'lru' } }, '--no-router-kv-events --router-approximate-cache-policy lru'],
    [{ index: { mode: 'events', delayMs: 5, loss: 0.1, predictedMs: 2000 } }, '--router-temperature 0 --router-predicted-ttl-secs 2'],
    [{ outputBlocks: 'full' }, '--router-track-output-blocks'],
  ])('gives the index and the load of %j', (router, words) => {
    expect(component(scenario({ router }), 'Frontend', { dynamoVersion: '1.4.0' }).words.join(' ').endsWith(words)).toBe(true);
  });
  it('says that output blocks fade only for requests that tell their length', () => {
    expect(generateDgd(scenario({ router: { outputBlocks: 'fading' } }), { dynamoVersion: '1.4.0' }).warnings).toContainEqual(expect.objectContaining({ code: 'W-COMPAT', path: 'router.output_decay' }));
  });
  it.each([
    [{ policy: 'cache_aware' as const }, '1.4.0', "router.policy: the Dynamo frontend has no mode for policy 'cache_aware'"],
    [{ policy: 'power_of_two' as const }, '1.2.0', 'router.policy: Dynamo 1.2.0 cannot be given policy power_of_two; deploy with --dynamo 1.4.0 or newer'],
    [{ policy: 'constructor' as RouterSpec['policy'] }, '1.2.0', 'router.policy'],
    [{ policy: 'least_loaded' as const }, '1.1.0', 'router.policy: Dynamo 1.1.0 cannot be given policy least_loaded; deploy with --dynamo 1.2.0 or newer'],
    [{ index: { mode: 'approximate' as const, policy: 'ttl' as const, ttlMs: 1000, cap: { maxBlocks: 10, pruneTo: 0.8 } } }, '1.4.0', 'router.index.max_blocks'],
    [{ overlapScoreCreditDecay: 1 }, '1.3.0', 'router.overlap_score_credit_decay'],
    [{ decodeActiveRequestWeight: 1 }, '1.2.0', 'router.decode_active_request_weight'],
    [{ overlapScoreCredit: 1.5 }, '1.2.0', 'router.overlap_score_credit'],
    [{ overlapScoreCredit: 0.5 }, '1.0.0', 'router.overlap_score_credit'],
    [{ trackPrefillTokens: false }, '1.1.0', 'router.track_prefill_tokens'],
    [{ index: { mode: 'approximate' as const, policy: 'lru' as const } }, '1.3.0', 'router.index.policy'],
    [{ outputBlocks: 'full' as const }, '1.1.0', 'router.track_output_blocks'],
    [{ prefillLoadModel: 'timing' as const }, '1.4.0', 'router.prefill_load_model'],
    [{ conditionalDisagg: { policy: 'isl_bounding' as const, islTokens: 2048, ratio: 0.7 } }, '1.3.0', 'router.conditional_disagg: Dynamo 1.3.0 cannot be given conditional disaggregation; deploy with --dynamo 1.4.0 or newer'],
    [{ selection: 'lmetric' as const }, '1.4.0', 'router.selection'],
  ])('refuses %j on Dynamo %s', (router, dynamoVersion, message) => {
    expect(refusal(scenario({ router }), { dynamoVersion })).toContain(`error E-UNSUPPORTED: ${message}`);
  });
});

describe('workers that differ', () => {
  const mixed = (workers: PoolSpec['workers'], router: Partial<RouterSpec> = {}): Scenario => scenario({ pools: [pool('agg', 2, 4, {}, { workers: workers! })], router });
  it.each([
    [[{ of: [0], slowdown: 2 }], {}, 'deployment.agg.workers.slowdown: the pods of a component are equal: a manifest cannot slow some of them down; deploy without slowdown'],
    [[{ of: [1], taints: ['gold'] }], {}, 'deployment.agg.workers.taints: workers of a deployment get taints from the labels of their nodes only; write them as labels, and label the nodes'],
    [[{ of: [1], device: 'cpu' as const }], { policy: 'device_aware' as const, deviceRatio: 8 }, 'deployment.agg.workers.device: the pods of a component are equal, and a manifest for CPU workers is not supported; deploy the GPU workers alone, with policy least_loaded'],
  ])('%j with %j are refused', (workers, router, message) => {
    expect(refusal(mixed(workers, router), { dynamoVersion: '1.2.0' })).toBe(`error E-UNSUPPORTED: ${message}`);
  });
  it('their labels are the cluster\'s to give', () => {
    const plain = generateDgd(scenario({ pools: [pool('agg', 2, 4)] }));
    const labelled = generateDgd(mixed([{ of: [0], labels: { zone: 'a' } }]));
    expect(labelled.manifest).toEqual(plain.manifest);
    expect(labelled.warnings).toContainEqual({ code: 'W-COMPAT', path: 'deployment.agg.workers.labels', what: 'workers have the labels of the nodes they land on, which the cluster chooses', hint: 'label the nodes so' });
  });
  it('a mode by devices came with 1.2', () => {
    expect(refusal(mixed([{ of: [1], device: 'cpu' }], { policy: 'device_aware', deviceRatio: 8 }), { dynamoVersion: '1.1.0' })).toContain('router.policy: Dynamo 1.1.0 cannot be given policy device_aware; deploy with --dynamo 1.2.0 or newer');
  });
});

describe('requests that skip the prefill workers', () => {
  it.each([
    [{ policy: 'isl_bounding' as const, islTokens: 512, ratio: 0.5 }, '--router-conditional-disagg --router-conditional-disagg-policy isl_bounding --router-conditional-disagg-eff-isl-threshold 512 --router-conditional-disagg-eff-isl-ratio-threshold 0.5'],
    [{ policy: 'prefill_load' as const, islTokens: 512, ratio: 0.5, prefillBusy: 2, decodeBusy: 0.8 }, '--router-conditional-disagg --router-conditional-disagg-policy prefill_load --router-conditional-disagg-prefill-busy-threshold 2 --router-conditional-disagg-decode-busy-threshold 0.8'],
  ])('%j', (conditionalDisagg, words) => {
    const source = scenario({ pools: DISAGG, router: { conditionalDisagg } });
    expect(component(source, 'Frontend', { dynamoVersion: '1.4.0' }).words.join(' ').endsWith(words)).toBe(true);
    expect(component(source, 'VllmDecodeWorker', { dynamoVersion: '1.4.0' }).words).toContain('--kv-events-config');
    expect(component(scenario({ pools: DISAGG }), 'VllmDecodeWorker', { dynamoVersion: '1.4.0' }).words).not.toContain('--kv-events-config');
  });
});

describe('KV transfers that stay in a domain', () => {
  const policy = (topology: TopologySpec, dynamoVersion = '1.4.0'): unknown => generateDgd(scenario({ pools: DISAGG, router: { topology } }), { dynamoVersion }).manifest;
  it('are a transfer policy of the deployment', () => {
    expect(policy({ domains: ['zone'] })).toMatchObject({ spec: { experimental: { kvTransferPolicy: { domain: 'zone', labelKey: 'topology.kubernetes.io/zone', enforcement: 'required' } } } });
    expect(policy({ domains: ['host'], weight: 0.8 }, '1.2.0')).toMatchObject({ spec: { experimental: { kvTransferPolicy: { domain: 'host', labelKey: 'kubernetes.io/hostname', enforcement: 'preferred', preferredWeight: 0.8 } } } });
    expect(JSON.stringify(generateDgd(scenario({ pools: DISAGG })).manifest)).not.toContain('kvTransferPolicy');
  });
  it.each<[TopologySpec, string, string]>([
    [{ domains: ['zone'] }, '1.1.0', 'router.topology: Dynamo 1.1.0 cannot be given a KV transfer policy; deploy with --dynamo 1.2.0 or newer'],
    [{ domains: ['zone', 'host'] }, '1.4.0', 'router.topology.domains: a KV transfer policy has one domain'],
    [{ domains: ['rack'] }, '1.4.0', "router.topology.domains: no node label is known for domain 'rack'; deployable are region, zone, host"],
  ])('%j on Dynamo %s is refused', (topology, dynamoVersion, message) => {
    expect(refusal(scenario({ pools: DISAGG, router: { topology } }), { dynamoVersion })).toContain(`error E-UNSUPPORTED: ${message}`);
  });
});

describe('what cannot be deployed', () => {
  it.each([
    [scenario({ model: null }), {}, 'error E-MISSING: deployment.model'],
    [scenario({ model: './models/config.json' }), {}, 'error E-UNSUPPORTED: deployment.model'],
    [scenario({ pools: [pool('agg', 1, 1, { preemption: 'fifo' })] }), {}, 'error E-UNSUPPORTED: deployment.agg.engine.preemption'],
    [scenario({ pools: [pool('agg', 1, 1, { blockManager: 'kvbm' })] }), {}, "error E-UNSUPPORTED: deployment.agg.kv.eviction: vLLM cannot be told to evict by 'lineage'; only 'lru' can be deployed"],
    [scenario({ pools: [pool('agg', 1, 16, { ranks: 2 })] }), {}, 'error E-UNSUPPORTED: deployment.agg.dp: the operator cannot start data-parallel ranks of 16 GPUs on nodes of 8; use replicas instead of dp, or tp of at most 8'],
    [scenario({ pools: [pool('agg', 1, 6, { ranks: 4 })] }), {}, 'error E-FIT: deployment.agg.tp: ranks of 6 GPUs do not fill a node of 8; use a tp that divides 8'],
    [scenario({ pools: [pool('agg', 1, 4, { ranks: 3 })] }), {}, 'error E-FIT: deployment.agg.dp: 12 GPUs do not fill 2 nodes of 8'],
    [scenario({ pools: [pool('agg', 1, 1, { name: 'sglang' })] }), {}, "error E-UNSUPPORTED: deployment.engine: manifests for sglang are not supported yet; only 'vllm' can be deployed"],
    [scenario({ pools: [pool('agg', 1, 1, { name: 'trtllm' })] }), {}, 'error E-UNSUPPORTED: deployment.engine: manifests for trtllm are not supported yet'],
    [scenario({ pools: [pool('agg', 1, 1, { speculative: { tokens: 2, accept: [0.85, 0.3], seed: 42 } })] }), {}, 'error E-UNSUPPORTED: deployment.speculative: manifests with speculative decoding are not supported yet; deploy without it'],
    [scenario(), { dynamoVersion: '2.0.0' }, 'error E-UNSUPPORTED: --dynamo: Dynamo 2.0.0 is not known here; choose a release from 0.8 to 1.4.0'],
    [scenario(), { dynamoVersion: '0.7.1' }, 'error E-UNSUPPORTED: --dynamo'],
    [scenario(), { dynamoVersion: 'latest' }, 'error E-TYPE: --dynamo'],
    [scenario(), { name: 'Bad_Name' }, 'error E-TYPE: metadata.name'],
    [scenario(), { namespace: 'Bad/Space' }, 'error E-TYPE: --namespace'],
    [scenario(), { name: 'a'.repeat(60) }, 'service name'],
    [scenario(), { name: 'a'.repeat(36), dynamoVersion: '1.1.0' }, 'error E-RANGE: metadata.name'],
  ])('case %#', (source, options, message) => {
    expect(refusal(source, options)).toContain(message);
  });

  it('warns of settings vLLM refuses', () => {
    const engine = { blockTokens: 10, maxNumBatchedTokens: 128, chunkedPrefill: false };
    expect(generateDgd(scenario({ pools: [pool('agg', 1, 1, engine)] })).warnings.map(({ path }) => path)).toEqual([
      'deployment.agg.engine.block_size', 'deployment.agg.engine.max_num_batched_tokens', 'deployment.agg.engine.chunked_prefill',
    ]);
  });
});

describe('any scenario', () => {
  if (!hasCrds) console.info('note: ../shared/crds is absent; manifests are not held to the published schema');

  it('gives a valid manifest, in both versions, the same bytes each time, that YAML 1.1 reads back', () => {
    fc.assert(
      fc.property(scenarios, fc.constantFrom('v1alpha1' as const, 'v1beta1' as const), fc.constantFrom('1.2.0', '1.3.0', '1.4.0'), (source, api, dynamoVersion) => {
        const { manifest, yaml } = generateDgd(source, { api, dynamoVersion });
        expect(validateDgd(manifest, dynamoVersion).filter(({ code }) => code.startsWith('E-'))).toEqual([]);
        expect(parse(yaml, { version: '1.1' })).toEqual(manifest);
        expect(generateDgd(structuredClone(source), { api, dynamoVersion }).yaml).toBe(yaml);
        if (hasCrds) expect(crdErrors(manifest, api)).toBeNull();
        const gpus = componentsOf(manifest).reduce((sum, { replicas, nodeCount, gpusPerPod }) => sum + replicas * nodeCount * gpusPerPod, 0);
        expect(gpus).toBe(source.deployment.pools.reduce((sum, { replicas, tp }) => sum + replicas * tp, 0));
      }),
      { numRuns: 60 },
    );
  });

  it('quotes words that YAML 1.1 does not take for text', () => {
    for (const name of ['y', 'no', 'on']) {
      const { manifest, yaml } = generateDgd(scenario({ model: name }), { name });
      expect(parse(yaml, { version: '1.1' })).toEqual(manifest);
      expect(yaml).toContain(`name: "${name}"`);
    }
  });
});
