/**
 * Stands in for `worker.py` where there is no GPU: the same protocol and files, times by the law of `fake-law.mjs`. It keeps no budget and
 * never drifts: repeated anchors are points like others.
 *
 *     fake.mjs [--scratch DIR]                               requests on stdin
 *     fake.mjs --plan plan.jsonl --out measurements.jsonl    a plan into a file, continued where it exists
 *
 * For tests: --noise SIGMA (log-normal), --outliers SHARE (of points, three times too long), --gpu NAME; and, counting measure requests of the
 * process from 1: --die-at N, --hang-at N, --garbage-at N, --oom-at N, --fatal-at N, --internal-at N; --die-on PID, whenever it is asked;
 * --die-loading; --load-oom TP; --check-failed; --no-gpu; --slow MS for each point, with progress every 5 s or
 * --progress MS, of phase measure or --phase PHASE.
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { disturbance, operator, pass, POINT_KINDS } from './fake-law.mjs';
import { canonical, Failure, parseRequest, readPlan, requestId, Results, sha256, VERSION } from './fake-wire.mjs';

const number = ['noise', 'outliers', 'die-at', 'hang-at', 'garbage-at', 'oom-at', 'fatal-at', 'internal-at', 'load-oom', 'slow', 'progress'];
const string = ['plan', 'out', 'scratch', 'gpu', 'die-on', 'phase', ...number];
const flag = ['die-loading', 'check-failed', 'no-gpu'];
const { values: options } = parseArgs({ options: { ...Object.fromEntries(string.map((name) => [name, { type: 'string' }])), ...Object.fromEntries(flag.map((name) => [name, { type: 'boolean' }])) } });
for (const name of number) if (options[name] !== undefined) options[name] = Number(options[name]);

const CAPABILITIES = {
  versions: [VERSION],
  worker: 'dynotwin-worker 1',
  kind: 'fake',
  gpu: { name: options.gpu ?? 'Fake GPU', sm: 90, sms: 132, mem_bytes: 150_000_000_000, l2_bytes: 62_914_560, driver: 'none', cuda: 'none', mig: false },
  software: { python: 'none', torch: 'none', triton: 'none', numpy: 'none' },
  dtypes: ['bf16', 'fp8_tensor', 'fp8_row', 'fp8_block'],
  kinds: POINT_KINDS.filter((kind) => kind !== 'disk' || options.scratch !== undefined),
  attention: ['law'],
  cpu: 'none',
  ram_bytes: 0,
  nvml: false,
};
const MIN_REPEATS = 10;
const PAGE_TOKENS = 16;

let loaded = null;
let measured = 0;

function geometryHash({ name: _name, ...rest }) {
  return sha256(canonical(rest));
}

/** `model_ready` of a model: pages for as many tokens as fit beside the weights, matrices of its layers alone. */
function load({ model, shard: { tp }, dtype: { weights, kv } }) {
  if (options['die-loading']) process.exit(9);
  if (options['load-oom'] === tp) throw new Failure('oom', 'weights do not fit');
  if (options['check-failed']) throw new Failure('check_failed', 'logits is off by 0.5, not 0.02');
  const { layers, hidden, heads, kv_heads, head_dim, ffn, vocab, moe } = model;
  const experts = moe === undefined ? 0 : 3 * hidden * (moe.ffn * moe.experts + moe.shared_ffn);
  const feedForward = moe === undefined ? layers * 3 * hidden * ffn : moe.dense_first * 3 * hidden * ffn + (layers - moe.dense_first) * experts;
  const layerBytes = (weights === 'bf16' ? 2 : 1) * (layers * 2 * hidden * (heads + kv_heads) * head_dim + feedForward);
  const weightBytes = Math.ceil((layerBytes + 4 * hidden * vocab) / tp);
  const free = Math.max(0, CAPABILITIES.gpu.mem_bytes * 0.94 - weightBytes);
  const pageBytes = 2 * layers * Math.ceil(kv_heads / tp) * head_dim * (kv === 'fp8' ? 1 : 2) * PAGE_TOKENS;
  return { weight_bytes: weightBytes, kv_pages: Math.floor(free / pageBytes), distinct_layers: layers, load_s: 0, free_bytes: Math.round(free), checks: [], kernels: { attention: 'law' } };
}

function variance(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

function passMetrics(seqs, wallMs) {
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  const prompts = seqs.filter(([fresh]) => fresh > 1);
  const steps = seqs.filter(([fresh]) => fresh === 1).map(([, past]) => past);
  return {
    num_prefill_requests: prompts.length, sum_prefill_tokens: total(prompts.map(([fresh]) => fresh)), sum_prefill_kv_tokens: total(prompts.map(([, past]) => past)),
    var_prefill_length: variance(prompts.map(([fresh, past]) => fresh + past)),
    num_decode_requests: steps.length, sum_decode_kv_tokens: total(steps), var_decode_kv_tokens: variance(steps),
    ...(wallMs === null ? {} : { wall_time: wallMs / 1000 }),
  };
}

function modelOf(request) {
  return { tp: request?.shard.tp ?? null, geometry_hash: request && geometryHash(request.model) };
}

/** The record of a point under a model (or null); `times` in µs, or null for one without a time. */
function record(point, model, status, times, flags = []) {
  const { pid, kind, split, mode } = point;
  const ms = (us) => (us === undefined || times === null ? null : us / 1000);
  const isPass = kind === 'pass';
  return {
    pid, kind, split, status, mode, n: times === null ? 0 : MIN_REPEATS,
    median_ms: ms(times?.gpu), mad_ms: times && 0, ci_rel: times && 0, wall_ms: ms(times?.wall), issue_ms: ms(times?.issue), kernel: times && 'law',
    dtype: isPass ? (model?.dtype.weights ?? null) : (point.dtype ?? point.kv ?? 'bf16'),
    ...modelOf(model), distinct_layers: isPass && times ? model.model.layers : null,
    clock_mhz: null, power_w: null, temp_c: null, power_capped: null, flags, t_utc: `${new Date().toISOString().slice(0, 19)}Z`,
    ...(isPass ? passMetrics(point.seqs, ms(times?.wall)) : {}),
  };
}

function measure(point, model) {
  if (!CAPABILITIES.kinds.includes(point.kind)) throw new Failure('unsupported_kind', `${point.kind} needs --scratch`);
  const times = point.kind === 'pass' ? pass(point, model) : { gpu: operator(point) };
  const factor = disturbance(point.pid, options.noise ?? 0, options.outliers ?? 0);
  const [gpu, wall] = [times.gpu * factor, times.wall && times.wall * factor];
  return record(point, model, 'ok', { ...times, gpu, wall });
}

/** What the options ask of this measure request. */
function misbehave({ pid }) {
  measured++;
  const due = (name) => options[`${name}-at`] === measured;
  if (due('die') || options['die-on'] === pid) process.exit(9);
  if (due('oom')) throw new Failure('oom', 'KV pages');
  if (due('fatal')) throw new Failure('cuda_error', 'an illegal memory access was encountered', { fatal: true });
  if (due('internal')) throw new Failure('internal', 'something went wrong', { retryable: true });
}

const send = (message) => process.stdout.write(`${JSON.stringify({ v: VERSION, ...message })}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** True when it was the last request. */
async function answer(request) {
  const { id, type } = request;
  switch (type) {
    case 'hello':
      if (options['no-gpu']) throw new Failure('internal', 'no CUDA GPU', { fatal: true });
      if (!request.versions.includes(VERSION)) throw new Failure('bad_request', `versions: this worker speaks ${VERSION}`);
      send({ id, type: 'capabilities', ...CAPABILITIES });
      return false;
    case 'bye':
      send({ id, type: 'bye' });
      return true;
    case 'load_model': {
      loaded = null;
      const ready = load(request);
      loaded = request;
      send({ id, type: 'model_ready', ...ready });
      return false;
    }
    case 'measure': {
      if (request.point.kind === 'pass' && loaded === null) throw new Failure('bad_request', 'a pass needs a model: send load_model first');
      misbehave(request.point);
      if (options['hang-at'] === measured) await new Promise(() => setInterval(() => undefined, 1e6));
      if (options.slow) await slowly(id);
      if (options['garbage-at'] === measured) process.stdout.write('{"v":1,"id":\n');
      else send({ id, type: 'result', ...measure(request.point, loaded) });
      return false;
    }
  }
}

async function slowly(id) {
  const timer = setInterval(() => send({ id, type: 'progress', phase: options.phase ?? 'measure', done: 0, of: MIN_REPEATS }), options.progress ?? 5000);
  await pause(options.slow);
  clearInterval(timer);
}

/** Serves stdin; the exit code. */
async function serve() {
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      if (await answer(parseRequest(line))) return 0;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const { code, message, fatal, retryable } = error;
      send({ id: requestId(line), type: 'error', code, message, fatal, retryable });
      if (fatal) return code === 'cuda_error' ? 3 : 2;
    }
  }
  return 0;
}

/** Measures the points of a plan that `out` does not hold. */
function runPlan(plan, out) {
  const { header, requests } = readPlan(plan);
  const results = new Results(out, { type: 'capabilities', ...CAPABILITIES, plan_hash: header.plan_hash, hardware: header.hardware, t_utc: `${new Date().toISOString().slice(0, 19)}Z` });
  let wanted = null;
  for (const request of requests) {
    if (request.type === 'load_model') {
      wanted = request;
      continue;
    }
    if (results.records.has(`${wanted?.shard.tp ?? null} ${request.point.pid}`)) continue;
    results.append({ type: 'result', ...planned(request.point, wanted, results), point: request.point });
  }
  results.append({ type: 'end', reason: 'complete', left: 0 });
}

/** Loads a model unless it does not fit, which only passes mind. */
function loadPlanned(wanted, needed, results) {
  loaded = null;
  try {
    const ready = load(wanted);
    const { v: _v, id: _id, type: _type, ...fields } = wanted;
    results.append({ type: 'model_ready', load: fields, ...ready });
    loaded = wanted;
  } catch (error) {
    if (needed || error.code !== 'oom') throw error;
  }
}

/** The record of a point on the model of `wanted`, which is loaded unless it is there. */
function planned(point, wanted, results) {
  try {
    if (loaded !== wanted) loadPlanned(wanted, point.kind === 'pass', results);
    misbehave(point);
    return measure(point, wanted);
  } catch (error) {
    if (!(error instanceof Failure) || error.fatal || error.code === 'check_failed') throw error;
    const status = { oom: 'oom', unsupported_kind: 'unsupported' }[error.code] ?? 'crashed';
    return record(point, wanted, status, null, error.code === status ? [] : [error.code]);
  }
}

if (options.plan === undefined) process.exitCode = await serve();
else {
  try {
    runPlan(options.plan, options.out);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`${error.code}: ${error.message}\n`);
    process.exitCode = error.code === 'cuda_error' ? 3 : error.code === 'check_failed' ? 1 : 2;
  }
}
