import { describe, expect, it } from 'vitest';
import { generateDgd } from '../../src/deploy/dgd.js';
import { validateDgd } from '../../src/deploy/validate.js';
import { crdErrors, hasCrds, hasSpec, specExamples } from './crd.js';
import { DISAGG, pool, scenario } from './scenarios.js';

type Node = Record<string, any>;

const manifest = (api: 'v1alpha1' | 'v1beta1', source = scenario({ pools: DISAGG })): Node => structuredClone(generateDgd(source, { api, dynamoVersion: '1.2.0' }).manifest);
const worker = (object: Node, index = 1): Node => object['spec'].components[index];
const main = (object: Node, index = 1): Node => worker(object, index)['podTemplate'].spec.containers[0];
const codes = (object: unknown): string[] => validateDgd(object).map(({ code, path }) => `${code} ${path}`);

describe('a good manifest', () => {
  it('has no problem', () => {
    expect(codes(manifest('v1beta1'))).toEqual([]);
    expect(codes(manifest('v1alpha1'))).toEqual([]);
  });
});

/** What a change makes of a good v1beta1 manifest, and whether the published schema sees it too. */
const BETA: readonly [string, (object: Node) => void, string, boolean][] = [
  ['another kind', (o) => { o['kind'] = 'Deployment'; }, 'E-KIND kind', false],
  ['another version', (o) => { o['apiVersion'] = 'nvidia.com/v1'; }, 'E-ENUM apiVersion', false],
  ['no component', (o) => { o['spec'].components = []; }, 'E-MISSING spec', false],
  ['unknown field', (o) => { o['spec'].replicas = 1; }, 'E-FIELD spec.replicas', true],
  ['v1alpha1 field in a component', (o) => { worker(o)['resources'] = {}; }, 'E-FIELD spec.components.1.resources', true],
  ['null', (o) => { worker(o)['scalingAdapter'] = null; }, 'E-TYPE spec.components.1.scalingAdapter', true],
  ['unknown type', (o) => { worker(o)['type'] = 'mocker'; }, 'E-ENUM spec.components.1.type', true],
  ['unknown framework', (o) => { o['spec'].backendFramework = 'mocker'; }, 'E-ENUM spec.backendFramework', true],
  ['negative replicas', (o) => { worker(o)['replicas'] = -1; }, 'E-TYPE spec.components.1.replicas', true],
  ['one node', (o) => { worker(o)['multinode'] = { nodeCount: 1 }; }, 'E-TYPE spec.components.1.multinode.nodeCount', true],
  ['number among arguments', (o) => { main(o)['args'].push(8); }, 'E-TYPE spec.components.1.podTemplate.spec.containers.0.args', true],
  ['no name', (o) => { delete worker(o)['name']; }, 'E-MISSING spec.components.1.name', true],
  ['name with underscore', (o) => { worker(o)['name'] = 'a_b'; }, 'E-TYPE spec.components.1.name', true],
  ['names equal but for case', (o) => { worker(o)['name'] = 'FRONTEND'; }, 'E-DUPLICATE spec.components.1', false],
  ['26 components', (o) => { o['spec'].components = Array.from({ length: 26 }, (_, i) => ({ ...worker(o), name: `w${i}` })); }, 'E-RANGE spec.components', true],
  ['no image', (o) => { delete main(o)['image']; }, 'E-MISSING spec.components.1', false],
  ['tag without version', (o) => { main(o)['image'] = 'vllm-runtime:latest'; }, 'E-MISSING spec.components.1.runtimeVersionOverride', false],
  ['override with leading zero', (o) => { worker(o)['runtimeVersionOverride'] = '1.02.0'; }, 'E-TYPE spec.components.1.runtimeVersionOverride', true],
  ['sidecar without image', (o) => { worker(o)['podTemplate'].spec.containers.push({ name: 'side' }); }, 'E-MISSING spec.components.1', false],
  ['frontend sidecar that is not there', (o) => { worker(o)['frontendSidecar'] = 'side'; }, 'E-MISSING spec.components.1.frontendSidecar', false],
  ['more available than replicas', (o) => { worker(o)['minAvailable'] = 3; }, 'E-RANGE spec.components.1.minAvailable', false],
  ['minAvailable without Grove', (o) => { worker(o)['minAvailable'] = 1; o['metadata'].annotations = { 'nvidia.com/enable-grove': 'false' }; }, 'E-COMBINATION spec.components.1.minAvailable', false],
  ['eppConfig on a worker', (o) => { worker(o)['eppConfig'] = { config: {} }; }, 'E-COMBINATION spec.components.1.eppConfig', false],
  ['epp without configuration', (o) => { worker(o, 0)['type'] = 'epp'; }, 'E-CONFLICT spec.components.0.eppConfig', false],
  ['two epp', (o) => { o['spec'].components.push(...['a', 'b'].map((name) => ({ name, type: 'epp', eppConfig: { config: {} } }))); }, 'E-DUPLICATE spec.components.4', false],
  ['epp with two replicas', (o) => { worker(o, 0)['type'] = 'epp'; worker(o, 0)['replicas'] = 2; worker(o, 0)['eppConfig'] = { config: {} }; }, 'E-RANGE spec.components.0', false],
  ['negative shared memory', (o) => { worker(o)['sharedMemorySize'] = '-1Gi'; }, 'E-TYPE spec.components.1.sharedMemorySize', false],
  ['restart on create', (o) => { o['spec'].restart = { id: 'a' }; }, 'E-COMBINATION spec.restart', false],
  ['executor unknown', (o) => { o['metadata'].annotations = { 'nvidia.com/vllm-distributed-executor-backend': 'uni' }; }, 'E-ENUM metadata.annotations.nvidia.com/vllm-distributed-executor-backend', false],
  ['component topology alone', (o) => { worker(o)['topologyConstraint'] = { packDomain: 'rack' }; }, 'E-MISSING spec.components.1.topologyConstraint', false],
  ['topology without domain', (o) => { o['spec'].topologyConstraint = { clusterTopologyName: 't' }; }, 'E-MISSING spec.topologyConstraint.packDomain', false],
  ['name too long for its services', (o) => { o['metadata'].name = 'a'.repeat(50); }, 'E-RANGE metadata.name', false],
  ['name in capitals', (o) => { o['metadata'].name = 'Sim'; }, 'E-TYPE metadata.name', false],
  ['engine other than declared', (o) => { o['spec'].backendFramework = 'sglang'; }, 'E-CONFLICT spec.backendFramework', false],
  ['two engines', (o) => { main(o)['command'][2] = 'dynamo.sglang'; }, 'E-CONFLICT spec', false],
  ['fewer GPUs than the command uses', (o) => { main(o)['resources'] = { limits: { 'nvidia.com/gpu': '1' } }; }, 'E-FIT spec.components.1', false],
  ['several nodes and no parallelism over them', (o) => { worker(o)['multinode'] = { nodeCount: 2 }; }, 'E-FIT spec.components.1', false],
  ['several nodes and the short flag', (o) => { worker(o)['multinode'] = { nodeCount: 2 }; main(o)['args'].push('-tp', '4'); }, 'E-COMBINATION spec.components.1', false],
  ['several nodes and --x=v', (o) => { worker(o)['multinode'] = { nodeCount: 2 }; main(o)['args'].push('--tensor-parallel-size=4'); }, 'E-COMBINATION spec.components.1', false],
  ['prefill without transfer', (o) => { main(o)['args'] = ['--tensor-parallel-size', '2', '--block-size', '16', '--kv-events-config', '{}']; }, 'E-MISSING spec.components.1', false],
  ['legacy connector', (o) => { main(o)['args'].push('--connector', 'nixl'); }, 'E-UNSUPPORTED spec.components.1', false],
  ['KVBM on decode', (o) => { main(o, 2)['args'].push('--kv-transfer-config', '{"kv_connector":"DynamoConnector"}'); }, 'E-COMBINATION spec.components.2', false],
  ['block sizes differ', (o) => { main(o, 2)['args'].push('--block-size', '32'); }, 'E-COMBINATION spec.components.2', false],
  ['event port taken', (o) => { main(o)['args'].push('--kv-events-config', '{"endpoint": "tcp://*:9090"}'); main(o)['args'].splice(main(o)['args'].indexOf('--kv-events-config'), 2); }, 'E-CONFLICT spec.components.1', false],
  ['no frontend', (o) => { o['spec'].components.shift(); }, 'W-COMPAT spec', false],
  ['prefill alone', (o) => { o['spec'].components.pop(); }, 'W-COMPAT spec', false],
  ['KV routing without events', (o) => { main(o)['args'].splice(main(o)['args'].indexOf('--kv-events-config'), 2); }, 'W-COMPAT spec.components.1', false],
  ['planner without adapters', (o) => { o['spec'].components.push({ name: 'Planner', type: 'planner', podTemplate: { spec: { containers: [{ name: 'main', image: 'dynamo-planner:1.2.0' }] } } }); }, 'W-COMPAT spec.components.1', false],
];

describe('v1beta1', () => {
  it.each(BETA)('%s', (_, change, expected, inSchema) => {
    const object = manifest('v1beta1');
    change(object);
    expect(codes(object)).toContain(expected);
    if (hasCrds && inSchema) expect(crdErrors(object, 'v1beta1')).not.toBeNull();
  });
});

const ALPHA: readonly [string, (object: Node, service: Node) => void, string][] = [
  ['number for text', (_, s) => { s['resources'].limits.gpu = 2; }, 'E-TYPE spec.services.VllmPrefillWorker.resources.limits.gpu'],
  ['v1beta1 field', (_, s) => { s['sharedMemorySize'] = '1Gi'; }, 'E-FIELD spec.services.VllmPrefillWorker.sharedMemorySize'],
  ['shared memory of no size', (_, s) => { s['sharedMemory'] = { size: '0' }; }, 'E-RANGE spec.services.VllmPrefillWorker.sharedMemory.size'],
  ['mount without a point', (_, s) => { s['volumeMounts'] = [{ name: 'cache' }]; }, 'E-MISSING spec.services.VllmPrefillWorker.volumeMounts.0.mountPoint'],
  ['ingress without host', (_, s) => { s['ingress'] = { enabled: true }; }, 'E-MISSING spec.services.VllmPrefillWorker.ingress.host'],
  ['created claim without size', (o) => { o['spec'].pvcs = [{ name: 'cache', create: true, storageClass: 'x', volumeAccessMode: 'ReadWriteMany' }]; }, 'E-MISSING spec.pvcs.0.size'],
  ['claim without name', (o) => { o['spec'].pvcs = [{}]; }, 'E-MISSING spec.pvcs.0.name'],
  ['name with underscore', (o, s) => { o['spec'].services['a_b'] = s; }, 'E-TYPE spec.services.a_b'],
];

describe('v1alpha1', () => {
  it.each(ALPHA)('%s', (_, change, expected) => {
    const object = manifest('v1alpha1');
    change(object, object['spec'].services.VllmPrefillWorker);
    expect(codes(object)).toContain(expected);
  });
});

describe('kvTransferPolicy (spec: dgd section 12 example 14)', () => {
  const zone = { domain: 'zone', labelKey: 'topology.kubernetes.io/zone' };
  it.each([
    [zone, true],
    [{ ...zone, preferredWeight: 0.8 }, false],
    [{ ...zone, enforcement: 'preferred', preferredWeight: 0.8 }, true],
    [{ ...zone, enforcement: 'preferred' }, false],
    [{ ...zone, enforcement: 'preferred', preferredWeight: 2 }, false],
    [{ ...zone, clusterTopologyName: 't' }, false],
    [{ domain: 'zone' }, false],
    [{ ...zone, domain: 'Zone_A' }, false],
    [{ labelKey: zone.labelKey }, false],
    [{ ...zone, labelKey: 'x'.repeat(318) }, false],
  ])('%j: %s', (policy, good) => {
    const object = manifest('v1beta1');
    object['spec'].experimental = { kvTransferPolicy: policy };
    expect(validateDgd(object).length === 0).toBe(good);
  });
});

describe('vLLM over several nodes (spec: dgd section 12 example 9)', () => {
  const args = (flags: string[]): Node => {
    const object = manifest('v1beta1', scenario({ pools: [pool('agg', 1, 16)] }));
    main(object)['args'] = ['--kv-events-config', '{}', ...flags];
    return object;
  };
  it.each([
    [['--tensor-parallel-size', '16'], []],
    [['--tensor-parallel-size', '4', '--data-parallel-size', '4'], []],
    [['--tensor-parallel-size', '4'], ['E-FIT spec.components.1']],
    [['--tensor-parallel-size=16'], ['E-COMBINATION spec.components.1']],
  ])('%j', (flags, expected) => {
    expect(codes(args(flags))).toEqual(expected);
  });
});

describe('older operators', () => {
  it('take any image tag and --connector, and shorten no name', () => {
    const object = structuredClone(generateDgd(scenario({ pools: DISAGG }), { dynamoVersion: '0.9.0', image: 'vllm-runtime:latest' }).manifest) as Node;
    expect(validateDgd(object, '0.9.0')).toEqual([]);
    object['metadata'].name = 'qwen3-235b-a22b-disagg-production-eu';
    expect(validateDgd(object, '1.1.0').map(({ code, path }) => `${code} ${path}`)).toContain('E-RANGE metadata.name');
    expect(validateDgd(object, '0.9.0').map(({ path }) => path)).toEqual(['metadata.name']);
  });
});

if (!hasSpec) console.info('note: ../shared/spec is absent; its example objects are not checked');
describe.skipIf(!hasSpec || !hasCrds)('example objects of the specification', () => {
  it.each([['9.2', 2], ['9.3', 1], ['9.4', 1]] as const)('section %s', (section, count) => {
    const examples = specExamples(section);
    expect(examples).toHaveLength(count);
    for (const example of examples) {
      expect(validateDgd(example)).toEqual([]);
      expect(crdErrors(example, String(example['apiVersion']).slice(11) as 'v1beta1')).toBeNull();
    }
  });
});
