"""Measures forward passes, operators and copies on a GPU: for a client on stdin and stdout, or from a plan file to a file of measurements.

    worker.py [--scratch DIR]
    worker.py --plan plan.jsonl --out measurements.jsonl [--budget-s S] [--scratch DIR]

A file of measurements that exists is continued. Exit codes: 0 done or out of budget, 1 the model computes wrong results, 2 no GPU, no PyTorch or bad
input, 3 a CUDA error (run again to go on), 128 + N stopped by signal N.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time

from files import Results, read_plan
from plan_run import PlanRun
from records import utc
from session import Session
from wire import DEFAULT_POLICY, VERSION, Failure, encode, parse_request, request_id

PROGRESS_S = 5
EXIT = {'check_failed': 1, 'cuda_error': 3}


class Stopped(BaseException):
    """SIGINT or SIGTERM."""

    def __init__(self, number):
        super().__init__(number)
        self.exit_code = 128 + number


class NoSocket(socket.socket):
    """Stands where `socket.socket` was: nothing here talks to a network."""

    def __init__(self, *_args, **_options):
        raise OSError('the worker opens no sockets')


def forbid_sockets():
    """Every socket that is opened from now on raises OSError."""
    socket.socket = NoSocket
    socket.socketpair = NoSocket


class Progress:
    """Where the work stands, told every 5 s by a thread of its own while something is busy."""

    def __init__(self, tell):
        self.tell = tell
        self.now = None
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self, phase, done, of):
        self.now = {'phase': phase, 'done': done, 'of': of}

    def idle(self):
        self.now = None

    def _run(self):
        while True:
            time.sleep(PROGRESS_S)
            now = self.now
            if now is not None:
                self.tell(now)


class Server:
    """Answers requests line by line until `bye`, the end of the input or a fatal failure."""

    def __init__(self, make_backend, out, clock, sleep):
        self.make_backend = make_backend
        self.out = out
        self.clock = clock
        self.sleep = sleep
        self.lock = threading.Lock()
        self.busy_id = None
        self.progress = Progress(lambda now: self._send({'id': self.busy_id, 'type': 'progress', **now}))
        self.session = None
        self.ended = False

    def serve(self, lines):
        """The exit code."""
        for line in lines:
            try:
                self._answer(parse_request(_text(line)))
            except Failure as failure:
                self._send({'id': request_id(line), 'type': 'error', **failure.fields()})
                if failure.fatal:
                    return EXIT.get(failure.code, 2)
            finally:
                self.progress.idle()
            if self.ended:
                break
        return 0

    def _answer(self, request):
        self.busy_id = request['id']
        kind = request['type']
        if kind == 'hello':
            reply = {'type': 'capabilities', **self._hello(request)}
        elif kind == 'bye':
            reply, self.ended = {'type': 'bye'}, True
        elif self.session is None:
            raise Failure('bad_request', 'hello comes first')
        elif kind == 'load_model':
            reply = {'type': 'model_ready', **self.session.load(request)}
        else:
            reply = {'type': 'result', **self.session.measure(request['point'], request.get('policy', DEFAULT_POLICY))}
        self.progress.idle()
        self._send({'id': request['id'], **reply})

    def _hello(self, request):
        if VERSION not in request['versions']:
            raise Failure('bad_request', f'versions: this worker speaks {VERSION}')
        if self.session is None:
            self.session = Session(self.make_backend(), self.clock, self.sleep, self.progress)
        return self.session.backend.describe()

    def _send(self, message):
        with self.lock:
            self.out.write(encode({'v': VERSION, **message}))
            self.out.flush()


def _text(line):
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Failure('bad_request', f'message is not UTF-8: {error}') from error


def serve_stdio(make_backend, clock, sleep):
    """Serves stdin. What libraries print goes to stderr: stdout is protocol."""
    out = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)
    return Server(make_backend, out, clock, sleep).serve(sys.stdin.buffer)


def _words(name):
    return ' ' + ' '.join(re.findall('[a-z0-9]+', name.lower())) + ' '


def run_plan_file(options, make_backend, started, clock, sleep):
    """Measures the points of `options.plan` into `options.out`; the exit code."""
    header, requests = read_plan(options.plan)
    backend = make_backend()
    capabilities = backend.describe()
    if capabilities['kind'] != 'fake' and _words(header['gpu_name']) not in _words(capabilities['gpu']['name']):
        raise Failure('bad_request', f'{options.plan}:1: the plan is for {header["gpu_name"]}, this GPU is {capabilities["gpu"]["name"]}', fatal=True)
    head = {'v': VERSION, 'type': 'capabilities', **capabilities, 'plan_hash': header['plan_hash'], 'hardware': header['hardware'], 't_utc': utc()}
    results = Results(options.out, head)
    progress = Progress(lambda now: _say(f'{len(results.history.records)}/{len(run.keys)} points; {now["phase"]} {now["done"]}/{now["of"]}'))
    budget_s = header['budget_s'] if options.budget_s is None else options.budget_s
    run = PlanRun(Session(backend, clock, sleep, progress), header, requests, results, started + budget_s, _say)
    try:
        reason, code = run.run(), 0
    except Stopped as stopped:
        reason, code = 'signal', stopped.exit_code
    finally:
        progress.idle()
    results.append({'type': 'end', 'reason': reason, 'left': run.left()})
    _say(f'{reason}: {run.left()} of {len(run.keys)} points left')
    return code


def _say(text):
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _seconds(text):
    value = float(text)
    if not 0 < value < float('inf'):
        raise ValueError
    return value


def _options(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--plan', metavar='FILE', help='points to measure; without it requests come on stdin')
    parser.add_argument('--out', metavar='FILE', help='where measurements go, with --plan')
    parser.add_argument('--budget-s', type=_seconds, metavar='S', help="seconds this run may take (default: the plan's)")
    parser.add_argument('--scratch', metavar='DIR', help='measure disk points in this folder')
    options = parser.parse_args(argv)
    if (options.plan is None) != (options.out is None):
        parser.error('--plan and --out go together')
    if options.plan is None and options.budget_s is not None:
        parser.error('--budget-s goes with --plan')
    return options


def _stop(number, _frame):
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(number)


def _cuda_backend(scratch):
    # Imported late: sockets are closed by then, and whatever is missing is an answer.
    try:
        from backend import CudaBackend
    except ImportError as error:
        raise Failure('internal', f'PyTorch, Triton or numpy cannot be imported: {error}', fatal=True) from None
    try:
        return CudaBackend(scratch)
    except Failure:
        raise
    except Exception as error:
        raise Failure('internal', f'the GPU cannot be used: {type(error).__name__}: {error}', fatal=True) from None


def main(argv, make_backend=_cuda_backend, clock=time.monotonic, sleep=time.sleep):
    """Runs the worker; returns its exit code. `make_backend(scratch)` gives what `Session` measures with."""
    started = clock()
    options = _options(argv)
    forbid_sockets()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        if options.plan is None:
            return serve_stdio(lambda: make_backend(options.scratch), clock, sleep)
        return run_plan_file(options, lambda: make_backend(options.scratch), started, clock, sleep)
    except Failure as failure:
        _say(f'{failure.code}: {failure.message}')
        return EXIT.get(failure.code, 2)
    except Stopped as stopped:
        return stopped.exit_code


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
