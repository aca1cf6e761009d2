import { BlockSpans } from './block-spans.js';
import type { Verdict } from './block-state.js';
import { SIGNAL } from './engine.js';
import { clearPrompts } from '../timing/timing.js';

type Outcome = 'scheduled' | 'blocked' | 'preempted';

/** Passes that preempted, since anybody got a token, after which a preempted request is given up: two that push each other out would go on for ever. */
export const MOST_BARREN_PASSES = 100;

/**
 * Who gets what in one general pass: requests that run first, then the queue, inside one token budget;
 * who gives way when blocks run out. Source: spec engine sections 2.1 to 2.4, fast-core section 5.
 */
export abstract class BlockScheduling extends BlockSpans {
  /** Tokens left in the pass in progress. */
  private budget = 0;
  protected preemptedThisPass = false;
  /** Requests ahead of the one being scheduled that gave way to it. */
  private victimsAhead = 0;
  /** Who came after the last request that gave way, -1 = nobody. */
  private followsVictim = -1;
  private admissions = 0;
  protected barrenPasses = 0;

  /** A prompt that was handed over is not charged for where it is computed again: so the references have it. */
  protected chargesPrompt(request: number): boolean {
    return this.sequences.handedOver[request] === 0 || this.config.semantics.recomputesAsPrefill;
  }

  /** Everything it knows is computed: its next token comes at the end of this pass. */
  protected isReady(request: number): boolean {
    return this.sequences.computed[request]! >= this.sequences.known(request);
  }

  /** Phase 1: requests that run, the group as one where nothing stands against it. */
  protected beginGeneralPass(): void {
    this.budget = this.maxTokens;
    this.preemptedThisPass = false;
    const shape = this.shape;
    clearPrompts(shape);
    if (!this.scheduleTogether()) {
      this.dissolve();
      this.scheduleRunning();
    }
  }

  /** The group takes its blocks, then the one unfinished prompt at the end of the list its chunk. */
  private scheduleTogether(): boolean {
    const { group, cache } = this;
    const prompt = this.looseCount > 0 ? this.loose[0]! : -1;
    if (this.looseCount > 1 || group.count > this.maxTokens || prompt !== (prompt < 0 ? -1 : this.running.last)) return false;
    if (prompt >= 0 && !this.chunking) return false;
    const crossing = group.crossing(0);
    const left = this.maxTokens - group.count;
    const chunkBlocks = prompt < 0 ? 0 : this.blocksOfChunk(prompt, left);
    if (crossing + chunkBlocks > cache.pool.free + cache.pool.inactive) return false;
    if (crossing > 0) this.growMembers(crossing);
    this.publishFilled(1);
    this.budget = left;
    if (prompt >= 0) {
      this.forgetPass(prompt);
      if (left > 0) this.schedule(prompt);
    }
    return true;
  }

  /** New blocks of a prompt's next chunk. */
  private blocksOfChunk(request: number, budget: number): number {
    const computed = this.sequences.computed[request]!;
    const chunk = Math.min(this.sequences.known(request) - computed, budget);
    return Math.max(0, this.cache.blocksFor(computed + chunk) - this.sequences.blocks[request]!);
  }

  private forgetPass(request: number): void {
    this.sequences.passTokens[request] = 0;
    this.sequences.passPromptTokens[request] = 0;
  }

  /** Everybody for himself: members get their own state back. */
  private dissolve(): void {
    this.looseCount = 0;
    for (let request = this.running.first; request >= 0; request = this.running.next[request]!) {
      if (this.sequences.bucket[request]! >= 0) this.expel(request);
      this.forgetPass(request);
      this.loose[this.looseCount++] = request;
    }
    this.newcomerCount = 0;
  }

  private expel(request: number): void {
    this.group.leave(request);
    if (!this.isPrefill) this.context.observer.caughtUp(request, this.sequences.generated[request]!, this.lastEndMs);
  }

  /** One by one. A preemption ahead of the current request shifts the list, so that as many requests behind it sit the pass out: as the reference does. */
  private scheduleRunning(): void {
    const { next } = this.running;
    let request = this.running.first;
    while (request >= 0 && this.budget > 0) {
      this.victimsAhead = 0;
      const outcome = this.schedule(request);
      if (outcome === 'blocked') return;
      request = outcome === 'preempted' ? this.followsVictim : next[request]!;
      for (let skipped = 0; skipped < this.victimsAhead && request >= 0; skipped++) request = next[request]!;
    }
  }

  /** Phase 2: the head of the queue, and nobody past it. A refused head stays refused until something is released. */
  protected admitWaiting(nowMs: number): void {
    while (this.mayAdmit && !this.preemptedThisPass && this.running.count < this.maxSeqs) {
      let request = this.reservationPending ? this.firstMaterialised() : this.waiting.first;
      let verdict = this.verdictOn(request);
      if (verdict === 'wait' && this.running.count === 0 && !this.reservationPending) {
        // The head may wait for blocks of prompts that have arrived behind it: these go first then.
        request = this.firstMaterialised();
        verdict = this.verdictOn(request);
      }
      if (verdict === 'wait') {
        this.mayAdmit = false;
        return;
      }
      if (verdict === 'admit') {
        if (this.schedule(request) !== 'scheduled') return;
        this.waiting.remove(request);
        this.start(request, nowMs);
      } else {
        this.waiting.remove(request);
        this.signal(request, SIGNAL.rejected);
      }
    }
  }

  private firstMaterialised(): number {
    let request = this.waiting.first;
    while (request >= 0 && this.sequences.materialised[request] === 0) request = this.waiting.next[request]!;
    return request;
  }

  private verdictOn(request: number): Verdict {
    this.cache.clearHits();
    if (request < 0) return 'wait';
    if (this.barrenPasses > MOST_BARREN_PASSES && this.sequences.fresh[request] === 0) {
      this.barrenPasses = 0;
      return 'reject';
    }
    return this.sequences.materialised[request] === 1 ? 'admit' : this.admission(request);
  }

  private start(request: number, nowMs: number): void {
    const { hits } = this.cache;
    this.sequences.admission[request] = ++this.admissions;
    this.sequences.materialised[request] = 0;
    this.running.append(request);
    this.loose[this.looseCount++] = request;
    this.statistics.hitBlocks += hits;
    this.context.observer.admitted(request, nowMs, hits * this.blockTokens);
  }

  /** Gives a request its share of the budget and the blocks for it. */
  private schedule(request: number): Outcome {
    const { sequences, cache } = this;
    const known = sequences.known(request);
    const prompt = sequences.prompt[request]!;
    const computed = sequences.computed[request]!;
    const from = computed === 0 ? cache.hits * this.blockTokens : computed;
    if (!this.chunking && prompt - Math.min(from, prompt) > this.budget) return 'blocked';
    const tokens = Math.min(known - from, this.budget);
    if (tokens === 0 && known > from) return 'blocked';
    while (!cache.allocate(request, from + tokens)) {
      const victim = this.victim();
      if (victim < 0) return 'blocked';
      if (victim === this.running.first) this.victimsAhead++;
      this.preempt(victim, true);
      if (victim === request) {
        this.victimsAhead--;
        return 'preempted';
      }
    }
    sequences.computed[request] = from + tokens;
    this.budget -= tokens;
    cache.publishFull(request);
    this.noteWork(request, from, tokens);
    return 'scheduled';
  }

  private noteWork(request: number, from: number, tokens: number): void {
    const { sequences } = this;
    const prefillTo = sequences.prefillTo[request]!;
    const start = Math.min(from, prefillTo);
    const promptTokens = Math.min(from + tokens, prefillTo) - start;
    sequences.passTokens[request] = tokens;
    sequences.passPromptTokens[request] = promptTokens;
    sequences.passStartTokens[request] = start;
    if (promptTokens === 0) return;
    // Blocks that a prompt makes visible may be the head's, too.
    this.mayAdmit = true;
    if (this.chargesPrompt(request)) this.countPrefill(request, 1);
  }

  private countPrefill(request: number, sign: 1 | -1): void {
    const { shape, sequences } = this;
    const start = sequences.passStartTokens[request]!;
    const end = start + sequences.passPromptTokens[request]!;
    shape.prefillRequests += sign;
    shape.prefillEndTokens += sign * end;
    shape.prefillStartTokens += sign * start;
    shape.prefillAttentionTokens2 += sign * (end * end - start * start);
  }

  /** Takes a running request's blocks; `uncharge`: its prompt work of this pass is not paid for. */
  protected preempt(victim: number, uncharge: boolean): void {
    const { sequences } = this;
    if (sequences.bucket[victim]! >= 0) throw new Error('invariant broken: a member of the group was preempted');
    this.budget += sequences.passTokens[victim]!;
    if (uncharge && sequences.passPromptTokens[victim]! > 0 && this.chargesPrompt(victim)) this.countPrefill(victim, -1);
    this.forgetPass(victim);
    this.followsVictim = this.running.next[victim]!;
    this.running.remove(victim);
    const place = this.loose.indexOf(victim);
    this.loose.copyWithin(place, place + 1, this.looseCount--);
    this.cache.preempt(victim);
    this.mayAdmit = true;
    if (this.config.semantics.recomputesAsPrefill) sequences.prefillTo[victim] = sequences.known(victim);
    sequences.computed[victim] = 0;
    sequences.fresh[victim] = 0;
    this.waiting.prepend(victim);
    this.preemptedThisPass = true;
    this.statistics.preemptions++;
    this.context.observer.preempted(victim, this.startMs);
  }
}
