import { progressLine } from '../report/terminal.js';

/** The progress bar on stderr, on terminals only; redrawn at most ten times a second. */
export function progressPrinter(quiet: boolean): { show(done: number, total: number): void; clear(): void } {
  if (quiet || !process.stderr.isTTY) return { show: () => undefined, clear: () => undefined };
  const start = performance.now();
  let last = -Infinity;
  return {
    show: (done, total) => {
      const now = performance.now();
      if (now - last < 100 && done < total) return;
      last = now;
      process.stderr.write(`\r\u001b[K${progressLine(done, total, now - start, process.stderr.columns || 80)}`);
    },
    clear: () => void process.stderr.write('\r\u001b[K'),
  };
}
