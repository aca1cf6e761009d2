import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Mean arrival rate of a Mooncake trace, requests/s (rows over the span of their timestamps); null when it cannot be told. */
export function traceRate(path: string): number | null {
  try {
    const bytes = readFileSync(path);
    const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
    let rows = 0;
    let first = Infinity;
    let last = -Infinity;
    for (const [, number] of text.matchAll(/"timestamp"\s*:\s*(\d+(?:\.\d+)?)/g)) {
      const timestampMs = Number(number);
      rows++;
      first = Math.min(first, timestampMs);
      last = Math.max(last, timestampMs);
    }
    return rows > 1 && last > first ? (rows * 1000) / (last - first) : null;
  } catch {
    return null;
  }
}
