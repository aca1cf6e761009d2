import { empty } from '../core/list.js';
import type { EngineObserver } from './engine.js';

/** Tokens of a pass that has been carried out and has not ended yet: told when it ends. */
export class PassTokens {
  /** Who got a token, once per token; who got its second one among the pooled. */
  readonly single: number[] = [];
  readonly second: number[] = [];
  /** Requests whose tokens are only counted, and their common gap, ms. */
  pooled = 0;
  gapMs = NaN;
  /** Those of them that left, and their tokens so far. */
  private readonly left: number[] = [];
  private readonly leftTokens: number[] = [];

  noteLeft(request: number, tokens: number): void {
    this.left.push(request);
    this.leftTokens.push(tokens);
  }

  tell(observer: EngineObserver, startMs: number, endMs: number): void {
    for (let i = 0; i < this.single.length; i++) observer.token(this.single[i]!, endMs, startMs, endMs - startMs);
    for (let i = 0; i < this.second.length; i++) observer.secondToken(this.second[i]!, endMs);
    if (this.pooled > 0) observer.gaps(this.gapMs, this.pooled);
    for (let i = 0; i < this.left.length; i++) observer.caughtUp(this.left[i]!, this.leftTokens[i]!, endMs);
    this.forget();
  }

  forget(): void {
    empty(this.single);
    empty(this.second);
    empty(this.left);
    empty(this.leftTokens);
    this.pooled = 0;
  }
}
