"""What a pass is made of: requests with their tokens and pages, and lengths that wait."""


class Request:
    """One request inside the scheduler. `contents`: identity of each full page, the prompt's first; `output`: tokens to make."""

    __slots__ = ('id', 'prompt', 'output', 'contents', 'generated', 'computed', 'pages', 'published', 'prefill_to', 'fresh', 'past', 'new')

    def __init__(self, id, prompt, output, contents):
        self.id = id
        self.prompt = prompt
        self.output = output
        self.contents = list(contents)
        self.generated = 0
        self.computed = 0
        self.pages = []
        self.published = 0
        self.prefill_to = prompt  # tokens up to here are prompt work: after a preemption all that was known
        self.fresh = True  # never preempted
        self.past = 0  # of the pass in progress: tokens in pages before it, and those it computes
        self.new = 0

    @property
    def known(self):
        return self.prompt + self.generated


class Pass:
    """One forward pass. `work`: requests with `past` and `new` tokens; `prefill`: (id, past, new) of those with prompt work."""

    __slots__ = ('work', 'prefill', 'prefill_lengths', 'decodes', 'decode_kv', 'decode_kv2', 'decode_longest', 'admitted', 'preempted', 'rejected', 'finished', 'active')

    def __init__(self):
        self.work = []
        self.prefill = []
        self.prefill_lengths = []
        self.decodes = self.decode_kv = self.decode_kv2 = self.decode_longest = 0  # how many; sum, sum of squares and most of their tokens in pages
        self.admitted = []  # (id, tokens taken over from cached pages)
        self.preempted = []
        self.rejected = []
        self.finished = []
        self.active = 0  # pages in use


class Queued:
    """Count, sum and sum of squares of lengths that wait."""

    __slots__ = ('count', 'total', 'squares')

    def __init__(self):
        self.count = self.total = self.squares = 0

    def add(self, length, sign=1):
        self.count += sign
        self.total += sign * length
        self.squares += sign * length * length
