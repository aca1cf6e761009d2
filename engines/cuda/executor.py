"""Runs the passes of the scheduler on the GPU."""

import time
from bisect import bisect_left

import numpy

from model import Decoder
from timing import Stopwatch
from wire import Failure

# Passes run before the clock starts, so that none that counts compiles anything.
WARM_UP_RUNS = 2
WARM_UP_DECODES = 8


class TorchExecutor:
    """The decoder of `config` over the prompts' tokens. Page ids are those of the scheduler; tokens that were sampled are computed next."""

    def __init__(self, config, tokens):
        load = config['load_model']
        self.decoder = Decoder(load['model'], load['shard'], load['dtype'], load['limits'], load['routing'], load['seed'])
        if self.decoder.kv_pages < config['scheduler']['kv_blocks']:
            raise Failure('oom', f'{self.decoder.kv_pages} KV pages fit beside the model, {config["scheduler"]["kv_blocks"]} are asked for')
        self.limits = load['limits']
        self.graphs = sorted(config['graphs'])
        self.tokens = tokens
        self.tables = {}
        self.watch = Stopwatch(self.decoder.device)
        self._warm_up(config['scheduler'])

    def run(self, work):
        """One pass over requests with `past` and `new` tokens: (gpu_ms, issue_ms, batch of the graph or None). Sampled tokens are kept."""
        start = time.perf_counter_ns()
        seqs = [(request.new, request.past) for request in work]
        rows = [i for i, request in enumerate(work) if request.computed >= request.known and request.generated < request.output]
        tokens = [token for request in work for token in self.tokens[request.id][request.past : request.past + request.new]]
        pad_to = self._graph(seqs, rows)
        found, gpu_ms, issued = self._pass(seqs, [self._table(request) for request in work], rows, tokens, pad_to)
        for row, token in zip(rows, found):
            self.tokens[work[row].id].append(token)
        return gpu_ms, (issued - start) / 1e6, pad_to

    def _table(self, request):
        """The request's pages as an array, kept from pass to pass: only new pages are converted."""
        pages = request.pages
        known, array, filled = self.tables.get(request.id, (None, None, 0))
        if known is not pages:
            array, filled = numpy.empty(-(-(request.prompt + request.output) // self.limits['page']), dtype=numpy.int32), 0
        if filled < len(pages):
            array[filled : len(pages)] = pages[filled:]
            self.tables[request.id] = (pages, array, len(pages))
        return array[: len(pages)]

    def _graph(self, seqs, rows):
        """Batch of the smallest captured graph for these decodes; None = eager."""
        at = bisect_left(self.graphs, len(seqs))
        return self.graphs[at] if at < len(self.graphs) and len(rows) == len(seqs) and all(new == 1 for new, _ in seqs) else None

    def _pass(self, seqs, tables, rows, tokens, pad_to):
        decoder = self.decoder
        batch = decoder.prepare(seqs, tables=tables, rows=rows, tokens=tokens, pad_to=pad_to)
        if pad_to is None:
            self.watch.start()
            out = decoder.forward(batch)
            self.watch.stop()
        else:
            out = decoder.replay(batch, self.watch)
        issued = time.perf_counter_ns()
        return decoder.read_back(out), self.watch.read(), issued

    def _warm_up(self, scheduler):
        """Runs every graph, and prompts of every size, alone, ragged and beside others. What it leaves in the pages is never read."""
        page = self.limits['page']
        for size in self.graphs if self.decoder.on_gpu else ():
            self._warm([(1, page)] * size, scheduler, size)
        size = 1
        while size <= self.limits['max_tokens']:
            for seqs in ([(size, 0)], [(size, page)], [(size, 0), (-(-size // 2), 0)], [(1, page)] * WARM_UP_DECODES + [(size, 0), (size, page)]):
                self._warm(seqs, scheduler, None)
            size *= 2

    def _warm(self, seqs, scheduler, pad_to):
        pages = [-(-(new + past) // self.limits['page']) for new, past in seqs]
        tokens = sum(new for new, _ in seqs)
        if max(pages) > scheduler['kv_blocks'] or tokens > self.limits['max_tokens'] + self.limits['max_batch']:
            return
        for _ in range(WARM_UP_RUNS):
            self._pass(seqs, [numpy.arange(count) for count in pages], list(range(len(seqs))), [0] * tokens, pad_to)
