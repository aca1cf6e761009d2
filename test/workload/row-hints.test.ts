import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { RowText } from '../../src/workload/formats/row-fields.js';
import { readRowHints, rowHintsData, type RowHints } from '../../src/workload/formats/row-hints.js';

function read(row: object): RowHints {
  return readRowHints(new RowText('trace.jsonl', 7, JSON.stringify(row)).object());
}

function problemOf(row: object): string {
  try {
    read(row);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'none';
}

describe('hints of a row', () => {
  it('take priorities from nvext before those of the row', () => {
    expect(read({ priority: 2, strict_priority: 1 })).toEqual({ priority: 2, strictPriority: 1 });
    expect(read({ priority: 2, strict_priority: 1, nvext: { agent_hints: { priority: -5, strict_priority: 3 } } })).toEqual({ priority: -5, strictPriority: 3 });
    expect(read({ priority: 2, nvext: { agent_hints: {} } })).toEqual({ priority: 2 });
  });

  it('take latency sensitivity for a priority, where there is none', () => {
    expect(read({ nvext: { agent_hints: { latency_sensitivity: 1.5 } } })).toEqual({ priority: 1.5 });
    expect(read({ priority: 4, nvext: { agent_hints: { latency_sensitivity: 1.5 } } })).toEqual({ priority: 4 });
  });

  it.each([
    [undefined, 300_000],
    [90, 90_000],
    ['90', 90_000],
    ['90s', 90_000],
    ['2m', 120_000],
    ['3h', 10_800_000],
  ])('keep a prompt for a ttl of %s', (ttl, retainMs) => {
    expect(read({ nvext: { cache_control: { type: 'ephemeral', ttl } } }).hints).toEqual({ retainMs });
  });

  it('name the decode worker as either name does', () => {
    expect(read({ nvext: { decode_worker_id: 4, prefill_worker_id: 2, prefill_dp_rank: 1 } }).hints).toEqual({ worker: 4, prefillWorker: 2, prefillRank: 1 });
    expect(problemOf({ nvext: { decode_worker_id: 4, backend_instance_id: 4 } })).toContain('nvext.backend_instance_id: another name of decode_worker_id');
  });

  it('replace settings of the router', () => {
    const override = { overlap_score_credit: 2, prefill_load_scale: 0.5, router_temperature: 0.1, assume_kv_reuse: false, track_prefill_tokens: true, shared_cache_multiplier: 0.25 };
    const expected = { overlapScoreCredit: 2, prefillLoadScale: 0.5, temperature: 0.1, assumeKvReuse: false, trackPrefillTokens: true, sharedCacheMultiplier: 0.25 };
    expect(read({ router_config_override: override }).hints).toEqual({ override: expected });
    expect(read({ router_config_override: { overlap_score_weight: 2 } }).hints).toEqual({ override: { prefillLoadScale: 2 } });
  });

  it.each([
    [{ nvext: { agent_hints: { osl: 'many' } } }, 'nvext.agent_hints.osl: "many" is not a number'],
    [{ nvext: { agent_hints: { speculative_prefill: true } } }, 'E-UNSUPPORTED: nvext.agent_hints.speculative_prefill'],
    [{ nvext: { cache_control: { ttl: '1h' } } }, 'nvext.cache_control.type: missing'],
    [{ nvext: { cache_control: { type: 'ephemeral', ttl: '1d' } } }, 'nvext.cache_control.ttl: "1d" is not a time'],
    [{ routing_constraints: { taints: [] } }, 'routing_constraints.taints: is not known here; use required_taints'],
    [{ routing_constraints: { preferred_taints: { a: 'x' } } }, 'routing_constraints.preferred_taints.a: "x" is not a number'],
    [{ routing_constraints: { allowed_worker_ids: [-1] } }, 'routing_constraints.allowed_worker_ids.0: -1 is negative'],
    [{ router_config_override: { host_cache_hit_weight: 1 } }, 'router_config_override.host_cache_hit_weight: is not known here'],
    [{ router_config_override: { shared_cache_multiplier: 2 } }, 'router_config_override.shared_cache_multiplier: 2 exceeds 1'],
    [{ router_config_override: { assume_kv_reuse: 1 } }, 'router_config_override.assume_kv_reuse: 1 is not true or false'],
  ])('refuse %j by name', (row, message) => {
    const problem = problemOf(row);
    expect(problem).toContain(message);
    expect(problem).toContain('trace.jsonl:7:');
  });

  it('are written as they are read', () => {
    const rows: RowHints[] = [
      {},
      { priority: 3, strictPriority: 2 },
      { priority: 0.5, hints: { expectedOutputTokens: 9 } },
      { hints: { policyClass: 'a', requiredTaints: ['x'], preferredTaints: { y: -0.5 }, allowedWorkers: [1], worker: 2, rank: 1, prefillWorker: 0, prefillRank: 3, retainMs: 7000, override: { temperature: 0, assumeKvReuse: true } } },
    ];
    for (const row of rows) expect(read(rowHintsData(row))).toEqual(row);
  });
});
