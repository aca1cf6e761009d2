"""A plan, which says what to measure, and the files its measurements go to."""

import hashlib
import json
import os
from pathlib import Path

from wire import VERSION, Failure, canonical_json, encode, parse_header, parse_request

# A file that would grow beyond is continued in NAME.1.jsonl, NAME.2.jsonl, …
ROTATE_BYTES = 14_000_000

# What the measurements of one file have in common.
_IDENTITY = {
    'plan': lambda head: head['plan_hash'],
    'GPU': lambda head: head['gpu']['name'],
    'driver': lambda head: head['gpu']['driver'],
    'CUDA': lambda head: head['gpu']['cuda'],
    'PyTorch': lambda head: head['software']['torch'],
    'Triton': lambda head: head['software']['triton'],
    'worker': lambda head: head['worker'],
}


def _refuse(path, line, what):
    raise Failure('bad_request', f'{path}:{line}: {what}', fatal=True)


def read_plan(path):
    """(header, requests) of a plan file: `load_model` and `measure` messages in order; a pid stands once for each tensor-parallel degree.

    Raises `Failure` with file and line.
    """
    try:
        first, *rest = Path(path).read_bytes().decode().removesuffix('\n').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise Failure('bad_request', f'{path}: {error}', fatal=True) from error
    try:
        header = parse_header(first)
    except Failure as failure:
        _refuse(path, 1, failure.message)
    if plan_hash(header, rest) != header['plan_hash']:
        _refuse(path, 1, 'plan_hash is not that of this plan: it was changed')
    requests, seen = [], set()
    for number, text in enumerate(rest, 2):
        try:
            request = parse_request(text)
        except Failure as failure:
            _refuse(path, number, failure.message)
        _check_order(path, number, request, requests, seen)
        requests.append(request)
    if not seen:
        _refuse(path, 1, 'nothing is measured')
    return header, requests


def plan_hash(header, lines):
    """SHA-256 (hex) of a plan: canonical JSON of its header but for budget and hash, then the lines below as they are."""
    first = canonical_json({name: one for name, one in header.items() if name not in ('plan_hash', 'budget_s')})
    return hashlib.sha256('\n'.join((first, *lines)).encode()).hexdigest()


def _check_order(path, number, request, before, seen):
    if request['type'] == 'load_model':
        return
    if request['type'] != 'measure':
        _refuse(path, number, f'{request["type"]} stands in no plan')
    point, tp = request['point'], degree(before)
    if point['kind'] == 'pass' and tp is None:
        _refuse(path, number, 'a pass comes before any load_model')
    if (tp, point['pid']) in seen:
        _refuse(path, number, f'point {point["pid"]} stands twice')
    if ('of' in point) != ('repeat' in point) or ('of' in point and (tp, point['of']) not in seen):
        _refuse(path, number, 'repeats a point that does not come before')
    seen.add((tp, point['pid']))


def degree(requests):
    """Tensor-parallel degree of the model loaded last; None before the first."""
    return next((request['shard']['tp'] for request in reversed(requests) if request['type'] == 'load_model'), None)


class History:
    """What was measured of a plan, by (tp, pid): the last record of every point, and the points that were once flagged `drift`."""

    def __init__(self):
        self.records = {}
        self.drifted = set()

    def add(self, record):
        key = (record['tp'], record['pid'])
        self.records[key] = record
        if 'drift' in record['flags']:
            self.drifted.add(key)

    def waiting(self, key):
        """Whether a point has no record, or one flagged `drift` that waits for another."""
        return key not in self.records or 'drift' in self.records[key]['flags']


def _rotated(path, k):
    return path if k == 0 else path.with_name(f'{path.stem}.{k}{path.suffix}')


class Results:
    """Appends lines to NAME.jsonl and its rotations, each flushed to the disk; every file starts with the capabilities line.

    A file that is there already is continued: its torn last line is cut, `history` tells what it holds.
    Raises `Failure` when it is of another plan or GPU.
    """

    def __init__(self, path, head, rotate_bytes=ROTATE_BYTES):
        self.path = Path(path)
        self.head = head
        self.rotate_bytes = rotate_bytes
        self.history = History()
        self.part = 0
        while _rotated(self.path, self.part + 1).exists():
            self.part += 1
        self._read()
        self._open()

    def _tries_path(self):
        return self.path.with_name(f'{self.path.name}.trying')

    def tries(self, key):
        """How many processes have ended while they measured the point of `key`."""
        try:
            last, count = json.loads(self._tries_path().read_text())
        except (OSError, ValueError):
            return 0
        return count if tuple(last) == key else 0

    def trying(self, key):
        """Notes that the point of `key` is being measured, for whoever comes after a crash."""
        count = self.tries(key) + 1
        with open(self._tries_path(), 'w') as file:
            file.write(json.dumps([key, count]))
            file.flush()
            os.fsync(file.fileno())

    def tried(self):
        """Nothing is being measured."""
        self._tries_path().unlink(missing_ok=True)

    def _read(self):
        for k in range(self.part + 1):
            path = _rotated(self.path, k)
            if not path.exists():
                continue
            data = path.read_bytes()
            whole = data[: data.rfind(b'\n') + 1]
            if k == self.part and len(whole) < len(data):
                os.truncate(path, len(whole))
            for number, line in enumerate(whole.splitlines(), 1):
                self._take(path, number, line)

    def _take(self, path, number, line):
        try:
            message = json.loads(line)
            if number == 1:
                self._same(path, message)
            elif message['type'] == 'result':
                self.history.add(message)
        except (ValueError, KeyError, TypeError) as error:
            _refuse(path, number, f'is no line of measurements ({error})')

    def _same(self, path, head):
        for name, of in _IDENTITY.items():
            if of(head) != of(self.head):
                _refuse(path, 1, f'is of another {name} ({of(head)}, not {of(self.head)}): write to another --out')

    def _open(self):
        path = _rotated(self.path, self.part)
        try:
            self.file = open(path, 'ab', buffering=0)
        except OSError as error:
            raise Failure('bad_request', f'cannot write {path}: {error.strerror}', fatal=True) from error
        self.bytes = self.file.tell()
        if self.bytes == 0:
            self._write(encode(self.head))

    def _write(self, line):
        self.file.write(line)
        os.fsync(self.file.fileno())
        self.bytes += len(line)

    def append(self, message):
        """Writes one message as a line."""
        line = encode({'v': VERSION, **message})
        if self.bytes + len(line) > self.rotate_bytes:
            self.file.close()
            self.part += 1
            self._open()
        self._write(line)
        if message['type'] == 'result':
            self.history.add(message)

    def close(self):
        self.file.close()
