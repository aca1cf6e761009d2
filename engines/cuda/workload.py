"""What serve.py serves: its configuration, the requests of a slice, and when they arrive."""

import hashlib
import json
import random
from pathlib import Path

from sequences import Request
from wire import Failure, check_request, parse_json

SCHEMA = 'dynotwin.serve/1'
_FIELDS = ('schema', 'slice_sha256', 'trace_block_tokens', 'load', 'scheduler', 'graphs', 'load_model', 'profile')
_SCHEDULER = ('block_size', 'kv_blocks', 'max_num_seqs', 'max_num_batched_tokens', 'prefix_caching', 'chunked_prefill', 'context_length', 'preemption')


def _refuse(path, what):
    raise Failure('bad_request', f'{path}: {what}', fatal=True)


def _read(path):
    try:
        return Path(path).read_text('utf-8')
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, getattr(error, 'strerror', None) or error)


def read_config(path):
    """The configuration as `calibrate slice` writes it. Raises `Failure`."""
    text = _read(path)
    try:
        config = parse_json(text)
    except Failure as failure:
        _refuse(path, failure.message)
    _same_names(path, config, _FIELDS, 'configuration')
    if config['schema'] != SCHEMA:
        _refuse(path, f'schema {config["schema"]} is not {SCHEMA}')
    _same_names(path, config['scheduler'], _SCHEDULER, 'scheduler')
    for name in ('load', 'load_model'):
        if not isinstance(config[name], dict):
            _refuse(path, f'{name} is no object')
    if config['load'].get('kind') not in ('open', 'closed'):
        _refuse(path, 'load.kind is neither open nor closed')
    try:
        config['load_model'] = {name: value for name, value in check_request({'v': 1, 'id': 0, 'type': 'load_model', **config['load_model']}).items() if name not in ('v', 'id', 'type')}
    except Failure as failure:
        _refuse(path, f'load_model: {failure.message}')
    if config['scheduler']['block_size'] != config['load_model']['limits']['page']:
        _refuse(path, f'block_size {config["scheduler"]["block_size"]} is not the page of {config["load_model"]["limits"]["page"]} tokens')
    return config


def _same_names(path, value, names, what):
    if not isinstance(value, dict):
        _refuse(path, f'{what} is no object')
    for name in {*value, *names}:
        if (name in value) != (name in names):
            _refuse(path, f'{what} {"lacks" if name in names else "has unknown field"} {name}')


def read_slice(path, config):
    """Rows of a Mooncake file as dictionaries with `id` (place in the file, from 0), arrivals from 0 on. Raises `Failure`."""
    text = _read(path)
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != config['slice_sha256']:
        _refuse(path, f'SHA-256 {found[:12]}… is not that of the configuration ({config["slice_sha256"][:12]}…)')
    rows = []
    for number, line in enumerate(filter(str.strip, text.split('\n')), 1):
        try:
            row = json.loads(line)
            rows.append({'id': len(rows), 'timestamp': row.get('timestamp', 0), 'prompt': row['input_length'], 'output': row['output_length'], 'hash_ids': row['hash_ids']})
        except (ValueError, KeyError, AttributeError) as error:
            _refuse(path, f'line {number} is no request ({error})')
        if row['input_length'] > len(row['hash_ids']) * config['trace_block_tokens']:
            _refuse(path, f'line {number}: its hash_ids cover less than input_length')
    if not rows:
        _refuse(path, 'holds no request')
    first = min(row['timestamp'] for row in rows)
    for row in rows:
        row['timestamp'] -= first
    return rows


class Contents:
    """Identities of full pages: equal exactly when the tokens in a page and all before it are."""

    def __init__(self, block, trace_block):
        self.block = block
        self.trace_block = trace_block
        self.nodes = {}
        self.ids = {}

    def of(self, row):
        """Identity of every full page of a prompt: a page ends inside one trace block, which with all before it is a node of the tree of prompts."""
        path = []
        node = -1
        for hash_id in row['hash_ids']:
            node = self.nodes.setdefault((node, hash_id), len(self.nodes))
            path.append(node)
        full = row['prompt'] // self.block
        return [self.ids.setdefault((path[((page + 1) * self.block - 1) // self.trace_block], page), len(self.ids)) for page in range(full)]


def prompt_tokens(rows, trace_block, vocab, seed):
    """Tokens of each prompt by id: pseudo-random, equal for equal hash ids."""
    blocks = {}

    def tokens_of(hash_id):
        if hash_id not in blocks:
            blocks[hash_id] = random.Random(f'{seed}/{hash_id}').choices(range(vocab), k=trace_block)
        return blocks[hash_id]

    return {row['id']: [token for hash_id in row['hash_ids'] for token in tokens_of(hash_id)][: row['prompt']] for row in rows}


class Arrivals:
    """Open loop: at the rows' timestamps. Closed loop: so many at once, and one more when one ends. Times in ms."""

    def __init__(self, rows, config):
        self.closed = config['load']['kind'] == 'closed'
        contents = Contents(config['scheduler']['block_size'], config['trace_block_tokens'])
        ordered = rows if self.closed else sorted(rows, key=lambda row: (row['timestamp'], row['id']))
        self.requests = [Request(row['id'], row['prompt'], row['output'], contents.of(row)) for row in ordered]
        self.times = [] if self.closed else [row['timestamp'] for row in ordered]
        self.sent = 0
        if self.closed:
            for _ in range(config['load']['concurrency']):
                self.ended(0.0)

    def next_ms(self):
        """Of the next request; infinite when none is known to come."""
        return self.times[self.sent] if self.sent < len(self.times) else float('inf')

    def due(self, now):
        """(request, arrival) of those that have arrived by `now`."""
        while self.next_ms() <= now:
            self.sent += 1
            yield self.requests[self.sent - 1], self.times[self.sent - 1]

    def ended(self, now):
        if self.closed and len(self.times) < len(self.requests):
            self.times.append(now)
