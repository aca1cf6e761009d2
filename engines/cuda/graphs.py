"""CUDA graphs: of decodes padded to a batch, whose inputs are refilled, and of one fixed pass."""

import torch

from attention import PAGE
from device import Unsupported
from packing import aligned

WARM_RUNS = 2
_streams = []


def _side_stream():
    """One stream for all warm-ups: torch keeps freed memory by stream."""
    if not _streams:
        _streams.append(torch.cuda.Stream())
    return _streams[0]


def record(run, pool, warm=None):
    """(graph, output) of `run()`. It, or `warm` instead, runs before the recording, so that kernels are compiled and libraries have their workspaces."""
    stream = _side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_RUNS):
            (warm or run)()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        # thread_local: the thread that reads NVML must not end the recording.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode='thread_local'):
            out = run()
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as failure:
        raise Unsupported('unsupported_kind', f'cannot be captured in a CUDA graph: {str(failure).splitlines()[0][:200]}') from failure
    return graph, out


class DecodeInputs:
    """Static inputs of `pad_to` decodes with contexts up to max_context; looks like a Batch to the decoder. All rows are padding until filled."""

    def __init__(self, pad_to, max_context, splits, device):
        self.tokens = self.decodes = pad_to
        self.prompts = self.prompt_tokens = 0
        self.every_row = True
        self.routes = None
        self.splits = splits
        step = aligned(pad_to)
        self.head = torch.zeros(4 * step, dtype=torch.int32, device=device)
        self.ids, self.positions, self.slots, self.lengths = (self.head[i * step : i * step + pad_to] for i in range(4))
        self.slots.fill_(-1)
        self.decode_tables = torch.zeros((pad_to, -(-max_context // PAGE)), dtype=torch.int32, device=device)
        self.max_context = max_context

    def fill(self, batch):
        """Copies the inputs of an uploaded batch padded to the same size, on the device."""
        if batch.context > self.max_context:
            raise Unsupported('unsupported_kind', f"context {batch.context} is longer than the graph's {self.max_context}")
        self.head.copy_(batch.device_array[: self.head.shape[0]])
        self.decode_tables[:, : batch.decode_tables.shape[1]].copy_(batch.decode_tables)


class DecodeGraph:
    """A graph of one decode step: fill, then replay."""

    def __init__(self, inputs, run, pool):
        self.inputs = inputs
        self.graph, self.out = record(lambda: run(inputs), pool)

    def replay(self):
        """Tokens of all `pad_to` rows, valid until the next replay of any graph."""
        self.graph.replay()
        return self.out


class PassGraph:
    """A graph of one pass over one batch: the same sequences, pages and tokens at each replay."""

    def __init__(self, batch, run, pool):
        self.batch = batch
        self.graph, self.out = record(lambda: run(batch), pool)

    def replay(self):
        """Tokens of the batch's rows, valid until the next replay of any graph."""
        self.graph.replay()
        return self.out
