"""Runs worker.py with a backend that computes nothing, on a clock of its own: without_gpu.py ENGINES TOLD ARGUMENTS…

TOLD is JSON: `gpu`, its name; `sample_s`, what a run takes; `drift_from`, number of the point from which on all is 10 % slower, and `drift_to`;
`slow_tries`, how often the GPU is slowed; `load` and `points`, what happens instead of loading at this tp and at this number of a point: a code
of a failure, `MemoryError`, `signal`, or `kill`; `values`, ms of the samples in turn; `error`, what the check of the model finds.
"""

import json
import os
import signal
import sys

ENGINES, TOLD = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, ENGINES)

import worker  # noqa: E402
from wire import POINT_KINDS, Failure  # noqa: E402


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        print(f'slept {seconds:g}', file=sys.stderr)
        self.now += seconds


CLOCK = Clock()


def happen(what):
    if what == 'signal':
        os.kill(os.getpid(), signal.SIGTERM)
    elif what == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == 'MemoryError':
        raise MemoryError('17 bytes')
    elif what is not None:
        raise Failure(what, 'as told', fatal=what == 'cuda_error')


class Target:
    kernel = 'none'
    flags = ()

    def __init__(self, point, slower):
        self.point = point
        self.factor = 1.1 if slower else 1
        self.values = TOLD.get('values')

    def sample(self):
        CLOCK.now += TOLD.get('sample_s', 0.01)
        gpu = self.values.pop(0) if self.values else self.factor * (1 + len(json.dumps({**self.point, 'repeat': 0, 'of': ''})) / 1000)
        return (gpu, gpu + 0.5, gpu / 2) if self.point['kind'] == 'pass' else (gpu, None, None)

    def close(self):
        print(f'closed {self.point["pid"]}', file=sys.stderr)


class Backend:
    measured = 0
    watches = 0

    def describe(self):
        return {
            'versions': [1], 'worker': 'dynotwin-worker 1', 'kind': 'cuda',
            'gpu': {'name': TOLD.get('gpu', 'NVIDIA H200'), 'sm': 90, 'sms': 132, 'mem_bytes': 1, 'l2_bytes': 1, 'driver': '1', 'cuda': '13', 'mig': False},
            'software': {'python': '3', 'torch': '2', 'triton': '3', 'numpy': '2'},
            'dtypes': ['bf16'], 'kinds': list(POINT_KINDS), 'attention': ['none'], 'cpu': 'none', 'ram_bytes': 1, 'nvml': True,
        }

    def load(self, request):
        happen(TOLD.get('load', {}).get(str(request['shard']['tp'])))
        return {'weight_bytes': 1, 'kv_pages': 100, 'distinct_layers': 4, 'load_s': 1.5, 'free_bytes': 1, 'kernels': {'decode': 'none'}}

    def check(self, _request):
        error = TOLD.get('error', 0.001)
        return [{'name': 'logits', 'error': error, 'limit': 0.02, 'ok': error <= 0.02}]

    def unload(self):
        pass

    def target(self, point, _cap_s):
        self.measured += 1
        happen(TOLD.get('points', {}).get(str(self.measured)))
        return Target(point, TOLD.get('drift_from', 1e9) <= self.measured < TOLD.get('drift_to', 1e9))

    def watch(self):
        self.watches += 1

    def watched(self):
        return {'clock_mhz': 1980, 'power_w': 600.5, 'temp_c': 60, 'power_capped': False, 'slowed': self.watches <= TOLD.get('slow_tries', 0)}

    def failure(self, error):
        return Failure('oom' if isinstance(error, MemoryError) else 'internal', str(error), needed_bytes=17 if isinstance(error, MemoryError) else None)


sys.exit(worker.main(sys.argv[3:], lambda _scratch: Backend(), CLOCK, CLOCK.sleep))
