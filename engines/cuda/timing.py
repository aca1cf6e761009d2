"""What a measured thing looks like to the session: sample() -> (gpu_ms, wall_ms, issue_ms), kernel, flags, close(). Source: spec calibration 5."""

import math
import time

import torch

from device import Unsupported, l2_bytes
from graphs import record

ROTATE_L2 = 4
"""Weights and KV that an operator's calls go through in turn are together at least so many times the L2 cache."""
CALLS = 20
"""Calls in one replay, and how long it lasts at least and, unless one call is longer, at most, ms."""
LEAST_MS, MOST_MS = 0.2, 20.0
LONG_MS = 1.0
"""A call of so many ms is timed by itself to find out how many go into a replay."""


def rotation(nbytes, device):
    """How many copies of `nbytes` an operator goes through."""
    return max(1, math.ceil(ROTATE_L2 * l2_bytes(device) / max(1, nbytes)))


class Stopwatch:
    """Times what runs between start() and stop() on the device, ms; on a CPU by its clock."""

    def __init__(self, device):
        self.on_gpu = device.type == 'cuda'
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self.on_gpu else None

    def start(self):
        """Begins."""
        if self.on_gpu:
            self.events[0].record()
        else:
            self.begin = time.perf_counter()

    def stop(self):
        """Ends; does not wait."""
        if self.on_gpu:
            self.events[1].record()
        else:
            self.end = time.perf_counter()

    def read(self):
        """ms between start and stop; waits for the GPU."""
        if not self.on_gpu:
            return (self.end - self.begin) * 1e3
        self.events[1].synchronize()
        return self.events[0].elapsed_time(self.events[1])


class Target:
    """Base of what is measured."""

    def __init__(self, kernel, flags=()):
        self.kernel = kernel
        self.flags = list(flags)

    def time_ms(self):
        """One sample, ms per call."""
        raise NotImplementedError

    def sample(self):
        """(time of one call, None, None), ms."""
        return self.time_ms(), None, None

    def close(self):
        """Gives memory and files back."""


class GraphTarget(Target):
    """Calls of an operator in a CUDA graph. `calls`: functions of no arguments, one for each copy of weights or KV, used in turn.

    At least 20 calls and 200 µs in a replay, and every copy once; fewer calls, flagged few_calls, where 20 take more than 20 ms. On a CPU a loop."""

    def __init__(self, calls, kernel, device, flags=()):
        super().__init__(kernel, flags)
        self.calls = calls
        self.watch = Stopwatch(device)
        self.graph = None
        if device.type != 'cuda':
            self.count = len(calls)
            self.replay = self._loop
            self._loop()
            return
        once = self._once()
        few = max(1, min(CALLS, int(MOST_MS / once)))
        wanted = max(few, math.ceil(LEAST_MS / once), len(calls))
        self.flags += ['few_calls'] if wanted < CALLS else []
        self._capture(wanted)

    @torch.inference_mode()
    def _loop(self):
        for i in range(self.count):
            out = self.calls[i % len(self.calls)]()
        return out

    @torch.inference_mode()
    def _call(self):
        return self.calls[0]()

    def _capture(self, count):
        if self.graph is not None:
            if count == self.count:
                return
            self.graph.reset()
        self.count = count
        self.graph, self.out = record(self._loop, None, self._call)
        self.replay = self.graph.replay

    def _once(self):
        """Time of one call, ms: by itself if its launches do not matter, else in a graph of 20."""
        for _ in range(2):
            self.watch.start()
            self._call()
            self.watch.stop()
            once = self.watch.read()
        if once < LONG_MS:
            self._capture(CALLS)
            once = min(self.time_ms() for _ in range(3))
        return max(1e-4, once)

    def time_ms(self):
        self.watch.start()
        self.replay()
        self.watch.stop()
        return self.watch.read() / self.count

    def close(self):
        if self.graph is not None:
            torch.cuda.synchronize()
            self.graph.reset()
        self.graph = self.replay = self.out = None
        self.calls = []


class LoopTarget(Target):
    """A call that cannot be in a graph, so many times in a row that 200 µs are reached, 20 at most."""

    def __init__(self, call, kernel, device, flags=()):
        super().__init__(kernel, flags)
        self.call = call
        self.watch = Stopwatch(device)
        self.count = 1
        self.time_ms()
        self.count = max(1, min(CALLS, math.ceil(LEAST_MS / max(1e-3, self.time_ms()))))

    def time_ms(self):
        self.watch.start()
        for _ in range(self.count):
            self.call()
        self.watch.stop()
        return self.watch.read() / self.count

    def close(self):
        self.call = None


class HostTarget(Target):
    """Time on the host's clock, ms; `prepare` runs before, `settle` after, both untimed."""

    def __init__(self, call, kernel, prepare=None, settle=None, flags=()):
        super().__init__(kernel, flags)
        self.call, self.prepare, self.settle = call, prepare, settle
        self.time_ms()

    def time_ms(self):
        if self.prepare:
            self.prepare()
        begin = time.perf_counter()
        self.call()
        taken = (time.perf_counter() - begin) * 1e3
        if self.settle:
            self.settle()
        return taken

    def close(self):
        self.call = self.prepare = self.settle = None


def require_gpu(device, what):
    """Unsupported unless on a GPU."""
    if device.type != 'cuda':
        raise Unsupported('unsupported_kind', f'{what} needs a GPU')
