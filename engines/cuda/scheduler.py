"""Continuous batching: which tokens of which requests share the next forward pass, and which KV pages they use.

Rules: requests that run go first, then the head of the queue and nobody past it, inside one token budget; a waiting request needs
room for everything it knows; who runs out of pages pushes out the newest (lifo) or oldest request, which is computed again; full
pages can be found by later prompts, at least one token of every request is computed. The simulator has the same rules: a
difference between the two is a defect.

Tokens: prompt P, generated g, known L = P + g, computed C (their keys and values are in pages).
"""

from collections import deque

from sequences import Pass, Queued
from pages import PagePool

# Passes that pushed somebody out, since anybody got a token, after which a request that was pushed out is given up.
MOST_BARREN_PASSES = 100


class Scheduler:
    """`config`: block_size, kv_blocks, max_num_seqs, max_num_batched_tokens, prefix_caching, chunked_prefill, context_length (None = no limit), preemption."""

    def __init__(self, config):
        self.block = config['block_size']
        self.max_seqs = config['max_num_seqs']
        self.max_tokens = config['max_num_batched_tokens']
        self.max_length = config['context_length'] or float('inf')
        self.caching = config['prefix_caching']
        self.chunking = config['chunked_prefill']
        self.victim_at = -1 if config['preemption'] == 'lifo' else 0
        self.pool = PagePool(config['kv_blocks'])
        self.waiting = deque()
        self.running = []  # in order of admission
        self.queued = Queued()  # never run: prompts
        self.requeued = Queued()  # preempted: known tokens
        self.hits = []
        self.hits_in_use = 0
        self.budget = 0
        self.barren_passes = 0
        self.own_contents = 0
        self.current = None

    def submit(self, request):
        self.waiting.append(request)
        self.queued.add(request.prompt)

    def is_idle(self):
        return not self.running and not self.waiting

    def begin(self):
        """Schedules one pass; None when nothing waits or runs. All pages are taken and given back as of its end, but for those `end` releases."""
        if self.is_idle():
            return None
        self.current = Pass()
        self.budget = self.max_tokens
        self._schedule_running()
        self._admit_waiting()
        self._collect()
        return self.current

    def end(self):
        """The pass is over: requests that know a new token, and those that leave (also in `finished`)."""
        emitting = []
        kept = []
        for request in self.running:
            is_ready = request.new > 0 and request.computed >= request.known
            request.new = 0
            if is_ready:
                request.generated += 1
                emitting.append(request)
            if is_ready and (request.generated >= request.output or request.known >= self.max_length):
                self._leave(request)
            else:
                kept.append(request)
        self.running = kept
        if emitting:
            self.barren_passes = 0
        elif self.current.preempted:
            self.barren_passes += 1
        return emitting

    # Requests that run.

    def _schedule_running(self):
        running = self.running
        position = 0
        while position < len(running) and self.budget > 0:
            request = running[position]
            if request.prompt + request.generated - request.computed == 1 and request.computed % self.block != 0:
                self._step(request)
                position += 1
                continue
            outcome = self._schedule(request)
            if outcome == 'blocked':
                return
            # Who pushed out somebody ahead of it has moved up a place, and the one behind it sits the pass out.
            if outcome == 'scheduled':
                position += 1

    def _step(self, request):
        """One token, for which the last page has room."""
        request.past = request.computed
        request.new = 1
        request.computed += 1
        self.budget -= 1
        if request.computed % self.block == 0:
            self._publish(request)

    def _schedule(self, request):
        known = request.known
        start = len(self.hits) * self.block if request.computed == 0 else request.computed
        prompt_left = request.prompt - min(start, request.prompt)
        if prompt_left > self.budget and not self.chunking:
            return 'blocked'
        tokens = min(known - start, self.budget)
        if tokens == 0 and known > start:
            return 'blocked'
        while not self._grow(request, start + tokens):
            if not self.running:
                return 'blocked'
            victim = self.running[self.victim_at]
            self._preempt(victim)
            if victim is request:
                return 'preempted'
        request.past = start
        request.new = tokens
        request.computed = start + tokens
        self.budget -= tokens
        self._publish(request)
        return 'scheduled'

    def _preempt(self, victim):
        self.budget += victim.new
        victim.new = 0
        self.running.pop(self.victim_at)
        self._release(victim)
        victim.pages = []
        victim.published = 0
        victim.prefill_to = victim.known
        victim.computed = 0
        victim.fresh = False
        self.waiting.appendleft(victim)
        self.requeued.add(victim.known)
        self.current.preempted.append(victim.id)

    # The queue.

    def _admit_waiting(self):
        current = self.current
        while not current.preempted and len(self.running) < self.max_seqs and self.waiting:
            request = self.waiting[0]
            verdict = self._verdict(request)
            if verdict == 'wait':
                return
            if verdict == 'admit':
                if self._schedule(request) != 'scheduled':
                    return
                self.running.append(request)
                current.admitted.append((request.id, len(self.hits) * self.block))
            else:
                current.rejected.append(request.id)
            self.waiting.popleft()
            (self.queued if request.fresh else self.requeued).add(request.prompt if request.fresh else request.known, -1)

    def _verdict(self, request):
        self.hits = []
        self.hits_in_use = 0
        if self.barren_passes > MOST_BARREN_PASSES and not request.fresh:
            self.barren_passes = 0
            return 'reject'
        pool = self.pool
        blocks = self._blocks(request.known)
        if request.prompt >= self.max_length or (request.fresh and blocks > pool.capacity):
            return 'reject'
        self._find_hits(request, (request.known - 1) // self.block)
        if blocks - self.hits_in_use > pool.available():
            return 'reject' if blocks > pool.capacity else 'wait'
        uncached = request.prompt - min(request.prompt, len(self.hits) * self.block)
        never_fits = not self.chunking and uncached > self.max_tokens and not self.running
        return 'reject' if never_fits else 'admit'

    def _find_hits(self, request, limit):
        if not self.caching:
            return
        for content in request.contents[:limit]:
            page = self.pool.find(content)
            if page is None:
                return
            self.hits.append(page)
            if self.pool.references[page] > 0:
                self.hits_in_use += 1

    # What the pass holds.

    def _collect(self):
        """Work in the order of the running requests. Who asked for no token leaves before the pass is run."""
        current = self.current
        kept = []
        for request in self.running:
            if request.new > 0:
                self._note(request)
            if request.new > 0 and request.generated >= request.output and request.computed >= request.known:
                self._leave(request)
            else:
                kept.append(request)
        self.running = kept
        current.active = self.pool.active()

    def _note(self, request):
        current = self.current
        current.work.append(request)
        past = request.past
        if past < request.prefill_to:
            current.prefill.append((request.id, past, request.new))
            current.prefill_lengths.append(request.prompt)
        else:
            current.decodes += 1
            current.decode_kv += past
            current.decode_kv2 += past * past
            if past > current.decode_longest:
                current.decode_longest = past

    # Pages.

    def _blocks(self, tokens):
        return -(-tokens // self.block)

    def _grow(self, request, tokens):
        """Pages for so many tokens, cached ones first; False and no change when there is no room."""
        pool = self.pool
        pages = request.pages
        hits = [] if pages else self.hits
        fresh = self._blocks(tokens) - len(pages) - len(hits)
        inactive_hits = 0 if pages else len(hits) - self.hits_in_use
        if fresh > pool.available() - inactive_hits:
            return False
        if hits:
            for page in hits:
                pool.pin(page)
            pages.extend(hits)
            request.published = len(hits)
        for _ in range(fresh):
            pages.append(pool.take())
        return True

    def _publish(self, request):
        """Full pages can be found from now on, also later in the same pass."""
        if not self.caching:
            return
        for block in range(request.published, request.computed // self.block):
            if block == len(request.contents):  # generated: nobody else has it
                self.own_contents += 1
                request.contents.append(-self.own_contents)
            self.pool.publish(request.pages[block], request.contents[block])
            request.published = block + 1

    def _release(self, request):
        """Last page first, so that prefixes outlive what builds on them."""
        for page in reversed(request.pages):
            self.pool.release(page)

    def _leave(self, request):
        """Its list of pages stays: the pass in progress may still write to them."""
        self._release(request)
        self.current.finished.append(request.id)
