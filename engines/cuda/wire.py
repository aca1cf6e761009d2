"""Messages between a client and the worker: one JSON object per line, and what may stand in it.

The shapes are those of src/calibrate/gpu/points.ts: a line that one of them takes the other takes.
"""

import json
import re
from decimal import Decimal

VERSION = 1
LINE_BYTES = 1 << 20
SAFE_INTEGER = 2**53 - 1
DEFAULT_POLICY = {'warmup': 3, 'min': 10, 'max': 50, 'ci': 0.02, 'cap_s': 5}
MATRIX_TYPES = ('bf16', 'fp8_tensor', 'fp8_row', 'fp8_block')
ERROR_CODES = ('bad_request', 'unsupported_dtype', 'unsupported_kind', 'oom', 'check_failed', 'cuda_error', 'timeout', 'throttled', 'noisy', 'internal')


class Failure(Exception):
    """How a request ends without a reply: one of `ERROR_CODES`, why, and whether the process can go on (`fatal`) or try again."""

    def __init__(self, code, message, fatal=False, retryable=False, needed_bytes=None):
        super().__init__(message)
        assert code in ERROR_CODES, code
        self.code = code
        self.message = message
        self.fatal = fatal
        self.retryable = retryable
        self.needed_bytes = needed_bytes

    def fields(self):
        """The fields of an `error` message."""
        needed = {} if self.needed_bytes is None else {'needed_bytes': self.needed_bytes}
        return {'code': self.code, 'message': self.message, 'fatal': self.fatal, 'retryable': self.retryable, **needed}


def _bad(path, what):
    raise Failure('bad_request', f'{path or "message"} {what}')


def _number(value, path):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _bad(path, 'is not a number')
    return value


def _positive(value, path):
    if not _number(value, path) > 0:
        _bad(path, 'is not above 0')
    return value


def _integer(low):
    def check(value, path):
        # JSON does not tell 3.0 from 3.
        if _number(value, path) != int(value) or abs(value) > SAFE_INTEGER or value < low:
            _bad(path, f'is not a whole number from {low} on')
        return int(value)

    return check


def _text(pattern='.*'):
    compiled = re.compile(pattern, re.DOTALL)

    def check(value, path):
        if not isinstance(value, str) or not compiled.fullmatch(value):
            _bad(path, 'is not text' if pattern == '.*' else f'is not text like {pattern}')
        return value

    return check


def _boolean(value, path):
    if not isinstance(value, bool):
        _bad(path, 'is not true or false')
    return value


def _one_of(*values):
    def check(value, path):
        if isinstance(value, bool) or value not in values:
            _bad(path, f'is not one of {", ".join(map(str, values))}')
        return value

    return check


def _record(fields, optional=None):
    every = {**fields, **(optional or {})}

    def check(value, path):
        if not isinstance(value, dict):
            _bad(path, 'is not an object')
        unknown = [name for name in value if name not in every]
        missing = [name for name in fields if name not in value]
        if unknown or missing:
            _bad(path, f'has unknown field {unknown[0]}' if unknown else f'lacks {missing[0]}')
        return {name: every[name](one, f'{path}.{name}' if path else name) for name, one in value.items()}

    return check


def _items(check_item, low, high):
    def check(value, path):
        if not isinstance(value, list) or not low <= len(value) <= high:
            _bad(path, f'is not a list of {low} to {high}')
        return [check_item(one, f'{path}[{i}]') for i, one in enumerate(value)]

    return check


def _pair(first, second):
    def check(value, path):
        if not isinstance(value, list) or len(value) != 2:
            _bad(path, 'is not a pair')
        return [first(value[0], f'{path}[0]'), second(value[1], f'{path}[1]')]

    return check


def _by(name, variants):
    """Objects whose field `name` says which of `variants` they are."""

    def check(value, path):
        if not isinstance(value, dict):
            _bad(path, 'is not an object')
        variant = value.get(name)
        if not isinstance(variant, str) or variant not in variants:
            _bad(f'{path}.{name}' if path else name, f'is not one of {", ".join(variants)}')
        return variants[variant](value, path)

    return check


_count, _whole = _integer(1), _integer(0)
_matrix = _one_of(*MATRIX_TYPES)
_routing = _text(r'balanced|zipf [0-9]+(\.[0-9]+)?')
_NAME = _text(r'[A-Za-z0-9._-]{1,80}')
_SEQUENCES = {'seqs': _items(_pair(_count, _whole), 1, 4096)}
_HEAD = {'pid': _text('[0-9a-f]{12}'), 'split': _one_of('anchor', 'grid', 'holdout', 'refine'), 'est_s': _positive}
_ATTENTION = {'heads': _count, 'kv_heads': _count, 'head_dim': _count, 'kv': _one_of('bf16', 'fp8')}


def _point(kind, fields, mode='graph', optional=None):
    modes = {'mode': _one_of(*mode.split('|'))}
    return _record({'kind': _one_of(kind), **_HEAD, **modes, **fields}, {'repeat': _count, 'of': _text(), **(optional or {})})


_POINTS = {
    'pass': _point('pass', {**_SEQUENCES, 'rows': _whole}, 'graph|eager', {'pad_to': _count, 'tp': _count}),
    'gemm': _point('gemm', {'m': _count, 'n': _count, 'k': _count, 'dtype': _matrix}),
    'attn_ctx': _point('attn_ctx', {**_SEQUENCES, **_ATTENTION}),
    'attn_gen': _point('attn_gen', {**_SEQUENCES, **_ATTENTION}),
    'moe': _point('moe', {**dict.fromkeys(('tokens', 'hidden', 'ffn', 'experts', 'top_k'), _count), 'dtype': _matrix, 'routing': _routing}),
    'norm': _point('norm', {'tokens': _count, 'hidden': _count}),
    'act': _point('act', {'tokens': _count, 'ffn': _count}),
    'rope_kv': _point('rope_kv', {'tokens': _count, **_ATTENTION, 'qk_norm': _boolean}),
    'embed': _point('embed', {'tokens': _count, 'hidden': _count, 'vocab': _count}),
    'logits': _point('logits', {'rows': _count, 'hidden': _count, 'vocab': _count}),
    'sample': _point('sample', {'rows': _count, 'vocab': _count, 'method': _one_of('argmax', 'top_p')}),
    'quant': _point('quant', {'tokens': _count, 'width': _count, 'dtype': _matrix}),
    'copy': _point('copy', {'direction': _one_of('h2d', 'd2h', 'd2d', 'bidi'), 'bytes': _count, 'pinned': _boolean, 'blocks': _whole, 'gather': _boolean}, 'eager'),
    'disk': _point('disk', {'op': _one_of('read', 'write'), 'bytes': _count}, 'eager'),
    'host': _point('host', {'what': _one_of('empty_pass', 'launches', 'graph_launch', 'read_back')}, 'eager'),
}
POINT_KINDS = tuple(_POINTS)

_geometry = _record(
    {
        'name': _NAME, **dict.fromkeys(('layers', 'hidden', 'heads', 'kv_heads', 'head_dim', 'vocab'), _count), 'ffn': _whole,
        'qk_norm': _boolean, 'rope_theta': _positive, 'tied': _boolean,
    },
    {'moe': _record({'experts': _count, 'top_k': _count, 'ffn': _count, 'shared_ffn': _whole, 'dense_first': _whole})},
)
_LOAD = {
    'model': _geometry,
    'shard': _record({'tp': _count, 'rank': _one_of(0)}),
    'dtype': _record({'weights': _matrix, 'kv': _one_of('bf16', 'fp8'), 'attention': _one_of('bf16')}),
    'limits': _record({'max_tokens': _count, 'max_batch': _count, 'max_context': _count, 'page': _one_of(16)}),
    'routing': _routing,
    'seed': _whole,
}
LOAD_FIELDS = tuple(_LOAD)
policy = _record({'warmup': _count, 'min': _count, 'max': _count, 'ci': _positive, 'cap_s': _positive})


def _request(kind, fields, optional=None):
    return _record({'v': _one_of(VERSION), 'id': _whole, 'type': _one_of(kind), **fields}, optional)


_request_of = _by('type', {
    'hello': _request('hello', {'client': _text(), 'versions': _items(_whole, 1, 100)}),
    'load_model': _request('load_model', _LOAD),
    'measure': _request('measure', {'point': _by('kind', _POINTS)}, {'policy': policy}),
    'bye': _request('bye', {}),
})

_header_of = _record({
    'type': _one_of('plan'), 'v': _one_of(VERSION), 'plan_hash': _text('[0-9a-f]{64}'), 'name': _text(), 'hardware': _text(), 'gpu_name': _text('.+'),
    'budget_s': _positive, 'policy': policy,
})


def parse_json(text):
    """The object on a line; numbers that JavaScript cannot hold are refused. Raises `Failure` (bad_request)."""

    def finite(digits):
        value = float(digits)
        if value in (float('inf'), float('-inf')):
            _bad('', f'holds {digits}, which is no finite number')
        return value

    if len(text.encode()) > LINE_BYTES:
        _bad('', f'is longer than {LINE_BYTES} bytes')
    try:
        value = json.loads(text, parse_float=finite, parse_int=lambda digits: int(digits) if len(digits) < 300 else finite(digits), parse_constant=lambda word: _bad('', f'holds {word}'))
    except (ValueError, RecursionError) as error:
        _bad('', f'is no JSON: {error}')
    if not isinstance(value, dict):
        _bad('', 'is not an object')
    return value


def parse_request(text):
    """A request as a dictionary with whole numbers as int. Raises `Failure` (bad_request) naming the field."""
    return check_request(parse_json(text))


def check_request(value):
    """`parse_request` of an object that was read already."""
    return _request_of(value, '')


def parse_header(text):
    """The first line of a plan. Raises `Failure` (bad_request) naming the field."""
    return _header_of(parse_json(text), '')


def request_id(text):
    """The id of a line that may be no request, for the answer; None when it has none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = value.get('id') if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= SAFE_INTEGER else None


def encode(message):
    """A message as its line, final newline included; numbers are finite."""
    return (json.dumps(message, separators=(',', ':'), allow_nan=False) + '\n').encode()


def number_text(value):
    """A number as JavaScript prints it: the shortest text that reads back the same."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = ''.join(map(str, digits)), len(digits) + exponent
    if -6 < point <= 0:
        body = f'0.{"0" * -point}{text}'
    elif 0 < point <= 21:
        body = f'{text[:point]}.{text[point:]}'
    else:
        body = f'{text[0]}{"." + text[1:] if len(text) > 1 else ""}e{"+" if point > 0 else "-"}{abs(point - 1)}'
    return f'-{body}' if sign else body


def canonical_json(value):
    """JSON with sorted names and no spaces, the same text as the client's."""
    if isinstance(value, dict):
        return '{' + ','.join(f'{json.dumps(name)}:{canonical_json(value[name])}' for name in sorted(value)) + '}'
    if isinstance(value, list):
        return '[' + ','.join(map(canonical_json, value)) + ']'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    return json.dumps(value, ensure_ascii=False)
