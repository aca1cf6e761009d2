"""A continuous-batching engine over the worker's passes: serves a slice of a trace by the wall clock and writes what each request and pass took.

    python3 serve.py --plan slice.jsonl --config c.json --out requests.jsonl [--passes passes.jsonl] [--budget-s 540]

A pass lasts from the start of its scheduling to the moment its tokens are on the host and the scheduler knows them; the next one
starts there, unless nothing waits: idle time belongs to no pass. Requests that arrive during a pass meet the next one.
"""

import argparse
import gc
import json
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from files import ROTATE_BYTES
from records import utc
from scheduler import Scheduler
from wire import VERSION, Failure
from worker import NoSocket
from workload import Arrivals, prompt_tokens, read_config, read_slice

# Exit status by how the run ended.
EXIT = {'complete': 0, 'budget': 1, 'signal': 1, 'error': 3}
# Share of pass time without GPU work from which the host hides what is to be measured.
MOST_OVERHEAD = 0.15
# A signal or the end of the budget is seen within so many ms.
LONGEST_SLEEP_MS = 100
# A pass outside graphs whose GPU time is no longer than this many times its launching waited for the host.
WAITED_RATIO = 1.1


class WallClock:
    """ms since `start`; whole nanoseconds."""

    def start(self):
        self.zero = time.perf_counter_ns()

    def now(self):
        return (time.perf_counter_ns() - self.zero) / 1e6

    def wait_until(self, at, stop):
        """Sleeps up to the last millisecond, which it spends awake, or until `stop()` has a reason."""
        left = at - self.now()
        while left > 0 and stop() is None:
            if left > 1:
                time.sleep(min(left - 1, LONGEST_SLEEP_MS) / 1e3)
            left = at - self.now()
        return self.now()


class Record:
    """What happened to one request."""

    __slots__ = ('request', 'arrival', 'admit', 'first', 'end', 'status', 'reused', 'preemptions')

    def __init__(self, request, arrival):
        self.request = request
        self.arrival = arrival
        self.admit = self.first = self.end = None
        self.status = 'unfinished'
        self.reused = self.preemptions = 0

    def line(self):
        request = self.request
        return {
            'id': request.id, 'arrival_ms': self.arrival, 'admit_ms': self.admit, 'first_token_ms': self.first, 'end_ms': self.end, 'status': self.status,
            'isl': request.prompt, 'osl': request.generated, 'osl_requested': request.output, 'reused_tokens': self.reused, 'preemptions': self.preemptions,
        }


class Run:
    """Serves the requests of `arrivals`. `executor.run(work)` gives (gpu_ms, issue_ms, graph batch) of a pass; `stop()` names a reason to end early."""

    def __init__(self, arrivals, config, executor, clock, stop=lambda: None):
        self.arrivals = arrivals
        self.scheduler = Scheduler(config['scheduler'])
        self.executor = executor
        self.clock = clock
        self.stop = stop
        self.records = {}
        self.passes = []
        self.reason = 'complete'
        self.end_ms = 0.0

    def serve(self):
        clock, scheduler, arrivals = self.clock, self.scheduler, self.arrivals
        clock.start()
        start = clock.now()
        while True:
            reason = self.stop()
            if reason is not None:
                self.reason = reason
                return
            for request, arrival in arrivals.due(start):
                self.records[request.id] = Record(request, arrival)
                scheduler.submit(request)
            if scheduler.is_idle():
                if arrivals.next_ms() == float('inf'):
                    return
                start = clock.wait_until(arrivals.next_ms(), self.stop)
                continue
            start = self.end_ms = self._pass(start)

    def _pass(self, start):
        clock, scheduler = self.clock, self.scheduler
        scheduled = scheduler.begin()
        gpu_ms = issue_ms = graph = None
        run_began = clock.now()
        if scheduled.work:
            gpu_ms, issue_ms, graph = self.executor.run(scheduled.work)
        run_ended = clock.now()
        emitting = scheduler.end()
        end = clock.now()
        self._note_requests(scheduled, emitting, start, end)
        scheduled.work = None
        host = {'gpu_ms': gpu_ms, 'issue_ms': issue_ms, 'sched_ms': run_began - start + end - run_ended, 'graph': graph}
        waiting = [(queue.count, queue.total, queue.squares) for queue in (scheduler.queued, scheduler.requeued)]
        self.passes.append((start, end, scheduled, waiting, host))
        return end

    def _note_requests(self, scheduled, emitting, start, end):
        records = self.records
        for id, reused in scheduled.admitted:
            record = records[id]
            record.admit = start if record.admit is None else record.admit
            record.reused = max(record.reused, reused)
        for id in scheduled.preempted:
            records[id].preemptions += 1
        for request in emitting:
            if request.generated == 1:
                records[request.id].first = end
        for ids, status in ((scheduled.rejected, 'rejected'), (scheduled.finished, 'completed')):
            for id in ids:
                records[id].end = end
                records[id].status = status
                self.arrivals.ended(end)

    def overhead(self):
        """Share of pass time in which the GPU ran no pass, or waited for its launches; None when nothing ran on a GPU."""
        timed = [(end - start, 0 if _waited(host) else host['gpu_ms']) for start, end, _, _, host in self.passes if host['gpu_ms'] is not None]
        total = sum(wall for wall, _ in timed)
        return None if total == 0 else 1 - sum(gpu for _, gpu in timed) / total


def _waited(host):
    return host['graph'] is None and host['issue_ms'] is not None and host['gpu_ms'] <= WAITED_RATIO * host['issue_ms']


def _variance(count, total, squares):
    """Of a population."""
    return 0 if count == 0 else max(0, (squares * count - total * total) / (count * count))


def pass_line(number, start, end, scheduled, waiting, host):
    """A pass as forward-pass metrics tell it (wall_time in s), its decisions by request id, and where its time went. KV tokens are those computed before it."""
    chunks = scheduled.prefill
    lengths = scheduled.prefill_lengths
    queues = {}
    for name, kv, (count, total, squares) in zip(('prefill', 'decode'), ('prefill_tokens', 'decode_kv_tokens'), waiting):
        length = 'prefill_length' if name == 'prefill' else kv
        queues.update({f'num_queued_{name}': count, f'sum_queued_{kv}': total, f'var_queued_{length}': _variance(count, total, squares)})
    decisions = {name: getattr(scheduled, name) for name in ('prefill', 'admitted', 'preempted', 'rejected', 'finished') if getattr(scheduled, name)}
    return {
        'n': number, 'start_ms': start, 'end_ms': end, 'wall_time': (end - start) / 1e3,
        'num_prefill_requests': len(chunks), 'sum_prefill_tokens': sum(new for _, _, new in chunks), 'sum_prefill_kv_tokens': sum(past for _, past, _ in chunks),
        'var_prefill_length': _variance(len(lengths), sum(lengths), sum(length * length for length in lengths)),
        'num_decode_requests': scheduled.decodes, 'sum_decode_kv_tokens': scheduled.decode_kv,
        'var_decode_kv_tokens': _variance(scheduled.decodes, scheduled.decode_kv, scheduled.decode_kv2), 'max_decode_kv_tokens': scheduled.decode_longest,
        **queues, 'active_blocks': scheduled.active, **decisions, **{name: value if not isinstance(value, float) else round(value, 6) for name, value in host.items()},
    }


def write_lines(path, header, lines, rotate_bytes=ROTATE_BYTES):
    """Writes NAME.jsonl, then NAME.1.jsonl, … of at most so many bytes; every file starts with the header and is written whole."""
    head = _text(header)
    parts, size = [[head]], len(head)
    for line in map(_text, lines):
        if size + len(line) > rotate_bytes:
            parts.append([head])
            size = len(head)
        parts[-1].append(line)
        size += len(line)
    path = Path(path)
    for k, part in enumerate(parts):
        target = path if k == 0 else path.with_name(f'{path.stem}.{k}{path.suffix}')
        temporary = target.with_name(f'.{target.name}.tmp')
        temporary.write_text(''.join(part))
        temporary.replace(target)


def _text(message):
    return json.dumps(message, separators=(',', ':'), allow_nan=False) + '\n'


def write_outputs(run, config, capabilities, out, passes):
    """Requests by id and passes in order, each behind a header that says what ran where."""
    head = {'v': VERSION, 'schema': config['schema'], 'capabilities': capabilities, 'config': config, 't_utc': utc()}
    rows = [run.records[id].line() for id in sorted(run.records)]
    left = len(run.arrivals.requests) - sum(row['status'] != 'unfinished' for row in rows)
    end = {'type': 'end', 'reason': run.reason, 'left': left, 'passes': len(run.passes), 'end_ms': run.end_ms, 'overhead': run.overhead()}
    write_lines(passes, {**head, 'type': 'passes'}, (pass_line(n, *one) for n, one in enumerate(run.passes)))
    write_lines(out, {**head, 'type': 'requests', 'passes': Path(passes).name}, [*rows, end])
    return end


def _arguments(argv):
    parser = argparse.ArgumentParser(prog='serve.py', description='Serve a slice of a trace by the wall clock.')
    parser.add_argument('--plan', required=True, help='slice.jsonl: Mooncake rows')
    parser.add_argument('--config', required=True, help='c.json, which calibrate slice wrote beside it')
    parser.add_argument('--out', required=True, help='requests.jsonl')
    parser.add_argument('--passes', help='passes.jsonl (default: beside --out)')
    parser.add_argument('--budget-s', type=float, default=540, help='seconds in all, loading included')
    return parser.parse_args(argv)


def main(argv, clock=None, make_machine=None):
    """Returns the exit status: `EXIT`, or 2 for bad input, no GPU or wrong results. Clock and machine can be replaced: tests run on a clock of their own."""
    began = time.monotonic()
    options = _arguments(argv)
    signals = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signals.append(True))
    try:
        config = read_config(options.config)
        rows = read_slice(options.plan, config)
        machine = (make_machine or Gpu)()
        executor = machine.executor(config, rows)
    except (Failure, RuntimeError) as problem:
        print(f'serve.py: {problem}', file=sys.stderr)
        return 2

    def stop():
        return 'signal' if signals else 'budget' if time.monotonic() - began > options.budget_s else None

    run = Run(Arrivals(rows, config), config, executor, clock or WallClock(), stop)
    gc.collect()
    gc.disable()
    try:
        run.serve()
    except Exception:  # what was served up to here is written all the same
        run.reason = 'error'
        traceback.print_exc()
    gc.enable()
    end = write_outputs(run, config, machine.describe(), options.out, options.passes or Path(options.out).with_name('passes.jsonl'))
    _print_end(end)
    return EXIT[end['reason']]


def _print_end(end):
    print(f'{end["passes"]} passes in {end["end_ms"] / 1e3:.1f} s; {end["reason"]}, {end["left"]} requests left')
    if end['overhead'] is not None:
        print(f'host overhead: {end["overhead"]:.1%} of pass time')
        if end['overhead'] > MOST_OVERHEAD:
            print(f'more than {MOST_OVERHEAD:.0%}: the host, not the GPU, is measured; use a larger model or larger batches')


class Gpu:
    """The machine's GPU: what it is, and a model on it. Raises `Failure`."""

    def __init__(self):
        # Before anything of torch is imported: nothing here talks to a network.
        socket.socket = NoSocket
        try:
            from backend import CudaBackend
        except ImportError as error:
            raise Failure('internal', f'PyTorch, Triton or numpy is missing: {error}', fatal=True) from error
        self.backend = CudaBackend(None)

    def describe(self):
        return self.backend.describe()

    def executor(self, config, rows):
        """Runs passes of the model of `config`, once a small one of its kind has computed what it should."""
        from executor import TorchExecutor

        load = config['load_model']
        wrong = [one for one in self.backend.check(load) if not one['ok']]
        if wrong:
            raise Failure('check_failed', '; '.join(f'{one["name"]} is off by {one["error"]:.3g}, not {one["limit"]:g}' for one in wrong))
        return TorchExecutor(config, prompt_tokens(rows, config['trace_block_tokens'], load['model']['vocab'] // load['shard']['tp'], load['seed']))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
