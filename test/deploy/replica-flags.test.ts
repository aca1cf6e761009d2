import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { generateDgd } from '../../src/deploy/dgd.js';
import { componentsOf } from '../../src/deploy/view.js';
import type { ReplicasSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { scenario } from './scenarios.js';

describe('replicas of the frontend in a manifest', () => {
  const made = (frontendReplicas?: ReplicasSpec, policy: RouterSpec['policy'] = 'kv', api: 'v1alpha1' | 'v1beta1' = 'v1beta1') => {
    const { manifest, warnings } = generateDgd({ ...scenario({ router: { policy } }), ...(frontendReplicas ? { frontendReplicas } : {}) }, { api });
    const { replicas, words } = componentsOf(manifest).find(({ type }) => type === 'frontend')!;
    return { replicas, syncs: words.includes('--router-replica-sync'), warnings: warnings.map(({ code, path }) => `${code} ${path}`).filter((text) => text.includes('frontend')) };
  };

  it.each(['v1alpha1', 'v1beta1'] as const)('as many pods, which tell each other what they book (%s)', (api) => {
    expect(made(undefined, 'kv', api)).toEqual({ replicas: 1, syncs: false, warnings: [] });
    expect(made({ count: 3, balance: 'random' }, 'kv', api)).toEqual({ replicas: 3, syncs: false, warnings: [] });
    expect(made({ count: 3, balance: 'random', syncMs: 5 }, 'kv', api)).toEqual({ replicas: 3, syncs: true, warnings: ['W-COMPAT frontend.sync.delay'] });
    expect(made({ count: 2, balance: 'round_robin' }, 'round_robin', api)).toEqual({ replicas: 2, syncs: false, warnings: ['W-COMPAT frontend.balance'] });
  });

  it('loads that no frontend tells of are refused', () => {
    const problems = (): string[] => {
      try {
        made({ count: 2, balance: 'random', syncMs: 0 }, 'least_loaded');
      } catch (error) {
        return (error as InputError).problems.map(({ code, path }) => `${code} ${path}`);
      }
      return [];
    };
    expect(problems()).toEqual(['E-UNSUPPORTED frontend.sync']);
  });
});
