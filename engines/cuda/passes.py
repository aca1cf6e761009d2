"""Passes of the loaded model: GPU, wall and issue time of each repeat. Source: spec calibration 4 (depth, ring) and 5."""

import statistics
import time

import numpy
import torch

from device import Flusher, Unsupported
from timing import Stopwatch, Target

DEPTHS = (4, 8, 12)
DEPTH_RESIDUAL = 0.01
RING_TOLERANCE = 0.01
TRIALS = 3
LEAST_REPEATS = 13
"""Repeats that must fit into the time cap, warm-up included, else fewer layers are run."""
FLUSH_L2 = 2


def line(points, at):
    """(value at `at` of the least-squares line through points [(x, y), …], largest relative distance of a point from it)."""
    x, y = (numpy.array(column, dtype=float) for column in zip(*points))
    slope, start = numpy.polyfit(x, y, 1)
    return float(start + slope * at), float(numpy.abs((start + slope * x) / y - 1).max())


class PassTarget(Target):
    """A pass of `decoder`, eager, or through a graph of decodes padded to the point's `pad_to`, or captured as a whole.

    sample() -> (gpu_ms around the graph or the launches, wall_ms from preparing inputs to tokens on the host, issue_ms to the last launch)."""

    def __init__(self, decoder, point, cap_s):
        self.decoder, self.point = decoder, point
        seqs = [tuple(s) for s in point['seqs']]
        self.seqs, self.rows = seqs, list(range(max(0, len(seqs) - point['rows']), len(seqs)))
        self.decodes = all(new == 1 for new, _ in seqs)
        self.pad_to = (point.get('pad_to') or len(seqs)) if point['mode'] == 'graph' and self.decodes else None
        self.ids = decoder.random.integers(0, decoder.shard.vocab, sum(new for new, _ in seqs))
        self.tables = decoder.order.tables([new + past for new, past in seqs])
        batch = self._batch()
        super().__init__(batch.kernel)
        self.watch = Stopwatch(decoder.device)
        self.flusher = Flusher(decoder.device) if decoder.bytes_read(batch) < FLUSH_L2 * decoder.l2_bytes else None
        self.depths, self.captured = None, {}
        layers = decoder.shard.layers
        if self._too_long(layers, cap_s):
            self._extrapolate(layers)
        else:
            self._run(None, None)
        if decoder.distinct_layers < layers:
            self._check_ring()

    def _batch(self):
        return self.decoder.prepare(self.seqs, self.tables, self.rows, self.ids, self.pad_to)

    def _run(self, depth, ring):
        """(gpu, wall, issue) of one repeat, ms."""
        decoder, watch = self.decoder, self.watch
        graph = self._captured(depth, ring) if self.point['mode'] == 'graph' and not self.decodes else None
        if self.pad_to is not None:
            decoder.capture(self.pad_to, None, depth, ring)
        if self.flusher is not None:
            self.flusher.flush()
        if decoder.on_gpu:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        batch = self._batch()
        if self.pad_to is not None:
            out = decoder.replay(batch, watch, depth, ring)
        else:
            watch.start()
            out = decoder.forward(batch, depth, ring) if graph is None else graph.replay()
            watch.stop()
        issued = time.perf_counter()
        decoder.read_back(out)
        ended = time.perf_counter()
        return watch.read(), (ended - begin) * 1e3, (issued - begin) * 1e3

    def _captured(self, depth, ring):
        key = (depth, ring)
        if key not in self.captured:
            self.captured[key] = self.decoder.capture_pass(self._batch(), depth, ring)
        return self.captured[key]

    def _trial(self, depth, ring):
        """Median GPU time of a few repeats after one to warm up, ms."""
        self._run(depth, ring)
        return statistics.median(self._run(depth, ring)[0] for _ in range(TRIALS))

    def _too_long(self, layers, cap_s):
        """Whether the repeats would exceed the cap, judged from a few layers so that a long pass is not run to find out."""
        if layers <= DEPTHS[-1]:
            return False
        self._run(DEPTHS[0], None)
        return self._run(DEPTHS[0], None)[0] * layers / DEPTHS[0] * LEAST_REPEATS > 1e3 * cap_s

    def _extrapolate(self, layers):
        value, residual = line([(depth, self._trial(depth, None)) for depth in DEPTHS], layers)
        if residual > DEPTH_RESIDUAL or value <= 0:
            raise Unsupported('unsupported_kind', f'the pass exceeds its time cap, and depths {DEPTHS} lie {100 * residual:.1f} % off a line')
        self.depths = DEPTHS
        self.flags.append('extrapolated_depth')

    def _check_ring(self):
        """Half the distinct layers must take as long, once for each kind of pass."""
        decoder = self.decoder
        key = (self.point['mode'], self.decodes)
        if key not in decoder.ring_checked:
            depth = self.depths[-1] if self.depths else None
            first = decoder.layer_count_before_ring
            half = first + -(-(decoder.distinct_layers - first) // 2)
            decoder.ring_checked[key] = abs(self._trial(depth, half) / self._trial(depth, None) - 1) > RING_TOLERANCE
        if decoder.ring_checked[key]:
            self.flags.append('ring_sensitive')

    def time_ms(self):
        return self.sample()[0]

    def sample(self):
        if self.depths is None:
            return self._run(None, None)
        runs = [(depth, self._run(depth, None)) for depth in self.depths]
        return tuple(line([(depth, run[i]) for depth, run in runs], self.decoder.shard.layers)[0] for i in range(3))

    def close(self):
        self.captured, self.flusher = {}, None


def measure_pass(decoder, point, cap_s=5.0):
    """PassTarget of a point of kind `pass`. Raises OutOfMemory if pages are short, Unsupported beyond the model's limits or what can be captured."""
    if decoder is None:
        raise Unsupported('unsupported_kind', 'a pass needs a loaded model')
    return PassTarget(decoder, point, cap_s)
