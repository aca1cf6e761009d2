"""serve.py on a virtual clock, its passes timed by a known law instead of a GPU.

    python3 virtual_serve.py LAW SERVE_ARGUMENTS…       the program itself, files and all
    python3 virtual_serve.py --cases < cases.json       many small runs: [{config, rows, law, pages}] to [{requests, passes}]

LAW is JSON: {"kind": "fixed", "prefill_ms": …, "decode_ms": …}, {"kind": "polynomial"} or {"kind": "mixed"}; "slower": a factor on all times.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

# The engines' folder ships as it is.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / 'engines' / 'cuda'))

import serve  # noqa: E402
from workload import Arrivals  # noqa: E402

CAPABILITIES = {
    'versions': [1], 'worker': 'virtual 1', 'kind': 'fake',
    'gpu': {'name': 'none', 'sm': 0, 'sms': 0, 'mem_bytes': 0, 'l2_bytes': 0, 'driver': 'none', 'cuda': 'none', 'mig': False},
    'software': {'python': sys.version.split()[0], 'torch': 'none', 'triton': 'none', 'numpy': 'none'},
    'dtypes': [], 'kinds': [], 'attention': [], 'cpu': 'none', 'ram_bytes': 0, 'nvml': False,
}


class VirtualClock:
    def start(self):
        self.at = 0.0

    def now(self):
        return self.at

    def wait_until(self, at, _stop):
        self.at = max(self.at, at)
        return self.at


def charged_ms(raw_ms):
    """Whole nanoseconds of the exact value, ties to even."""
    return round(Fraction(raw_ms / 1000) * 10**9) / 1e9 * 1000


class LawExecutor:
    """Moves the clock by the time of prompt work, then by that of decode steps."""

    def __init__(self, config, law, clock):
        self.law = law
        self.clock = clock
        self.room = config['scheduler']['kv_blocks'] * config['scheduler']['block_size']

    def run(self, work):
        prompts = [request for request in work if request.past < request.prefill_to]
        steps = [request for request in work if request.past >= request.prefill_to]
        start = self.clock.at
        if prompts:
            self.clock.at += charged_ms(self.slowed(self.prefill_ms(prompts)))
        if steps:
            self.clock.at += charged_ms(self.slowed(self.decode_ms(len(steps), sum(request.past + 1 for request in steps), max(request.past + 1 for request in steps), prompts)))
        return self.clock.at - start, None, None

    def slowed(self, ms):
        return ms * self.law.get('slower', 1)

    def prefill_ms(self, prompts):
        count = len(prompts)
        end = sum(request.past + request.new for request in prompts)
        start = sum(request.past for request in prompts)
        if self.law['kind'] == 'fixed':
            return self.law['prefill_ms']
        if self.law['kind'] == 'mixed':
            return 2 + sum(request.new / 7 for request in prompts) + sum((request.past + request.new) ** 2 - request.past**2 for request in prompts) / 3000
        x = count * max(0, end // count - start // count)
        return 0 if x == 0 else 4.209989e-7 * (x * x) + 1.518344e-2 * x + 16.50142

    def decode_ms(self, count, context, longest, prompts):
        if self.law['kind'] == 'fixed':
            return self.law['decode_ms']
        if self.law['kind'] == 'mixed':
            return 1 + count / 3 + context / 1000 + len(prompts) / 11 + longest / 500
        u = min(1, context / self.room)
        return max(1, -25.74 * (u * u) + 54.01 * u + 5.74)


class PagedExecutor(LawExecutor):
    """Keeps what each place of each page holds, and fails when a request finds there what is not its own past."""

    def __init__(self, config, law, clock, rows):
        super().__init__(config, law, clock)
        self.block = config['scheduler']['block_size']
        self.places = {}
        nodes = {}
        self.prompts = [self.prompt(row, config['trace_block_tokens'], nodes) for row in rows]

    def prompt(self, row, trace_block, nodes):
        """Of each token: itself and all before it."""
        path, node = [], -1
        for hash_id in row['hash_ids']:
            node = nodes.setdefault((node, hash_id), len(nodes))
            path.append(node)
        return [(path[at // trace_block], at) for at in range(row['prompt'])]

    def run(self, work):
        written = {}
        for request in work:
            prompt = self.prompts[request.id]
            token = lambda at: prompt[at] if at < len(prompt) else ('own', request.id, at)  # noqa: E731
            for at in range(request.past + request.new):
                place = (request.pages[at // self.block], at % self.block)
                if at >= request.past:
                    assert place not in written, f'two requests write {place} in one pass'
                    written[place] = token(at)
                else:
                    # What another request of this pass computes is there as well: its keys are written before attention reads.
                    assert written.get(place, self.places.get(place)) == token(at), f'request {request.id} finds foreign tokens in {place}'
        self.places.update(written)
        return super().run(work)


class LawMachine:
    """In place of a GPU."""

    def __init__(self, law, clock):
        self.law = law
        self.clock = clock

    def describe(self):
        return CAPABILITIES

    def executor(self, config, _rows):
        return LawExecutor(config, self.law, self.clock)


def run_case(case):
    config, rows = case['config'], [{**row, 'id': i} for i, row in enumerate(case['rows'])]
    clock = VirtualClock()
    executor = PagedExecutor(config, case['law'], clock, rows) if case['pages'] else LawExecutor(config, case['law'], clock)
    run = serve.Run(Arrivals(rows, config), config, executor, clock)
    run.serve()
    return {'requests': [run.records[id].line() for id in sorted(run.records)], 'passes': [serve.pass_line(n, *one) for n, one in enumerate(run.passes)], 'end_ms': run.end_ms}


if __name__ == '__main__':
    if sys.argv[1] == '--cases':
        json.dump([run_case(case) for case in json.load(sys.stdin)], sys.stdout)
        sys.exit(0)
    virtual = VirtualClock()
    sys.exit(serve.main(sys.argv[2:], virtual, lambda: LawMachine(json.loads(sys.argv[1]), virtual)))
