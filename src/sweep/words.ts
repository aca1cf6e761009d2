/** Metrics whose values are shares, written as percentages. */
const SHARES = new Set(['goodput_ratio', 'prefix_hit_ratio', 'load_ratio']);
const UNITS: Readonly<Record<string, string>> = {
  output_tok_s: 'tok/s',
  tok_s_per_gpu: 'tok/s/GPU',
  tok_s_per_user: 'tok/s/user',
  requests_s: 'req/s',
  goodput_rps: 'req/s',
  goodput_per_gpu: 'req/s/GPU',
  gpus: 'GPUs',
  gpu_hours: 'GPU-hours',
  cost_per_m_output: 'per million output tokens',
};

/** Four significant digits, thousands separated by commas; integers below 10⁹ whole, very small values as 1.234e-7. */
export function numberText(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 1e-6) return value.toExponential(3);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString('en-US');
  return value.toLocaleString('en-US', Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 });
}

/** `2 s`, `30 ms`, `1.5 s`: the unit a person would choose. */
export function durationText(ms: number): string {
  return Math.abs(ms) >= 1000 ? `${numberText(ms / 1000)} s` : `${numberText(ms)} ms`;
}

/** `12.3%` of a ratio. */
export function percentText(ratio: number): string {
  return `${(ratio * 100).toLocaleString('en-US', { maximumFractionDigits: 1 })}%`;
}

/** A metric's value with its unit, for sentences. */
export function metricText(metric: string, value: number | null): string {
  if (value === null) return 'no value';
  if (/_ms(\.|$)/.test(metric)) return durationText(value);
  if (SHARES.has(metric)) return percentText(value);
  const unit = value === 1 ? UNITS[metric]?.replace(/s$/, '') : UNITS[metric];
  return unit === undefined ? numberText(value) : `${numberText(value)} ${unit}`;
}
