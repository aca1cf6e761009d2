import type { Problem } from '../core/problem.js';
import { atLeast, type DynamoVersion } from './dynamo.js';

/** Words a release cannot be given a flag for: the field, what it sets, and the first release that has the flag. */
export type TooOld = (path: string, what: string, since: string) => Problem;

/** Flags of a frontend as they are found, and what a release has none for. */
export class FrontendFlags {
  readonly args: string[] = [];
  readonly problems: Problem[] = [];

  constructor(
    private readonly version: DynamoVersion,
    private readonly tooOld: TooOld,
  ) {}

  /** Adds the words, or where the release is older than `since` the problem at `path`. */
  add(path: string, what: string, since: string, words: readonly string[]): void {
    if (atLeast(this.version, since)) this.args.push(...words);
    else this.problems.push(this.tooOld(path, what, since));
  }
}
