"""Loads models and measures points: warm-up, repeats until precise, the GPU's state meanwhile. Source: spec calibration 5."""

from statistics import median

import stats
from records import record
from wire import LOAD_FIELDS, Failure

# Runs before the first repeat last at least so long, s; the first compute-heavy ones bring the clocks to those of a busy server.
WARM_S, HEAT_S = 0.05, 3
COMPUTE_HEAVY = ('gemm', 'attn_ctx', 'moe')
# A slowed GPU is given a pause, s, and so many tries in all.
PAUSE_S, TRIES = 15, 3


class Session:
    """One model at a time and the points measured on it.

    `backend` does the work (`backend.py` on a GPU): describe(); unload(), check(request) -> checks of a small model, load(request) -> the rest of
    `model_ready`; target(point, cap_s) -> object with sample() -> (gpu_ms, wall_ms or None, issue_ms or None), kernel, flags, close(); watch()
    and watched() -> state of the GPU between the two; failure(error) -> the `Failure` an exception stands for. `progress(phase, done, of)` is
    told where it stands.
    """

    def __init__(self, backend, clock, sleep, progress):
        self.backend = backend
        self.clock = clock
        self.sleep = sleep
        self.progress = progress
        self.loaded = None
        self.ready = None
        self.checks_failed = None
        self.hot = False

    def load(self, request):
        """Builds a model and checks what it computes; returns the fields of `model_ready`. Raises `Failure`."""
        self.progress('load', 0, 1)
        self.loaded, self.ready, self.checks_failed, self.hot = None, None, None, False
        self._translated(self.backend.unload)
        checks = self._translated(lambda: self.backend.check(request))
        wrong = [one for one in checks if not one['ok']]
        if wrong:
            self.checks_failed = '; '.join(f'{one["name"]} is off by {one["error"]:.3g}, not {one["limit"]:g}' for one in wrong)
            raise Failure('check_failed', self.checks_failed)
        self.ready = {**self._translated(lambda: self.backend.load(request)), 'checks': checks}
        self.loaded = {name: request[name] for name in LOAD_FIELDS}
        return self.ready

    def measure(self, point, policy):
        """The record of a point. Raises `Failure` when there is none to give; what was allocated for it is released."""
        if self.checks_failed is not None:
            raise Failure('check_failed', self.checks_failed)
        if point['kind'] == 'pass' and self.loaded is None:
            raise Failure('bad_request', 'a pass needs a model: send load_model first')
        self.progress('capture', 0, 1)
        target = self._translated(lambda: self.backend.target(point, policy['cap_s']))
        try:
            return self._translated(lambda: self._measured(target, point, policy))
        finally:
            self._translated(target.close)

    def _translated(self, action):
        try:
            return action()
        except Failure:
            raise
        except Exception as error:
            failure = self.backend.failure(error)
        # Raised here it does not hold on to the frames below, and so to their memory.
        raise failure

    def _measured(self, target, point, policy):
        for attempt in range(TRIES):
            if attempt > 0:
                self.progress('cooldown', attempt, TRIES)
                self.sleep(PAUSE_S)
                self.hot = False
            samples, state = self._repeats(target, point, policy)
            slowed = state.pop('slowed')
            if not slowed:
                break
        times = stats.summary([gpu for gpu, _, _ in samples])
        status = 'throttled' if slowed else times.pop('status')
        host = {} if samples[0][1] is None else {'wall_ms': median(wall for _, wall, _ in samples), 'issue_ms': median(issue for _, _, issue in samples)}
        layers = self.ready['distinct_layers'] if point['kind'] == 'pass' else None
        measured = {**state, **host, **({'n': len(samples)} if slowed else times), 'kernel': target.kernel, 'distinct_layers': layers}
        return record(point, self.loaded, status, measured, target.flags)

    def _repeats(self, target, point, policy):
        if _compute_heavy(point) and not self.hot:
            begin = self.clock()
            while self.clock() - begin < HEAT_S:
                target.sample()
            self.hot = True
        begin, runs = self.clock(), 0
        while runs == 0 or (self.clock() - begin < policy['cap_s'] and (runs < policy['warmup'] or self.clock() - begin < WARM_S)):
            self.progress('warmup', runs, policy['warmup'])
            target.sample()
            runs += 1
        self.backend.watch()
        samples = []
        while not stats.enough([gpu for gpu, _, _ in samples], policy, self.clock() - begin):
            self.progress('measure', len(samples), policy['max'])
            samples.append(target.sample())
        return samples, self.backend.watched()


def _compute_heavy(point):
    return point['kind'] in COMPUTE_HEAVY or (point['kind'] == 'pass' and any(new > 1 for new, _ in point['seqs']))
