import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasVersionTag } from '../../src/deploy/dynamo.js';
import { DGD_NAME, internalName, nameFits, nameFrom, serviceName } from '../../src/deploy/names.js';

const single = [{ name: 'VllmPrefillWorker', nodeCount: 1 }];
const multi = [{ name: 'VllmPrefillWorker', nodeCount: 2 }];
const long = 'qwen3-235b-a22b-disagg-production-eu';

describe('names (spec: dgd section 12 example 7)', () => {
  it('fits or not, by release', () => {
    expect(nameFits('sim-pd', single, true)).toBe(true);
    expect(nameFits(long, single, true)).toBe(false);
    expect(nameFits(long, single, false)).toBe(true);
    expect(nameFits(long, multi, false)).toBe(false);
  });
  it('is shortened inside', () => {
    expect(internalName('sim-pd', single)).toBe('sim-pd');
    expect(internalName(long, single)).toBe('qwen3-235b-a22b-disagg--ed51');
    expect(internalName(long, multi)).toBe('qwe-ed51');
    expect(internalName('llama-3-3-70b-long-context-pool', single)).toBe('llama-3-3-70b-long-cont-4c48');
  });
  it('names services (example 2)', () => {
    expect(serviceName('sim-pd', 'VllmPrefillWorker')).toBe('sim-pd-vllmprefillworker');
    expect(serviceName('sim.pd', 'Frontend')).toBe('sim-pd-frontend');
  });
  it('any text becomes a name every operator accepts', () => {
    expect(nameFrom('Agg vs. Disagg!', single)).toBe('agg-vs-disagg');
    expect(nameFrom('2×tp4', single)).toBe('dgd-2-tp4');
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.constantFrom(single, multi), (text, components) => {
        const name = nameFrom(text, components);
        expect(name).toMatch(DGD_NAME);
        expect(nameFits(name, components, true)).toBe(true);
      }),
    );
  });
});

describe('image tags (spec: dgd section 12 example 15)', () => {
  it.each(['vllm-runtime:1.2.0', 'vllm-runtime:v1.2.0-cuda13', 'vllm-runtime:1.2.0-post.1', 'host:5000/vllm-runtime:1.2.0@sha256:0f'])('%s says its version', (image) => {
    expect(hasVersionTag(image)).toBe(true);
  });
  it.each(['vllm-runtime:latest', 'vllm-runtime:my-tag', 'vllm-runtime:1.2', 'vllm-runtime', 'host:5000/vllm-runtime'])('%s does not', (image) => {
    expect(hasVersionTag(image)).toBe(false);
  });
});
