"""Runs a plan without a client: budget, resuming, and points measured again when the GPU drifted. Source: spec calibration 2, 5.5."""

from files import degree
from records import STATUS, failure_record, model_fields, record
from wire import LOAD_FIELDS, Failure

# A repeated anchor further than this from its first median shows drift.
DRIFT_RATIO = 0.03
# A point is started if this much more than it should take is left, s.
BUDGET_FACTOR, BUDGET_MARGIN_S = 1.5, 10
# Processes that may die at a point before it is left out.
STRIKES = 2


class DriftWatch:
    """Which points of one model to measure once more: those since an anchor last gave its first time. Anchors are points that others repeat."""

    def __init__(self, anchors):
        self.anchors = anchors
        self.first = {}
        self.since = {}

    def after(self, point, record):
        """Points to measure once more now that `point` gave `record`."""
        pid, anchor = point['pid'], point.get('of')
        if record['status'] != 'ok':
            return ()
        if pid in self.anchors:
            self.first[pid], self.since[pid] = record['median_ms'], ()
        elif anchor is None:
            self.since = {one: (*points, point) for one, points in self.since.items()}
        if anchor not in self.first:
            return ()
        points, self.since[anchor] = self.since[anchor], ()
        return points if abs(record['median_ms'] / self.first[anchor] - 1) > DRIFT_RATIO else ()


class PlanRun:
    """The points of a plan in order; those that `results` holds from an earlier run are not measured again."""

    def __init__(self, session, header, requests, results, deadline, say):
        self.session = session
        self.policy = header['policy']
        self.requests = requests
        self.results = results
        self.history = results.history
        self.deadline = deadline
        self.say = say
        self.load = None
        self.failed_load = None
        self.keys = [(degree(requests[:i]), request['point']['pid']) for i, request in enumerate(requests) if request['type'] == 'measure']
        self.anchors = {request['point']['of'] for request in requests if 'of' in request.get('point', ())}
        self.watch = DriftWatch(self.anchors)

    def left(self):
        """Points that are still to be measured."""
        return sum(map(self.history.waiting, self.keys))

    def run(self):
        """`complete` or `budget`. Raises a `Failure` that no further point can follow."""
        for request in self.requests:
            if request['type'] == 'load_model':
                self.load, self.failed_load, self.watch = request, None, DriftWatch(self.anchors)
            elif not self._step(request['point']):
                return 'budget'
        return 'complete'

    def _key(self, point):
        return (self.load and self.load['shard']['tp'], point['pid'])

    def _step(self, point):
        key = self._key(point)
        if key not in self.history.records and not self._measure(point):
            return False
        return self._again(self.watch.after(point, self.history.records[key]))

    def _again(self, points):
        for point in points:
            key = self._key(point)
            if key not in self.history.drifted:
                old = self.history.records[key]
                self.results.append({**old, 'flags': [*old['flags'], 'drift']})
        return all(self._measure(point) for point in points if self.history.waiting(self._key(point)))

    def _measure(self, point):
        """Measures and writes a point; False when the budget does not allow it."""
        if self.deadline - self.session.clock() < BUDGET_FACTOR * point['est_s'] + BUDGET_MARGIN_S:
            return False
        key = self._key(point)
        if self.results.tries(key) >= STRIKES:
            self.results.tried()
            self._write(point, record(point, self.load, 'crashed'))
            return True
        failure = self._load_failure()
        # Operators, copies and the host need no model.
        if failure is None or point['kind'] != 'pass':
            self.results.trying(key)
            try:
                self._write(point, {**self.session.measure(point, self.policy), **model_fields(self.load)})
                return True
            except Failure as raised:
                if raised.code in ('check_failed', 'bad_request'):
                    raise
                failure = raised
            finally:
                self.results.tried()
            self.say(f'{point["pid"]} {point["kind"]}: {failure.code}: {failure.message}')
        self._write(point, failure_record(point, self.load, failure))
        if failure.fatal:
            raise failure
        return True

    def _write(self, point, measured):
        self.results.append({'type': 'result', **measured, 'point': point})

    def _load_failure(self):
        """Loads the model of the points that follow unless it is there; the failure that all passes among them end with, or None."""
        wanted = self.load and {name: self.load[name] for name in LOAD_FIELDS}
        if self.failed_load is not None or wanted is None or wanted == self.session.loaded:
            return self.failed_load
        try:
            ready = self.session.load(self.load)
        except Failure as failure:
            if failure.code not in STATUS:
                raise
            self.failed_load = failure
            self.say(f'{self.load["model"]["name"]} at tp {self.load["shard"]["tp"]}: {failure.code}: {failure.message}')
            return failure
        self.results.append({'type': 'model_ready', 'load': wanted, **ready})
        return None
