/** Messages that the stand-in takes, and the files it reads and writes; as `wire.py` and `files.py`, in JavaScript. */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';

export const VERSION = 1;
const LINE_BYTES = 1 << 20;
const ROTATE_BYTES = 14_000_000;

export const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** JSON with sorted names and no spaces. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/** How a request ends without a reply. */
export class Failure extends Error {
  constructor(code, message, { fatal = false, retryable = false } = {}) {
    super(message);
    Object.assign(this, { code, fatal, retryable });
  }
}

const bad = (path, what) => {
  throw new Failure('bad_request', `${path || 'message'} ${what}`);
};
const check = (holds, what) => (value, path) => void (holds(value) || bad(path, what));
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const positive = check((value) => isNumber(value) && value > 0, 'is not a number above 0');
const integer = (low) => check((value) => Number.isSafeInteger(value) && value >= low, `is not a whole number from ${low} on`);
const text = (pattern) => check((value) => typeof value === 'string' && pattern.test(value), `is not text like ${pattern}`);
const boolean = check((value) => typeof value === 'boolean', 'is not true or false');
const oneOf = (...values) => check((value) => values.includes(value), `is not one of ${values.join(', ')}`);
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

function record(fields, optional = {}) {
  const every = { ...fields, ...optional };
  return (value, path) => {
    if (!isObject(value)) bad(path, 'is not an object');
    for (const name of Object.keys(fields)) if (!Object.hasOwn(value, name)) bad(path, `lacks ${name}`);
    for (const [name, one] of Object.entries(value)) {
      if (!Object.hasOwn(every, name)) bad(path, `has unknown field ${name}`);
      every[name](one, path ? `${path}.${name}` : name);
    }
  };
}

const list = (item, low, high) => (value, path) => {
  if (!Array.isArray(value) || value.length < low || value.length > high) bad(path, `is not a list of ${low} to ${high}`);
  value.forEach((one, i) => item(one, `${path}[${i}]`));
};
const pair = (first, second) => (value, path) => {
  list(() => undefined, 2, 2)(value, path);
  first(value[0], `${path}[0]`);
  second(value[1], `${path}[1]`);
};
const by = (name, variants) => (value, path) => {
  if (!isObject(value)) bad(path, 'is not an object');
  if (typeof value[name] !== 'string' || !Object.hasOwn(variants, value[name])) bad(path ? `${path}.${name}` : name, `is not one of ${Object.keys(variants).join(', ')}`);
  variants[value[name]](value, path);
};
const all = (names, one) => Object.fromEntries(names.map((name) => [name, one]));

const [count, whole] = [integer(1), integer(0)];
const matrix = oneOf('bf16', 'fp8_tensor', 'fp8_row', 'fp8_block');
const cache = oneOf('bf16', 'fp8');
const routing = text(/^(balanced|zipf \d+(\.\d+)?)$/);
const anyText = text(/^/);
const head = { pid: text(/^[0-9a-f]{12}$/), split: oneOf('anchor', 'grid', 'holdout', 'refine'), est_s: positive };
const repeat = { repeat: count, of: anyText };
const attention = { ...all(['heads', 'kv_heads', 'head_dim'], count), kv: cache };
const seqs = { seqs: list(pair(count, whole), 1, 4096) };
const point = (kind, fields, modes = ['graph'], optional = {}) => ({ [kind]: record({ kind: oneOf(kind), ...head, mode: oneOf(...modes), ...fields }, { ...repeat, ...optional }) });

const points = {
  ...point('pass', { ...seqs, rows: whole }, ['graph', 'eager'], { pad_to: count, tp: count }),
  ...point('gemm', { ...all(['m', 'n', 'k'], count), dtype: matrix }),
  ...point('attn_ctx', { ...seqs, ...attention }),
  ...point('attn_gen', { ...seqs, ...attention }),
  ...point('moe', { ...all(['tokens', 'hidden', 'ffn', 'experts', 'top_k'], count), dtype: matrix, routing }),
  ...point('norm', all(['tokens', 'hidden'], count)),
  ...point('act', all(['tokens', 'ffn'], count)),
  ...point('rope_kv', { tokens: count, ...attention, qk_norm: boolean }),
  ...point('embed', all(['tokens', 'hidden', 'vocab'], count)),
  ...point('logits', all(['rows', 'hidden', 'vocab'], count)),
  ...point('sample', { ...all(['rows', 'vocab'], count), method: oneOf('argmax', 'top_p') }),
  ...point('quant', { ...all(['tokens', 'width'], count), dtype: matrix }),
  ...point('copy', { direction: oneOf('h2d', 'd2h', 'd2d', 'bidi'), bytes: count, pinned: boolean, blocks: whole, gather: boolean }, ['eager']),
  ...point('disk', { op: oneOf('read', 'write'), bytes: count }, ['eager']),
  ...point('host', { what: oneOf('empty_pass', 'launches', 'graph_launch', 'read_back') }, ['eager']),
};

const geometry = record(
  { name: text(/^[A-Za-z0-9._-]{1,80}$/), ...all(['layers', 'hidden', 'heads', 'kv_heads', 'head_dim', 'vocab'], count), ffn: whole, qk_norm: boolean, rope_theta: positive, tied: boolean },
  { moe: record({ ...all(['experts', 'top_k', 'ffn'], count), ...all(['shared_ffn', 'dense_first'], whole) }) },
);
const policy = record({ ...all(['warmup', 'min', 'max'], count), ci: positive, cap_s: positive });
const request = (type, fields, optional) => ({ [type]: record({ v: oneOf(VERSION), id: whole, type: oneOf(type), ...fields }, optional) });
const checkRequest = by('type', {
  ...request('hello', { client: anyText, versions: list(whole, 1, 100) }),
  ...request('load_model', {
    model: geometry,
    shard: record({ tp: count, rank: oneOf(0) }),
    dtype: record({ weights: matrix, kv: cache, attention: oneOf('bf16') }),
    limits: record({ ...all(['max_tokens', 'max_batch', 'max_context'], count), page: oneOf(16) }),
    routing,
    seed: whole,
  }),
  ...request('measure', { point: by('kind', points) }, { policy }),
  ...request('bye', {}),
});
const checkHeader = record({ type: oneOf('plan'), v: oneOf(VERSION), plan_hash: text(/^[0-9a-f]{64}$/), name: anyText, hardware: anyText, gpu_name: text(/[^]/), budget_s: positive, policy });

/** A line's object, checked. Throws `Failure` (bad_request). */
function parse(checkShape, line) {
  if (Buffer.byteLength(line) > LINE_BYTES) bad('', `is longer than ${LINE_BYTES} bytes`);
  let value;
  try {
    value = JSON.parse(line);
  } catch (error) {
    bad('', `is no JSON: ${error.message}`);
  }
  checkShape(value, '');
  return value;
}

/** A request. Throws `Failure` (bad_request). */
export function parseRequest(line) {
  return parse(checkRequest, line);
}

/** The id of a line that may be no request; null when it has none. */
export function requestId(line) {
  try {
    const { id } = JSON.parse(line) ?? {};
    return Number.isSafeInteger(id) && id >= 0 ? id : null;
  } catch {
    return null;
  }
}

/** Header and requests of a plan file. Throws `Failure` (bad_request) with file and line. */
export function readPlan(path) {
  const [first, ...rest] = readFileSync(path, 'utf8').replace(/\n$/, '').split('\n');
  const at = (number, action) => {
    try {
      return action();
    } catch (error) {
      throw error instanceof Failure ? new Failure('bad_request', `${path}:${number}: ${error.message}`, { fatal: true }) : error;
    }
  };
  const header = at(1, () => parse(checkHeader, first));
  const { plan_hash: hash, budget_s: _budget, ...hashed } = header;
  if (sha256([canonical(hashed), ...rest].join('\n')) !== hash) at(1, () => bad('plan_hash', 'is not that of this plan: it was changed'));
  const seen = new Set();
  let tp = null;
  const requests = rest.map((line, index) => at(index + 2, () => {
    const one = parseRequest(line);
    if (one.type === 'load_model') tp = one.shard.tp;
    else if (one.type === 'measure') checkOrder(one.point, tp, seen);
    else bad('type', `${one.type} stands in no plan`);
    return one;
  }));
  if (seen.size === 0) at(1, () => bad('', 'measures no point'));
  return { header, requests };
}

function checkOrder({ kind, pid, repeat: times, of }, tp, seen) {
  if (kind === 'pass' && tp === null) bad('point', 'is a pass before any load_model');
  if (seen.has(`${tp} ${pid}`)) bad('point.pid', 'stands twice');
  if ((times === undefined) !== (of === undefined) || (of !== undefined && !seen.has(`${tp} ${of}`))) bad('point.of', 'is no point before it');
  seen.add(`${tp} ${pid}`);
}

/** Appends lines to NAME.jsonl and its rotations; a file that is there is continued, its torn last line cut. `records`: by `TP PID`. */
export class Results {
  records = new Map();
  #path;
  #head;
  #part = 0;
  #file;
  #bytes = 0;

  constructor(path, head) {
    this.#path = path;
    this.#head = head;
    while (existsSync(this.#name(this.#part + 1))) this.#part++;
    for (let part = 0; part <= this.#part; part++) if (existsSync(this.#name(part))) this.#read(this.#name(part));
    this.#open();
  }

  append(message) {
    const line = Buffer.from(`${JSON.stringify({ v: VERSION, ...message })}\n`);
    if (this.#bytes + line.length > ROTATE_BYTES) {
      closeSync(this.#file);
      this.#part++;
      this.#open();
    }
    this.#write(line);
    if (message.type === 'result') this.records.set(`${message.tp} ${message.pid}`, message);
  }

  #name(part) {
    return part === 0 ? this.#path : this.#path.replace(/(\.[^./]*)?$/, `.${part}$1`);
  }

  #read(name) {
    const data = readFileSync(name);
    const whole = data.subarray(0, data.lastIndexOf('\n') + 1);
    truncateSync(name, whole.length);
    whole.toString().split('\n').slice(0, -1).forEach((line, index) => {
      const message = JSON.parse(line);
      if (index === 0 && (message.plan_hash !== this.#head.plan_hash || message.gpu.name !== this.#head.gpu.name || message.worker !== this.#head.worker)) {
        throw new Failure('bad_request', `${name}:1: is of another plan or GPU: write to another --out`, { fatal: true });
      }
      if (message.type === 'result') this.records.set(`${message.tp} ${message.pid}`, message);
    });
  }

  #open() {
    this.#file = openSync(this.#name(this.#part), 'a');
    this.#bytes = existsSync(this.#name(this.#part)) ? readFileSync(this.#name(this.#part)).length : 0;
    if (this.#bytes === 0) this.#write(Buffer.from(`${JSON.stringify({ v: VERSION, ...this.#head })}\n`));
  }

  #write(line) {
    writeSync(this.#file, line);
    fsyncSync(this.#file);
    this.#bytes += line.length;
  }
}
