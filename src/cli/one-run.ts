import { setFlagsFromString } from 'node:v8';

/**
 * For commands that make one run and end: most of such a process goes by before the optimising compiler has
 * caught up, and it catches up sooner with smaller units. Measured on the conversation trace by setting the flag
 * for node: 5–12 % less for a cold run below a second, 10 % more for a warm simulation.
 */
export function tuneForOneRun(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=300');
}
