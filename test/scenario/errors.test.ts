import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadFile } from '../../src/scenario/load.js';
import { environment, files, load, problemsOf, scenarioText } from './support.js';

const folder = join(import.meta.dirname, '../fixtures/scenarios');
const worked = readdirSync(folder).filter((name) => name.endsWith('.txt')).map((name) => name.slice(0, -4));

describe('worked errors', () => {
  it.each(worked)('%s', (name) => {
    const expected = readFileSync(join(folder, `${name}.txt`), 'utf8').trim().split('\n');
    expect(problemsOf(() => loadFile(join(folder, `${name}.yaml`), { environment }))).toEqual(expected);
  });

  it('--set with a list index on a mapping', () => {
    expect(problemsOf(() => loadFile(join(folder, 'valid.yaml'), { environment, sets: ['deployment.agg.0.tp=2'] }))).toEqual([
      '--set[1]:1:16: error E-PATH: deployment.agg.0: agg is a mapping, not a list; use deployment.agg.tp',
    ]);
  });

  it('the valid file they vary is valid', () => {
    expect(loadFile(join(folder, 'valid.yaml'), { environment }).kind).toBe('scenario');
  });
});

const one = (text: string, sets: readonly string[] = []): string => {
  const problems = problemsOf(() => load(text, sets));
  expect(problems).toHaveLength(1);
  return problems[0]!;
};

describe('bad input', () => {
  it.each([
    ['slo: {ttft: -5 ms}', "test.yaml:3:13: error E-RANGE: slo.ttft: -5 ms is negative; use 0 or more"],
    ['slo: {ttft: .nan}', "test.yaml:3:13: error E-TYPE: slo.ttft: .nan is not a time; write a time such as '500 ms'"],
    ['slo: {ttft: 0}', 'test.yaml:3:13: error E-RANGE: slo.ttft: 0 is out of range; use more than 0'],
    ['slo: {ttft: 5 parsecs}', "test.yaml:3:13: error E-UNIT: slo.ttft: '5 parsecs' has the unknown unit 'parsecs'; use one of ns, us, µs, ms, s, min, h"],
    ['slo: {ttft: [1 s]}', 'test.yaml:3:13: error E-TYPE: slo.ttft: a list where one value is expected; write a time with its unit'],
    ['slo: 5', "test.yaml:3:6: error E-TYPE: slo: '5' is not a mapping; write slo with ttft, itl, e2e, at"],
    ['slo: {at: p90}', "test.yaml:3:1: error E-MISSING: slo: no bound is set; add 'ttft: 500 ms', 'itl: 50 ms' or 'e2e: 10 s'"],
    ['slo: {itl: 5 ms, e2e: 1 s}', 'test.yaml:3:18: error E-CONFLICT: slo.e2e: slo.itl is set at line 3; keep e2e, or ttft and itl'],
    ['run: {seed: 1.5}', 'test.yaml:3:13: error E-TYPE: run.seed: 1.5 is not an integer; write an integer of at least 0'],
    ['run: {seed: "7"}', "test.yaml:3:13: error E-TYPE: run.seed: '7' is text; write 7 without quotes"],
    ['run: {seed: 7 s}', "test.yaml:3:13: error E-UNIT: run.seed: '7 s' is a time; write an integer of at least 0, without a unit"],
    ['run: {fidelity: real}', "test.yaml:3:17: error E-ENUM: run.fidelity: 'real' is not one of realistic, dynosim, aisimulate; use one of these"],
    ['run: {capture: [requests, passes]}', "test.yaml:3:27: error E-UNSUPPORTED: run.capture.1: 'passes' is not supported yet; use one of requests, timeline"],
    ['timing: {source: measured, allow: [anything]}', "test.yaml:3:36: error E-ENUM: timing.allow.0: 'anything' is not one of engine, host, synthetic; use one of these"],
    ['timing: {source: fixed, prefill: 20 ms}', "test.yaml:3:1: error E-MISSING: timing.decode: required; add 'decode: 5 ms'"],
    ['timing: {prefill: 20 ms}', 'test.yaml:3:10: error E-NO-EFFECT: timing.prefill: not read by source fitted; remove it or set source: fixed'],
    ['timings: polynomial', "test.yaml:3:1: error E-FIELD: timings: unknown field; did you mean 'timing'?"],
    ['é: {slo: 1, router: }', 'test.yaml:3:1: error E-FIELD: é: unknown field; known here: name, extends, workload, deployment, router, frontend, timing, slo, cost, run, report'],
    ['report: {warmup: 10 s}', "test.yaml:3:18: error E-UNIT: report.warmup: '10 s' is a time; write an integer of at least 0, without a unit"],
    ['report: {percentiles: [50]}', 'test.yaml:3:10: error E-UNSUPPORTED: report.percentiles: not supported yet; remove it'],
    ['cost: 3.5', "test.yaml:3:7: error E-UNIT: cost.gpu_hour: 3.5 has no unit; write '$3.50/h'"],
    ['objectives: [max gpus]', "test.yaml:3:1: error E-MISSING: space: required beside objectives; add 'space', or remove objectives"],
    ['traffic: {}', 'test.yaml:3:1: error E-UNSUPPORTED: traffic: an AISimulate file is not supported yet; write a scenario with workload and deployment'],
    ['__proto__: {tp: 1}', 'test.yaml:3:1: error E-FIELD: __proto__: unknown field; known here: name, extends, workload, deployment, router, frontend, timing, slo, cost, run, report'],
  ])('%s', (line, expected) => {
    expect(one(scenarioText(line))).toBe(expected);
  });

  const deployment = (fields: string): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}\ndeployment: {${fields}}\n`;
  const named = 'model: Qwen/Qwen3-8B, hardware: h200_sxm';
  it.each([
    [`model: Qwen/Qwen3-9B, hardware: h200_sxm, agg: {}`, "test.yaml:2:21: error E-ENUM: deployment.model: 'Qwen/Qwen3-9B' is not a known model; did you mean 'Qwen/Qwen3-8B'?"],
    [`model: Qwen/Qwen3-8B, hardware: h2000, agg: {}`, "test.yaml:2:46: error E-ENUM: deployment.hardware: 'h2000' is not known hardware; use one of h100_sxm, h200_sxm"],
    [named, "test.yaml:2:1: error E-MISSING: deployment: no workers: agg, or prefill with decode, is required; add 'agg: {replicas: 2}'"],
    [`${named}, agg: {tp: 2, shape: tp2}`, 'test.yaml:2:69: error E-CONFLICT: deployment.agg.shape: deployment.agg.tp is set at line 2; keep one'],
    [`${named}, agg: {replicas: 0}`, 'test.yaml:2:72: error E-RANGE: deployment.agg.replicas: 0 is out of range; write an integer of at least 1'],
    [`${named}, engine: sglan, agg: {}`, "test.yaml:2:64: error E-ENUM: deployment.engine.name: 'sglan' is not one of vllm, sglang, trtllm; did you mean 'sglang'?"],
    [`${named}, engine: {name: sglang, max_num_batched_tokens: 9}, agg: {}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.engine.max_num_batched_tokens: not read by sglang; remove it'],
    [`${named}, engine: {name: sglang, chunked_prefill: false}, agg: {}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.engine.chunked_prefill: not read by sglang; remove it'],
    [`${named}, engine: sglang, agg: {engine: {preemption: fifo}}`, 'test.yaml:2:87: error E-NO-EFFECT: deployment.agg.engine.preemption: not read by sglang; remove it'],
    [`${named}, engine: {name: trtllm, preemption: fifo}, agg: {}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.engine.preemption: not read by trtllm; remove it'],
    [`${named}, engine: {name: trtllm, decode_interval: 2}, agg: {}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.engine.decode_interval: not read by trtllm; remove it or set engine: sglang'],
    [`${named}, engine: {name: sglang, receive_interval: 30}, prefill: {}, decode: {}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.engine.receive_interval: prefill workers have no decode passes that requests from outside wait for; remove it'],
    [`${named}, engine: {schedule_policy: lpm}, agg: {}`, 'test.yaml:2:65: error E-NO-EFFECT: deployment.engine.schedule_policy: not read by vllm; remove it or set engine: sglang'],
    [`${named}, engine: {name: sglang, schedule_conservativeness: 1.5}, agg: {}`, 'test.yaml:2:106: error E-RANGE: deployment.engine.schedule_conservativeness: 1.5 is out of range; write a number from 0 to 1'],
    [`${named}, engine: {name: sglang, block_size: 48, chunked_prefill_size: 100}, agg: {}`, 'test.yaml:2:117: error E-RANGE: deployment.engine.chunked_prefill_size: 100 is not a multiple of block_size (48); use 144'],
    [`${named}, engine: {block_size: 1}, agg: {}`, 'test.yaml:2:77: error E-RANGE: deployment.engine.block_size: 1 is out of range; write an integer of at least 2'],
    [`${named}, speculative: {tokens: 2}, agg: {}`, "test.yaml:2:56: error E-UNSUPPORTED: deployment.speculative: fitted timing does not know draft tokens; remove it or set 'timing: tables'"],
    [`${named}, engine: {prefill_interval: 2}, agg: {}`, 'test.yaml:2:65: error E-UNSUPPORTED: deployment.engine.prefill_interval: not supported yet; remove it'],
    [`${named}, prefill: {engine: sglang}, decode: {engine: vllm}`, 'test.yaml:2:100: error E-COMBINATION: deployment.decode.engine.name: prefill has sglang and decode vllm; set deployment.engine.name for both'],
    [`${named}, agg: {}, kv_transfer: {bandwidth: tcp}`, 'test.yaml:2:79: error E-NO-EFFECT: deployment.kv_transfer.bandwidth: aggregated workers send no KV; remove it or use prefill and decode pools'],
    [`${named}, prefill: {}, decode: {}, kv_transfer: {bandwidth: none, latency: 1 ms}`, 'test.yaml:2:112: error E-NO-EFFECT: deployment.kv_transfer.latency: not read with bandwidth none: transfers are instant; remove it or set bandwidth'],
    [`${named}, prefill: {}, decode: {}, kv_transfer: {bandwidth: fast}`, "test.yaml:2:106: error E-ENUM: deployment.kv_transfer.bandwidth: 'fast' is not one of none, nvlink, ib_rdma_gdr, roce_rdma_gdr, efa_libfabric_gdr, tcp; use one of these"],
    [`${named}, prefill: {engine: {block_size: 32}}, decode: {}`, 'test.yaml:2:75: error E-COMBINATION: deployment.prefill.engine.block_size: prefill has 32 and decode 64; set deployment.engine.block_size for both'],
    [`${named}, agg: {kv: {blocks: 100}}, engine: {memory_fraction: 90%}`, 'test.yaml:2:91: error E-NO-EFFECT: deployment.engine.memory_fraction: not read where kv.blocks is given; remove it or set kv.blocks: auto'],
    [`${named}, engine: {max_num_seqs: 9}, agg: {engine: {max_num_seqs: 8}}`, 'test.yaml:2:65: error E-NO-EFFECT: deployment.engine.max_num_seqs: not read in this configuration; remove it'],
  ])('deployment %s', (fields, expected) => {
    expect(one(deployment(fields))).toBe(expected);
  });

  it.each([
    ['{accept: [0.5]}', '', "test.yaml:2:56: error E-MISSING: deployment.speculative.tokens: required; add 'tokens: 2'"],
    ['{tokens: 6}', '', 'test.yaml:2:78: error E-RANGE: deployment.speculative.tokens: 6 is out of range; write an integer from 1 to 5'],
    ['{tokens: 1, accept: [1.5]}', '', 'test.yaml:2:90: error E-RANGE: deployment.speculative.accept.0: 1.5 is out of range; write a number from 0 to 1'],
    ['{tokens: 1, accept: [0.5, 0.5]}', '', 'test.yaml:2:89: error E-RANGE: deployment.speculative.accept: 2 probabilities for 1 draft tokens; write 1 at most'],
    ['{tokens: 1, method: ngram}', '', "test.yaml:2:89: error E-UNSUPPORTED: deployment.speculative.method: 'ngram' is not supported yet; use one of mtp"],
    ['{tokens: 1}', ', decode_speedup: 2', 'test.yaml:3:30: error E-CONFLICT: timing.decode_speedup: deployment.speculative is set at line 2; keep one'],
  ])('speculative %s', (speculative, timing, expected) => {
    expect(one(`${deployment(`${named}, speculative: ${speculative}, agg: {}`)}timing: {source: polynomial${timing}}\n`)).toBe(expected);
  });

  it('sglang keeps its cache on under dynosim', () => {
    const text = `${deployment(`${named}, engine: {name: sglang, prefix_caching: false}, agg: {}`)}run: {fidelity: dynosim}\n`;
    expect(one(text)).toBe('test.yaml:2:79: error E-NO-EFFECT: deployment.engine.prefix_caching: sglang keeps its cache on under fidelity dynosim; remove it or set another run.fidelity');
    expect(problemsOf(() => load(text.replace('false', 'true')))).toEqual([]);
    expect(problemsOf(() => load(text.replace('dynosim', 'realistic')))).toEqual([]);
  });

  const workload = (fields: string): string => `workload: {${fields}}\ndeployment: {${named}, agg: {replicas: 2}}\n`;
  it.each([
    ['load: {concurrency: 2}', "test.yaml:1:1: error E-MISSING: workload: one of trace, synthetic, generate is required; add 'synthetic: {isl: 1024, osl: 128}'"],
    ['synthetic: {isl: 8, osl: 8}', "test.yaml:1:12: error E-MISSING: workload.load: required beside synthetic; add 'load: {concurrency: 16}'"],
    ['synthetic: {isl: 8}, load: {concurrency: 2}', "test.yaml:1:12: error E-MISSING: workload.synthetic.osl: required; add 'osl: 1024'"],
    ['synthetic: {isl: 8, osl: 8}, load: {speedup: 2}', "test.yaml:1:48: error E-COMBINATION: workload.load.speedup: synthetic requests have no timestamps; write 'concurrency: 16' or 'rate: 8 req/s'"],
    ['synthetic: {isl: 8, osl: 8}, load: {rate: 2 req/s, smoothness: 3}', 'test.yaml:1:63: error E-NO-EFFECT: workload.load.smoothness: not read with poisson arrivals; remove it or set arrivals: gamma'],
    ['synthetic: {isl: 8, osl: 8}, load: {concurrency: 2, rate: 2 req/s}', 'test.yaml:1:64: error E-CONFLICT: workload.load.rate: workload.load.concurrency is set at line 1; keep one of concurrency, rate, speedup'],
    ['synthetic: {isl: {mean: 8}, osl: 8}, load: {concurrency: 2}', "test.yaml:1:24: error E-MISSING: workload.synthetic.isl.std: required; add 'std: 256'"],
    ['synthetic: {isl: {uniform: [8, 4]}, osl: 8}, load: {concurrency: 2}', 'test.yaml:1:39: error E-RANGE: workload.synthetic.isl.uniform: 8 is above 4; write the smaller end first'],
    ['synthetic: {isl: {values: f.txt}, osl: 8}, load: {concurrency: 2}', 'test.yaml:1:30: error E-UNSUPPORTED: workload.synthetic.isl.values: not supported yet; remove it'],
    ['synthetic: {isl: 8, osl: 8, media: 4}, load: {concurrency: 2}', 'test.yaml:1:40: error E-UNSUPPORTED: workload.synthetic.media: not supported yet; remove it'],
    ['synthetic: {isl: 8, osl: 8, history: fresh}, load: {concurrency: 2}', 'test.yaml:1:40: error E-NO-EFFECT: workload.synthetic.history: a session has one turn; remove it or set turns'],
    ['synthetic: {isl: 8, osl: 8, turns: 4, think_time: {}}, load: {concurrency: 2}', "test.yaml:1:50: error E-MISSING: workload.synthetic.think_time.mean: required; add 'mean: 10 s'"],
    ['synthetic: {isl: 8, osl: 8, turns: 4}, load: {rate: 2 req/s}', "test.yaml:1:64: error E-UNIT: workload.load.rate: 2 req/s, and what arrives are sessions of 4 turns; write '0.5 sessions/s'"],
    ['synthetic: {isl: 8, osl: 8, turns: 4}, requests: 9, load: {concurrency: 2}', "test.yaml:1:51: error E-NO-EFFECT: workload.requests: sessions have several turns; write 'sessions'"],
    ['synthetic: {isl: 8, osl: 8}, sessions: 9, load: {concurrency: 2}', "test.yaml:1:41: error E-NO-EFFECT: workload.sessions: a session has one turn; write 'requests'"],
    ['synthetic: {isl: 8, osl: 8, turns: 4}, sessions: 9, rounds: 3, load: {concurrency: 2}', 'test.yaml:1:64: error E-CONFLICT: workload.rounds: workload.sessions is set at line 1; keep one'],
    ['synthetic: {isl: 8, osl: 8, turns: 4000000}, sessions: 9, load: {concurrency: 2}', 'test.yaml:1:67: error E-RANGE: workload.sessions: 36000000 requests in all; ask for 10000000 at most'],
    ['generate: conversation, load: {lanes: 2}', 'test.yaml:1:43: error E-NO-EFFECT: workload.load.lanes: only read with a trace and its timestamps; remove it'],
    ['synthetic: {isl: 8, osl: 8}, load: {concurrency: 2, lanes: 2}', 'test.yaml:1:64: error E-NO-EFFECT: workload.load.lanes: only read with a trace and its timestamps; remove it'],
    ['generate: conversation, format: mooncake_delta', "test.yaml:1:44: error E-ENUM: workload.format: 'mooncake_delta' is not one of auto, mooncake, mooncake-delta, agentic_mooncake, applied_compute_agentic, dynamo, weka, bailian, burstgpt; did you mean 'mooncake-delta'?"],
    ['generate: conversation, block_size: 16', 'test.yaml:1:36: error E-NO-EFFECT: workload.block_size: only read with a trace; remove it'],
    ['generate: conversation, rounds: 3', "test.yaml:1:36: error E-NO-EFFECT: workload.rounds: only read with synthetic; write 'requests' to cut a trace"],
  ])('workload %s', (fields, expected) => {
    expect(one(workload(fields))).toBe(expected);
  });

  it('one worker leaves a router nothing to choose', () => {
    const text = scenarioText('router: {policy: kv, temperature: 0.5}').replace('replicas: 2', 'replicas: 1');
    expect(problemsOf(() => load(text))).toEqual([
      'test.yaml:3:10: error E-NO-EFFECT: router.policy: there is only one worker to choose; remove it or add replicas',
      'test.yaml:3:22: error E-NO-EFFECT: router.temperature: there is only one worker to choose; remove it or add replicas',
    ]);
    expect(problemsOf(() => load(scenarioText('router: round_robin').replace('replicas: 2', 'replicas: 1')))).toEqual([]);
  });

  it('transfers without a model need bytes per token', () => {
    const text = 'workload: {synthetic: {isl: 8, osl: 8}, load: {concurrency: 2}}\ndeployment: {prefill: {}, decode: {}, kv: {blocks: 100}}\ntiming: polynomial\n';
    expect(one(text)).toBe("test.yaml:2:1: error E-MISSING: deployment.kv_transfer.bytes_per_token: required to time transfers without a model; add 'bytes_per_token: 262144 B', or 'bandwidth: none'");
  });

  it('reports the first 50 problems of all files, sorted', () => {
    const many = Array.from({ length: 60 }, (_, i) => `x${i}: 1`).join('\n');
    const problems = problemsOf(() => load(scenarioText(many)));
    expect(problems).toHaveLength(50);
    expect(problems[0]).toContain('test.yaml:3:1:');
    expect(problems[49]).toContain('test.yaml:52:1:');
  });

  it('not YAML, empty, not a mapping, absent', () => {
    expect(one('a: [1')).toMatch(/^test\.yaml:1:6: error E-SYNTAX: not valid YAML: /);
    expect(one('')).toBe('test.yaml:1:1: error E-KIND: not a scenario or sweep file; write a mapping with workload and deployment');
    expect(one('- 1')).toContain('E-KIND');
    expect(one('name: x')).toContain('E-KIND');
    expect(problemsOf(() => loadFile('/nowhere/x.yaml', { environment }))).toEqual(['x.yaml: error E-FILE: no such file; check the path']);
    expect(one('a: &a [*a]')).toContain('aliases unfold without end');
  });

  it('extends: cycle, missing file, error inside the base', () => {
    const path = files({ 'a.yaml': 'extends: b.yaml\n', 'b.yaml': 'extends: a.yaml\n' });
    expect(problemsOf(() => loadFile(path, { environment }))[0]).toMatch(/^b\.yaml:1:10: error E-CYCLE: extends: /);
    const orphan = files({ 'c.yaml': `extends: none.yaml\n${scenarioText()}` });
    expect(problemsOf(() => loadFile(orphan, { environment }))[0]).toMatch(/^c\.yaml:1:10: error E-FILE: extends: no file '.*none\.yaml'/);
    const heir = files({ 'd.yaml': 'extends: e.yaml\n', 'e.yaml': scenarioText('slo: {ttft: 5}') });
    expect(problemsOf(() => loadFile(heir, { environment }))).toEqual(["e.yaml:3:13: error E-UNIT: slo.ttft: 5 has no unit; write '5 ms' or '5 s'"]);
  });

  it('--set: its own positions', () => {
    expect(one(scenarioText(), ['slo.ttft=500'])).toBe("--set[1]:1:10: error E-UNIT: slo.ttft: 500 has no unit; write '500 ms' or '500 s'");
    expect(one(scenarioText(), ['slo.ttft=1 s', 'slo.tftf=1 s'])).toBe("--set[2]:1:5: error E-FIELD: slo.tftf: unknown field; did you mean 'ttft'?");
    expect(one(scenarioText(), ['slo.ttft'])).toContain('E-SYNTAX');
    expect(one(scenarioText(), ['extends=x.yaml'])).toContain('E-PATH');
    expect(one(scenarioText('run: {capture: [requests]}'), ['run.capture.1=timeline'])).toContain('E-PATH: run.capture.1: the list has items 0 to 0');
  });
});
