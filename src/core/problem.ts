/**
 * Errors and warnings as values of one type.
 *
 * Every problem a user can cause carries a code (`E-…` stops, `W-…` warns), the place it stands
 * (file, 1-based line and column), the path of the field, what is wrong and how to put it right.
 */
export interface Problem {
  /** `E-UNIT`, `W-SATURATED`, … */
  readonly code: string;
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based, in code points. */
  readonly col?: number;
  /** Dotted path of the field, such as `deployment.agg.tp`. */
  readonly path?: string;
  /** What is wrong, one clause. */
  readonly what: string;
  /** What to do about it, one clause. */
  readonly hint?: string;
}

/** One line: `FILE:LINE:COL: error CODE: PATH: WHAT; HINT` (absent parts are left out). */
export function formatProblem(problem: Problem): string {
  const place = [problem.file, problem.line, problem.col].filter((part) => part !== undefined).join(':');
  const kind = problem.code.startsWith('W-') ? 'warning' : 'error';
  const parts = [`${kind} ${problem.code}`];
  if (place !== '') parts.unshift(place);
  if (problem.path) parts.push(problem.path);
  parts.push(problem.hint ? `${problem.what}; ${problem.hint}` : problem.what);
  return parts.join(': ');
}

/** Bad input: exit code 2. Carries every problem found, in the order of their position. */
export class InputError extends Error {
  readonly problems: readonly Problem[];
  constructor(problems: Problem | readonly Problem[]) {
    const list = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.map(formatProblem).join('\n'));
    this.name = 'InputError';
    this.problems = list;
  }
}

/** The input was good and the run failed (nothing feasible, a resource ran out): exit code 1. */
export class RunError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(formatProblem(problem));
    this.name = 'RunError';
    this.problem = problem;
  }
}
