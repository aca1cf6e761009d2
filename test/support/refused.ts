import { InputError, type Problem } from '../../src/core/problem.js';

/** The first problem of bad input; throws when nothing was refused. */
export function problemOf(run: () => unknown): Problem {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error.problems[0]!;
    throw error;
  }
  throw new Error('nothing was refused');
}
