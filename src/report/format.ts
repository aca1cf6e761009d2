/** How metrics are named and written in pages, charts and terminal plots. */

const LABELS: Readonly<Record<string, string>> = {
  output_tok_s: 'output tok/s',
  tok_s_per_gpu: 'tok/s/GPU',
  tok_s_per_user: 'tok/s/user',
  requests_s: 'req/s',
  goodput_rps: 'goodput req/s',
  goodput_ratio: 'goodput',
  goodput_per_gpu: 'goodput req/s/GPU',
  prefix_hit_ratio: 'prefix hits',
  gpus: 'GPUs',
  gpu_hours: 'GPU-hours',
  cost_per_m_output: 'cost per 1M output tokens',
  load_ratio: 'busiest pool',
};

/** Display name of a metric: `tok_s_per_gpu` → `tok/s/GPU`, `ttft_ms.p99` → `TTFT p99`; unknown names stay. */
export function metricLabel(metric: string): string {
  const latency = /^(ttft|ttst|tpot|itl|e2e|queue)_ms\.(\w+)$/.exec(metric);
  if (latency) return `${latency[1] === 'queue' ? 'queue' : latency[1]!.toUpperCase()} ${latency[2]}`;
  return LABELS[metric] ?? metric;
}

/** Label with the unit an axis needs: `TTFT p99 (ms)`. */
export function axisLabel(metric: string): string {
  return isMilliseconds(metric) ? `${metricLabel(metric)} (ms)` : metricLabel(metric);
}

/** A value with its unit: `1.24 s`, `83.1 %`, `1,532`; a dash where there is no sample. */
export function metricText(metric: string, value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (isMilliseconds(metric)) return durationText(value);
  if (metric.endsWith('_ratio')) return percentText(value);
  return numberText(value);
}

/** `830 µs`, `12.4 ms`, `1.24 s`, `2 min 5 s`: a duration given in ms. */
export function durationText(ms: number): string {
  const size = Math.abs(ms);
  if (size === 0) return '0 ms';
  if (size < 1) return `${numberText(ms * 1000)} µs`;
  if (size < 999.5) return `${numberText(ms)} ms`;
  if (size < 119_500) return `${numberText(ms / 1000)} s`;
  const minutes = Math.round(size / 1000);
  const sign = ms < 0 ? '-' : '';
  if (minutes < 7200) return `${sign}${Math.floor(minutes / 60)} min ${minutes % 60} s`;
  return `${numberText(ms / 3_600_000)} h`;
}

/** Three significant digits, no exponent, thousands separated: `0.0123`, `12.3`, `1,532`. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e15 || size < 1e-6) return value.toExponential(2);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  const fixed = value.toFixed(Math.min(digits, 12));
  const [whole, fraction = ''] = fixed.split('.');
  const trimmed = fraction.replace(/0+$/, '');
  const grouped = whole!.replace(/\B(?=(\d{3})+$)/g, ',');
  return trimmed === '' ? grouped : `${grouped}.${trimmed}`;
}

/** A ratio in percent with one decimal: `83.1 %`; `+`/`-` first when `signed`. */
export function percentText(ratio: number, signed = false): string {
  const text = `${Number((ratio * 100).toFixed(1))} %`;
  return signed && ratio >= 0 ? `+${text}` : text;
}

function isMilliseconds(metric: string): boolean {
  return /_ms(\.|$)/.test(metric);
}
