"""serve.py on a virtual clock, its passes timed by a known law instead of a GPU.

    python3 virtual_serve.py LAW SERVE_ARGUMENTS…       the program itself, files and all
    python3 virtual_serve.py --cases < cases.json       many small runs: [{config, rows, law}] to [{requests, passes}]

LAW is JSON: {"kind": "fixed", "prefill_ms": …, "decode_ms": …}, {"kind": "polynomial"} or {"kind": "mixed"}; "slower": a factor on all times.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

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

    def wait_until(self, at):
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
            self.clock.at += charged_ms(self.slowed(self.decode_ms(len(steps), sum(request.past + 1 for request in steps), prompts)))
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
            return 2 + (end - start) / 7 + sum((request.past + request.new) ** 2 - request.past**2 for request in prompts) / 3000
        x = count * max(0, end // count - start // count)
        return 0 if x == 0 else 4.209989e-7 * (x * x) + 1.518344e-2 * x + 16.50142

    def decode_ms(self, count, context, prompts):
        if self.law['kind'] == 'fixed':
            return self.law['decode_ms']
        if self.law['kind'] == 'mixed':
            return 1 + count / 3 + context / 1000 + len(prompts) / 11
        u = min(1, context / self.room)
        return max(1, -25.74 * (u * u) + 54.01 * u + 5.74)


def run_case(case):
    config, rows = case['config'], [{**row, 'id': i} for i, row in enumerate(case['rows'])]
    clock = VirtualClock()
    run = serve.Run(Arrivals(rows, config), config, LawExecutor(config, case['law'], clock), clock)
    run.serve()
    return {'requests': [run.records[id].line() for id in sorted(run.records)], 'passes': [serve.pass_line(n, *one) for n, one in enumerate(run.passes)], 'end_ms': run.end_ms}


if __name__ == '__main__':
    if sys.argv[1] == '--cases':
        json.dump([run_case(case) for case in json.load(sys.stdin)], sys.stdout)
        sys.exit(0)
    clock = VirtualClock()
    law = json.loads(sys.argv[1])
    sys.exit(serve.main(sys.argv[2:], clock, lambda config, _rows: LawExecutor(config, law, clock), lambda: CAPABILITIES))
