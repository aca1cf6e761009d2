import type { ReplayReport } from './replay-report.js';

const COLUMNS = [['avg', 'mean'], ['min', 'min'], ['max', 'max'], ['p99', 'p99'], ['p90', 'p90'], ['p75', 'p75'], ['std', 'std']] as const;

const DISTRIBUTIONS = [
  ['Time to First Token (ms)', 'ttft_ms'],
  ['Time to Second Token (ms)', 'ttst_ms'],
  ['Request Latency (ms)', 'e2e_latency_ms'],
  ['Inter Token Latency (ms)', 'itl_ms'],
  ['Output Token Throughput Per User (tokens/sec/user)', 'output_token_throughput_per_user'],
] as const;

const SCALARS = [
  ['Output Token Throughput (tokens/sec)', 'output_throughput_tok_s'],
  ['Request Throughput (requests/sec)', 'request_throughput_rps'],
  ['Request Count (requests)', 'completed_requests'],
] as const;

const LINES = [
  ['Wall Time (ms)', 'wall_time_ms'],
  ['Prefix Cache Reused Ratio', 'prefix_cache_reused_ratio'],
  ['First Admission Prefix Cache Reused Ratio', 'first_admission_prefix_cache_reused_ratio'],
] as const;

/** The console table of `replay` in AIPerf's shape, with the lines below it (spec: workload section 4.3). */
export function aiperfTable(report: ReplayReport, savedTo?: string): string {
  const rows = [
    ['Metric', ...COLUMNS.map(([title]) => title)],
    ...DISTRIBUTIONS.filter(([, suffix]) => `mean_${suffix}` in report).map(([title, suffix]) => [
      title,
      ...COLUMNS.map(([, figure]) => twoDecimals(report[`${figure}_${suffix}`])),
    ]),
    ...SCALARS.map(([title, key]) => [title, twoDecimals(report[key]), ...COLUMNS.slice(1).map(() => 'N/A')]),
  ];
  const lines = LINES.filter(([, key]) => key in report).map(([title, key]) => `${title}: ${twoDecimals(report[key])}`);
  if (savedTo !== undefined) lines.push(`Saved full report to: ${savedTo}`);
  return ['NVIDIA AIPerf | LLM Metrics', ...boxed(rows), ...lines].join('\n');
}

/** Two decimals with comma thousands; exact halves go to the even digit, as in Python. */
export function twoDecimals(value: number | undefined): string {
  if (value === undefined) return 'N/A';
  const isHalf = Math.abs((value * 8) % 2) === 1;
  const cents = Math.floor(Math.abs(value) * 100);
  const magnitude = isHalf ? ((cents + (cents % 2)) / 100).toFixed(2) : Math.abs(value).toFixed(2);
  const [whole, fraction] = magnitude.split('.') as [string, string];
  return `${value < 0 ? '-' : ''}${whole.replace(/\B(?=(\d{3})+$)/g, ',')}.${fraction}`;
}

function boxed(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const rule = (left: string, middle: string, right: string): string =>
    left + widths.map((width) => '━'.repeat(width + 2)).join(middle) + right;
  const [header, ...body] = rows.map(
    (row) => `┃${row.map((cell, i) => ` ${i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)} `).join('┃')}┃`,
  );
  return [rule('┏', '┳', '┓'), header!, rule('┡', '╇', '┩'), ...body, rule('└', '┴', '┘')];
}
