"""What is written of a point: a record of spec calibration 6.1. Times in ms."""

import hashlib
from datetime import datetime, timezone

from wire import canonical_json

# How a point ends that was not measured, by the code of its failure.
STATUS = {'oom': 'oom', 'unsupported_kind': 'unsupported', 'unsupported_dtype': 'unsupported', 'throttled': 'throttled', 'noisy': 'noisy'}
_TIMES = ('median_ms', 'mad_ms', 'ci_rel', 'wall_ms', 'issue_ms')
_STATE = ('clock_mhz', 'power_w', 'temp_c', 'power_capped')


def utc():
    """Now, as ISO 8601 in whole seconds."""
    return datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


def geometry_hash(model):
    """SHA-256 of a geometry without its name; the same as the client's."""
    return hashlib.sha256(canonical_json({name: one for name, one in model.items() if name != 'name'}).encode()).hexdigest()


def model_fields(load):
    """What a record says of the model of `load` (or None)."""
    return {'tp': load and load['shard']['tp'], 'geometry_hash': load and geometry_hash(load['model'])}


def record(point, load, status, measured=None, flags=()):
    """A record of `point` under the model of `load` (or None); `measured` holds what is known of its times, kernel and GPU."""
    known = measured or {}
    kept = known if status == 'ok' else {name: one for name, one in known.items() if name not in _TIMES}
    return {
        'pid': point['pid'], 'kind': point['kind'], 'split': point['split'], 'status': status, 'mode': point['mode'],
        'n': 0, **dict.fromkeys(_TIMES), 'kernel': None, 'dtype': _dtype(point, load),
        **model_fields(load), 'distinct_layers': None,
        **dict.fromkeys(_STATE), **kept, 'flags': list(flags), 't_utc': utc(),
        **(pass_metrics(point['seqs'], kept.get('wall_ms')) if point['kind'] == 'pass' else {}),
    }


def failure_record(point, load, failure):
    """The record of a point that ended in `failure`; a code that is no status becomes `crashed` and a flag."""
    status = STATUS.get(failure.code, 'crashed')
    return record(point, load, status, flags=() if failure.code == status else (failure.code,))


def _dtype(point, load):
    if point['kind'] == 'pass':
        return load and load['dtype']['weights']
    return point.get('dtype', point.get('kv', 'bf16'))


def _variance(values):
    mean = sum(values) / len(values) if values else 0
    return sum((one - mean) ** 2 for one in values) / len(values) if values else 0


def pass_metrics(seqs, wall_ms):
    """A pass as a scheduler's forward-pass metrics have it; `wall_time` in s, absent without a time."""
    prompts = [(new, past) for new, past in seqs if new > 1]
    steps = [past for new, past in seqs if new == 1]
    return {
        'num_prefill_requests': len(prompts),
        'sum_prefill_tokens': sum(new for new, _ in prompts),
        'sum_prefill_kv_tokens': sum(past for _, past in prompts),
        'var_prefill_length': _variance([new + past for new, past in prompts]),
        'num_decode_requests': len(steps),
        'sum_decode_kv_tokens': sum(steps),
        'var_decode_kv_tokens': _variance(steps),
        **({} if wall_ms is None else {'wall_time': wall_ms / 1000}),
    }
