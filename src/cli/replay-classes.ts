import { InputError, type Problem } from '../core/problem.js';
import { parsePolicyClasses, textOf } from '../scenario/policy-classes.js';
import type { QueueClasses } from '../scenario/scenario.js';

/** File of `--router-policy-config`, and the model of `--model-name`. */
export interface ClassesFile {
  readonly file: string;
  readonly model: string | null;
}

/** The classes that a replay's router has: those of the model's profile where there is one. Throws `InputError` for a file that is not good. Source: spec interop section 4, router section 5.4. */
export function readReplayClasses({ file, model }: ClassesFile): QueueClasses {
  const text = textOf(file);
  if (typeof text !== 'string') throw new InputError({ code: 'E-FILE', path: '--router-policy-config', what: `'${file}': ${text.reason}`, hint: 'give a YAML file of policy classes' });
  const problems: Problem[] = [];
  const classes = parsePolicyClasses(text, file, model, problems);
  if (!classes) throw new InputError(problems);
  return classes;
}
