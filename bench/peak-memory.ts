/** Loaded before a measured program: at its end writes its peak resident memory, MiB, to descriptor 3. */
import { readFileSync, writeSync } from 'node:fs';

process.on('exit', () => writeSync(3, String(peakMiB())));

/** `maxRSS` also counts what the parent held when it forked; Linux knows better. */
function peakMiB(): number {
  try {
    return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  } catch {
    return process.resourceUsage().maxRSS / 1024;
  }
}
