import type { PassBreakdown } from '../timing/breakdown.js';
import type { ExplainedPool, PoolMemory } from './explain-timing.js';
import { textTable } from './text-table.js';

/** Pass times and memory of pools, as data and as text. */

const whole = (value: number): string => value.toLocaleString('en-US');
const milliseconds = (ms: number): string => (Math.abs(ms) < 0.001 ? ms.toFixed(6) : ms.toFixed(3));
const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(2);
const noOperators = ({ description: { source } }: ExplainedPool): string => `source '${source}' times whole passes: it has no operators to show`;

/** What a JSON or YAML reader gets. */
export function timingData(pools: readonly ExplainedPool[]): object {
  return {
    schema: 'dynotwin.timing/1',
    pools: pools.map((pool) => {
      const { description, frontend } = pool;
      return {
        role: pool.role,
        worker: pool.worker,
        source: description.source,
        calibration: description.calibration,
        error_pct: description.errorPct,
        evidence: description.evidence,
        interval: description.interval === null ? null : { ttft_ln: description.interval.ttftLn, tpot_ln: description.interval.tpotLn },
        frontend: frontend == null ? null : { fixed_ms: frontend.fixedMs, serial_ms_per_kilo_token: frontend.serialMsPerKiloToken },
        passes: pool.passes.map(({ kind, requests, tokens, kernels, added, ms }) => ({ kind, requests, tokens, ms, kernels_ms: kernels?.ms ?? null, operators: kernels?.operators ?? null, added })),
        memory: pool.memory === null ? null : memoryData(pool.memory),
        kv: { blocks: pool.kvBlocks, block_tokens: pool.blockTokens, estimated: pool.kvBlocksEstimated },
      };
    }),
  };
}

function memoryData({ capacityBytes, fraction, ofFree, reserveBytes, parts }: PoolMemory): object {
  const common = { capacity_bytes: capacityBytes, fraction, fraction_of: ofFree ? 'free' : 'total', reserve_bytes: reserveBytes };
  if (!parts.ok) return { ...common, problem: parts.problem.what };
  const { weightsBytes, activationBytes, runtimeBytes, stateBytes, kvBytesPerTokenPerGpu, budgetBytes, blocks } = parts.value;
  return { ...common, weights_bytes: weightsBytes, activation_bytes: activationBytes, runtime_bytes: runtimeBytes, state_bytes: stateBytes, kv_bytes_per_token: kvBytesPerTokenPerGpu, budget_bytes: budgetBytes, blocks };
}

/** A line per operator, addition and part of the memory. */
export function timingRows(pools: readonly ExplainedPool[]): Record<string, string | number | null>[] {
  return pools.flatMap((pool) => {
    const line = (part: string, name: string, cells: { layers?: number; ms?: number; share?: number; bytes?: number; from?: string }): Record<string, string | number | null> => ({
      pool: pool.role, part, name, layers: cells.layers ?? null, ms: cells.ms ?? null, share: cells.share ?? null, bytes: cells.bytes ?? null, from: cells.from ?? null,
    });
    const passes = pool.passes.flatMap(({ kind, kernels, added, ms }) => [
      ...(kernels?.operators ?? []).map(({ name, layers, ms: time, share, from }) => line(kind, name, { layers, ms: time, share, from })),
      ...(kernels === null ? [] : [line(kind, 'kernels', { ms: kernels.ms, share: 1 })]),
      ...added.map(({ what, ms: time }) => line(kind, what, { ms: time })),
      line(kind, 'pass', { ms, from: kernels === null ? noOperators(pool) : pool.description.calibration }),
    ]);
    return [...passes, ...memoryParts(pool).map(([name, bytes]) => line('memory', name, { bytes }))];
  });
}

/** Parts of the memory of a GPU, bytes. */
function memoryParts({ memory }: ExplainedPool): [string, number][] {
  if (memory === null) return [];
  const { capacityBytes, reserveBytes, parts } = memory;
  const used: [string, number][] = parts.ok
    ? [['weights', parts.value.weightsBytes], ['activations', parts.value.activationBytes], ['runtime', parts.value.runtimeBytes], ['state of sequences', parts.value.stateBytes], ['reserve', reserveBytes], ['KV cache', parts.value.budgetBytes]]
    : [];
  return [...used.filter(([, bytes]) => bytes > 0), ['GPU', capacityBytes]];
}

/** A pool as tables. */
export function timingTable(pool: ExplainedPool): string {
  const { role, worker, description, frontend } = pool;
  const { ttft, tpot } = description.errorPct;
  const percent = (value: number | null): string => (value === null ? 'unknown' : `${value} %`);
  const head = [
    `${role}: ${worker}`,
    `  timing   ${description.source}: ${description.calibration}`,
    `  error    ${ttft === null && tpot === null ? 'unknown' : `median of TTFT ${percent(ttft)}, of TPOT ${percent(tpot)}`}`,
    ...(frontend == null ? [] : [`  request  ${frontend.fixedMs} ms and ${frontend.serialMsPerKiloToken} ms for every 1,000 prompt tokens, one after the other, before the engine`]),
    ...(pool.passes.some(({ kernels }) => kernels === null) ? [`  ${noOperators(pool)}`] : []),
  ];
  return [head.join('\n'), ...pool.passes.map(passTable), memoryTable(pool)].join('\n\n');
}

function passTable({ kind, requests, tokens, kernels, added, ms }: PassBreakdown): string {
  const title = kind === 'prefill' ? `prefill of one prompt of ${whole(tokens)} tokens` : `decode step of ${whole(requests)} requests at ${whole(tokens)} tokens`;
  if (kernels === null) return `${title}: ${milliseconds(ms)} ms`;
  const head = [kind, 'layers', 'ms', 'share %', 'from'];
  const rows = [
    ...kernels.operators.map(({ name, layers, ms: time, share, from, beside }) => [name, String(layers), milliseconds(time), beside ? 'beside' : (share * 100).toFixed(1), from]),
    ['kernels', '', milliseconds(kernels.ms), '100.0', ''],
    ...added.map(({ what, ms: time }) => [`+ ${what}`, '', milliseconds(time), '', '']),
    ['pass', '', milliseconds(ms), '', ''],
  ];
  return `${title}\n${textTable(head, rows, ['layers', 'ms', 'share %'])}`;
}

function memoryTable(pool: ExplainedPool): string {
  const { memory, kvBlocks, kvBlocksEstimated, blockTokens } = pool;
  const blocks = `${whole(kvBlocks)} blocks of ${blockTokens} token${blockTokens === 1 ? '' : 's'}${kvBlocksEstimated ? '' : ', as given'}`;
  if (memory === null) return `memory: unknown without a model and hardware; ${blocks}`;
  const { fraction, ofFree, parts } = memory;
  const limit = `${Number((fraction * 100).toFixed(2))} % of ${ofFree ? 'what the rest leaves' : 'the GPU'}`;
  if (!parts.ok) return `memory per GPU: ${parts.problem.what}; ${blocks}`;
  const table = textTable(['memory', 'GB'], memoryParts(pool).map(([name, bytes]) => [name, gigabytes(bytes)]), ['GB']);
  return `${table}\nKV cache: ${limit}, ${whole(parts.value.kvBytesPerTokenPerGpu)} bytes a token; ${blocks}`;
}
