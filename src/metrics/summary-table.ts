import type { Latency, Report } from './report.js';

const LATENCIES = [
  ['TTFT', 'ttft_ms'],
  ['TPOT', 'tpot_ms'],
  ['ITL', 'itl_ms'],
  ['E2E', 'e2e_ms'],
  ['queue', 'queue_ms'],
] as const;
const FIGURES = ['mean', 'p50', 'p90', 'p99', 'max'] as const satisfies readonly (keyof Latency)[];
const LABEL_WIDTH = 11;

/** What `run` prints: latencies, throughput, cache, GPUs, the SLO's verdict and where the timing comes from. */
export function summaryTable(report: Report): string {
  const { throughput, cache, load, gpu, cost, warnings } = report;
  const lines: [string, string][] = [
    ['scenario', `${report.scenario.name} (${report.scenario.fidelity}, seed ${report.scenario.seed})`],
    ['requests', requestsText(report.requests)],
    ['duration', `${number(report.duration_ms / 1000)} s`],
    ['throughput', joined(`${number(throughput.requests_s)} req/s`, `${number(throughput.output_tok_s)} output tok/s`)],
    ['', joined(`${number(throughput.tok_s_per_gpu)} tok/s/GPU`, `${orDash(throughput.tok_s_per_user)} tok/s/user`)],
    ['cache', joined(`${percent(cache.prefix_hit_ratio)} of input tokens reused`, `${cache.evicted} blocks evicted`)],
    ['load', joined(`${percent(load.ratio)} busy`, `KV peak ${percent(load.kv_peak_ratio)}`, `${load.preemptions} preemptions`)],
    ['GPUs', joined(`${gpu.peak} peak`, `${number(gpu.hours)} GPU-hours`)],
    ...(cost ? [['cost', joined(`${number(cost.total)} ${cost.currency}`, `${orDash(cost.per_m_output)} per million output tokens`)] as [string, string]] : []),
    ...sloLines(report),
    ...report.timing.map(timingLine),
    ['warnings', warnings.length === 0 ? 'none' : `${warnings.length}: ${[...new Set(warnings.map(({ code }) => code))].join(', ')}`],
  ];
  return [...latencyRows(report.latency), '', ...lines.map(([label, text]) => label.padEnd(LABEL_WIDTH) + text)].join('\n');
}

function latencyRows(latency: Report['latency']): string[] {
  const rows = LATENCIES.map(([label, name]) => [label, ...FIGURES.map((figure) => orDash(latency[name][figure]))]);
  return [['ms', ...FIGURES], ...rows].map(([label, ...cells]) => label!.padEnd(LABEL_WIDTH) + cells.map((text) => text.padStart(11)).join(''));
}

function requestsText({ total, completed, ...others }: Report['requests']): string {
  const rest = Object.entries(others).filter(([, count]) => count > 0);
  return [`${completed} of ${total} completed`, ...rest.map(([status, count]) => `${count} ${status}`)].join(', ');
}

function sloLines({ slo, goodput }: Report): [string, string][] {
  if (!slo || !goodput) return [];
  const margins = Object.entries(slo.margins).map(([bound, margin]) => `${bound} ${margin === null ? 'no sample' : `${margin >= 0 ? '+' : ''}${percent(margin)}`}`);
  return [
    ['SLO', `${slo.met ? 'met' : 'MISSED'} at ${slo.at} (margins: ${margins.join(', ')})`],
    ['goodput', joined(`${number(goodput.rps)} req/s`, `${percent(goodput.ratio)} of completed requests`)],
  ];
}

function timingLine({ pool, source, calibration, error_pct: error }: Report['timing'][number]): [string, string] {
  const known = [['TTFT', error.ttft] as const, ['TPOT', error.tpot] as const].filter(([, value]) => value !== null);
  const accuracy = known.length === 0 ? 'error unknown' : `median error ${known.map(([name, value]) => `${name} ${value}%`).join(', ')}`;
  return ['timing', `${pool}: ${source}, ${calibration}; ${accuracy}`];
}

/** Two decimals; three significant digits below 0.1. */
function number(value: number): string {
  return value !== 0 && Math.abs(value) < 0.1 ? value.toPrecision(3) : value.toFixed(2);
}

function orDash(value: number | null): string {
  return value === null ? '-' : number(value);
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)}%`;
}

function joined(...parts: readonly string[]): string {
  return parts.join(' · ');
}
