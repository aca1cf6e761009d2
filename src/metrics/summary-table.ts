import type { MeasuredEvidence } from '../timing/timing.js';
import type { Latency, Report, TimingReport } from './report.js';
import type { Uncertain } from './uncertainty.js';

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
    ...uncertaintyLines(report),
    ['saturation', joined(...report.pools.map(({ name, saturation }) => `${name} ${percent(saturation)}`))],
    ['scenario', `${report.scenario.name} (${report.scenario.estimator === undefined ? '' : `estimator ${report.scenario.estimator}, `}${report.scenario.fidelity}, seed ${report.scenario.seed})`],
    ['requests', requestsText(report.requests)],
    ['duration', `${number(report.duration_ms / 1000)} s`],
    ['throughput', joined(`${number(throughput.requests_s)} req/s`, `${number(throughput.output_tok_s)} output tok/s`)],
    ['', joined(`${number(throughput.tok_s_per_gpu)} tok/s/GPU`, `${orDash(throughput.tok_s_per_user)} tok/s/user`)],
    ['cache', joined(`${percent(cache.prefix_hit_ratio)} of input tokens reused`, cache.evicted === null ? null : `${cache.evicted} blocks evicted`)],
    ['load', joined(`${percent(load.ratio)} busy`, load.kv_peak_ratio === null ? null : `KV peak ${percent(load.kv_peak_ratio)}`, load.preemptions === null ? null : `${load.preemptions} preemptions`)],
    ['GPUs', joined(`${gpu.peak} peak`, `${number(gpu.hours)} GPU-hours`)],
    ...(cost ? [['cost', joined(`${number(cost.total)} ${cost.currency}`, `${orDash(cost.per_m_output)} per million output tokens`)] as [string, string]] : []),
    ...routerLine(report),
    ...sloLines(report),
    ...report.timing.flatMap((one) => (isMeasured(one) ? measuredLines(one, report.pools.find(({ name }) => name === one.pool)?.saturation ?? null) : [timingLine(one)])),
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

function routerLine({ router }: Report): [string, string][] {
  if (!router) return [];
  const { queue_ms: wait, queued, overloaded, no_worker: stranded, bypassed, ...limits } = router;
  const limited = [limits.queue_requests, limits.queue_tokens, limits.queue_cached_tokens].filter((count) => count !== undefined);
  return [['router', joined(wait ? `${queued} waited` : null, wait ? `wait mean ${orDash(wait.mean)} ms, p99 ${orDash(wait.p99)} ms` : null, overloaded === undefined ? null : `${overloaded} turned away`, stranded === undefined ? null : `${stranded} without a worker`, limited.length === 0 ? null : `${limited.reduce((sum, count) => sum + count, 0)} over a limit of their class`, bypassed === undefined ? null : `${bypassed} skipped the prefill workers`)]];
}

function sloLines({ slo, goodput }: Report): [string, string][] {
  if (!slo) return [];
  const margins = Object.entries(slo.margins).map(([bound, margin]) => `${bound} ${margin === null ? 'no sample' : `${margin >= 0 ? '+' : ''}${percent(margin)}`}`);
  return [
    ['SLO', `${slo.met ? 'met' : 'MISSED'} at ${slo.at} (margins: ${margins.join(', ')})`],
    ...(goodput ? [['goodput', joined(`${number(goodput.rps)} req/s`, `${percent(goodput.ratio)} of completed requests`)] as [string, string]] : []),
  ];
}

/** Quantiles of the means, which are no percentiles of requests. */
function uncertaintyLines({ uncertainty }: Report): [string, string][] {
  if (!uncertainty) return [];
  const rows = [['mean TTFT', uncertainty.ttft_ms, 'ms'], ['mean TPOT', uncertainty.tpot_ms, 'ms'], ['output', uncertainty.output_tok_s, 'tok/s']] as const;
  const text = (spread: Uncertain, unit: string): string => (spread === 'unknown' ? 'unknown' : `${number(spread.p10)} … ${number(spread.p50)} … ${number(spread.p90)} ${unit}`);
  return rows.map(([label, spread, unit], index) => [index === 0 ? 'uncertain' : '', `${label} ${text(spread, unit)}${index === 0 ? ' (timing p10 … p50 … p90)' : ''}`]);
}

function timingLine({ pool, source, calibration, error_pct: error, interval_ln: interval, evidence }: TimingReport): [string, string] {
  const known = [['TTFT', error.ttft] as const, ['TPOT', error.tpot] as const].filter(([, value]) => value !== null);
  const accuracy = known.length === 0 ? 'error unknown' : `median error ${known.map(([name, value]) => `${name} ${value}%`).join(', ')}`;
  const range = interval ? `; 90% within TTFT ${factor(interval.ttft)}, TPOT ${factor(interval.tpot)}${evidence === null ? '' : ` (${evidence})`}` : '';
  return ['timing', `${pool}: ${source}, ${calibration}; ${accuracy}${range}`];
}

function isMeasured(timing: TimingReport): timing is TimingReport & MeasuredEvidence {
  return timing.profile !== undefined;
}

/** What every use of a measured profile says (spec calibration section 9). Its calibration begins with what and of when it is; the rest of it stands in fields. */
function measuredLines(timing: TimingReport & MeasuredEvidence, saturation: number | null): [string, string][] {
  const { pool, calibration, errors, measured, modelled, host, clocks, proxy, passes = null, extrapolated_passes: outside, extrapolated_time_ratio: share } = timing;
  const families = ['decode', 'prefill', 'mixed'].flatMap((family) => {
    const found = errors[family];
    return found === undefined ? [] : [`${family} ${found.median.toFixed(1)} % (p90 ${found.p90.toFixed(1)}, bias ${signed(found.signed)})`];
  });
  const inside = passes === null || passes === 0 || outside === null ? null : 1 - outside / passes;
  return [
    ['timing', `${pool}: measured ${calibration.split('; ')[0]!}`],
    ['', `held-out: ${families.join('  ') || 'unknown'}`],
    ['', [`measured: ${measured.join(', ') || 'nothing'}`, `modelled: ${modelled.join(', ') || 'nothing'}`, ...(proxy === null ? [] : [`kernels: ${proxy}`]), `host: ${host}`].join('   ')],
    ['', [`passes ${passes ?? 'unknown'}`, `inside domain ${ratioText(inside)}`, `extrapolated ${ratioText(share)} of time`, `clocks ${clocks}`, `saturation ${ratioText(saturation)}`].join('   ')],
  ];
}

function ratioText(ratio: number | null): string {
  return ratio === null ? 'unknown' : percent(ratio);
}

/** A percentage to one place, with its sign. */
function signed(value: number): string {
  const text = value.toFixed(1);
  return Number(text) === 0 ? '0.0' : `${value > 0 ? '+' : ''}${text}`;
}

/** `×/÷1.22` of a half-width in ln. */
function factor(halfWidthLn: number): string {
  return `×/÷${Math.exp(halfWidthLn).toFixed(2)}`;
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

function joined(...parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null).join(' · ');
}
