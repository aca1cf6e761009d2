"""Runs the worker's decoder, kernels and operators on a CPU in Triton's interpreter: model_check.py ENGINES. Needs torch, Triton and numpy < 2.4.

Prints one line for each test and exits 1 if any fails.
"""

import hashlib
import json
import os
import sys
import tempfile
import traceback

os.environ['TRITON_INTERPRET'] = '1'
sys.path.insert(0, sys.argv[1])

import numpy  # noqa: E402
import torch  # noqa: E402

if tuple(map(int, numpy.__version__.split('.')[:2])) >= (2, 4):
    sys.exit(f'the interpreter of Triton 3.6 needs numpy < 2.4, this is {numpy.__version__}')

import attention  # noqa: E402
import check  # noqa: E402
import device  # noqa: E402
import executor  # noqa: E402
import graphs  # noqa: E402
import linear  # noqa: E402
import model  # noqa: E402
import moe  # noqa: E402
import ops  # noqa: E402
import packing  # noqa: E402
import passes  # noqa: E402
import prefill  # noqa: E402
import serve  # noqa: E402
import shard  # noqa: E402
import workload  # noqa: E402

CPU = torch.device('cpu')
LIMITS = {'max_tokens': 256, 'max_batch': 8, 'max_context': 256, 'page': 16}
DENSE = {'name': 'tiny', 'layers': 3, 'hidden': 256, 'heads': 4, 'kv_heads': 2, 'head_dim': 64, 'ffn': 256, 'vocab': 512, 'qk_norm': True, 'rope_theta': 10000.0, 'tied': False}
ROUTED = {**DENSE, 'moe': {'experts': 8, 'top_k': 2, 'ffn': 128, 'shared_ffn': 128, 'dense_first': 1}}
HEADS = {'heads': 4, 'kv_heads': 2, 'head_dim': 64, 'kv': 'bf16'}
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def decoder(geometry=DENSE, weights='bf16', kv='bf16', routing='balanced', tp=1):
    return model.Decoder(geometry, {'tp': tp, 'rank': 0}, {'weights': weights, 'kv': kv, 'attention': 'bf16'}, LIMITS, routing, 3, 'cpu')


def checks(geometry, weights='bf16', kv='bf16', routing='balanced', tp=1):
    return check.run_checks(geometry, {'tp': tp, 'rank': 0}, {'weights': weights, 'kv': kv, 'attention': 'bf16'}, LIMITS, routing, 5, 'cpu')


def wrong(found):
    return [one for one in found if not one['ok']]


def raised(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f'{kind.__name__} was not raised')


def passes_the_gate(*options, **named):
    def run():
        found = checks(*options, **named)
        assert len(found) >= 12 and not wrong(found), wrong(found)

    return run


for label, options, named in (
    ('grouped queries with head norms', (DENSE,), {}),
    ('wide heads, tied embeddings, FP8 cache', ({**DENSE, 'qk_norm': False, 'head_dim': 128, 'tied': True},), {'kv': 'fp8'}),
    ('heads of 80 in a shard of two', ({**DENSE, 'head_dim': 80, 'kv_heads': 1},), {'tp': 2}),
    ('experts, a shared one and a dense first layer', (ROUTED,), {'routing': 'zipf 1.0'}),
    ('FP8 per tensor', (DENSE, 'fp8_tensor'), {}),
    ('FP8 per row, FP8 cache', (DENSE, 'fp8_row', 'fp8'), {}),
    ('FP8 by blocks, experts', (ROUTED, 'fp8_block'), {}),
):
    run = passes_the_gate(*options, **named)
    run.__name__ = f'gate: {label}'
    test(run)


@test
def gate_finds_wrong_attention():
    right = model.decode
    model.decode = lambda qkv, cache, tables, lengths, *rest: right(qkv, cache, tables, (lengths - 1).clamp_min(0), *rest)
    try:
        names = {one['name'] for one in wrong(checks(DENSE))}
    finally:
        model.decode = right
    assert names == {'logits of 8 decode steps'}, names


@test
def gate_finds_what_a_kernel_leaves_out():
    right = attention.prefill
    prefill.prefill = lambda *arguments: right(*arguments[:6], arguments[6].clamp_min(16), *arguments[7:])
    try:
        error = raised(device.Unsupported, lambda: checks(DENSE))
    finally:
        prefill.prefill = right
    assert 'relative error inf' in str(error), error


@test
def prompts_of_several_tiles():
    served = prefill.PrefillAttention(4, 2, 64, torch.bfloat16, CPU, timed=False)
    batch, qkv, cache = served._problem([(150, 40), (3, 200), (65, 0)], torch.Generator().manual_seed(4))
    assert batch.tile_rows == 128 and len(batch.tile_starts) == 4
    error = prefill.relative_error(served._run(prefill.OWN, batch, qkv, cache), served._wanted(batch, qkv, cache))
    assert error < prefill.LIMIT, error


@test
def a_pass_is_its_sequences():
    model_ = decoder()
    seqs, rows = [(1, 20), (30, 5), (1, 40), (9, 0)], [3, 0, 2]
    tables = model_.order.tables([new + past for new, past in seqs])
    ids = [list(range(start, start + new)) for start, (new, _) in zip((7, 90, 300, 400), seqs)]
    before = model_.caches.clone()
    together = model_.logits(model_.prepare(seqs, tables, rows, sum(ids, []))).float()
    for row, at in zip(together, rows):
        model_.caches.copy_(before)
        alone = model_.logits(model_.prepare([seqs[at]], [tables[at]], None, ids[at])).float()[0]
        assert prefill.relative_error(row, alone) < 1e-2, at
    model_.caches.copy_(before)
    found = model_.forward(model_.prepare(seqs, tables, rows, sum(ids, [])))
    assert model_.read_back(found) == together.argmax(-1).tolist()
    assert model_.forward(model_.prepare(seqs, tables, [], sum(ids, []))).numel() == 0


@test
def padding_rows_change_nothing():
    model_ = decoder()
    seqs = [(1, 200), (1, 0), (1, 33)]
    tables, before = model_.order.tables([201, 1, 34]), model_.caches.clone()
    plain = model_.logits(model_.prepare(seqs, tables, None, [1, 2, 3]))
    after = model_.caches.clone()
    model_.caches.copy_(before)
    padded = model_.prepare(seqs, tables, None, [1, 2, 3], pad_to=8)
    assert padded.tokens == 8 and prefill.relative_error(model_.logits(padded), plain) < 1e-2
    error = (model_.caches.float() - after.float()).norm() / after.float().norm()
    assert error < 1e-3, error
    changed = (model_.caches != before).flatten(3).any(-1)
    assert changed.sum() == 3 * 2 * 3, 'one slot in each layer, keys and values, of each sequence'


@test
def layers_in_a_ring():
    memory, least = model.CPU_MEMORY_BYTES, shard.Shard.of({**DENSE, 'layers': 40}, 1, 'bf16', 'bf16')
    model.CPU_MEMORY_BYTES = least.ends_bytes() + least.workspace_bytes(LIMITS) + 24 * least.layer_bytes(0)
    try:
        ring = decoder({**DENSE, 'layers': 40})
    finally:
        model.CPU_MEMORY_BYTES = memory
    assert 7 <= ring.distinct_layers < 40 and len(ring.layers) == ring.distinct_layers, ring.distinct_layers
    assert ring.layer_at(39) == 39 % ring.distinct_layers and ring.layer_at(5, 4) == 1
    assert ring.weight_bytes == least.ends_bytes() + sum(least.layer_bytes(i) for i in range(ring.distinct_layers))
    assert ring.read_back(ring.forward(ring.prepare([(1, 30)], tokens=[5]), depth=9, ring=4)) != []


@test
def long_passes_are_run_with_fewer_layers():
    deep, ran = decoder({**DENSE, 'layers': 20}), []

    def run(_target, depth, _ring):
        ran.append(depth)
        return tuple(2 + (depth or 20) * slope for slope in (0.5, 1.0, 0.25))

    right, passes.PassTarget._run = passes.PassTarget._run, run
    try:
        point = {'kind': 'pass', 'mode': 'eager', 'seqs': [[1, 30]], 'rows': 1}
        long = passes.PassTarget(deep, point, 0.1)
        assert long.flags == ['extrapolated_depth'] and set(ran) == {4, 8, 12}, ran
        assert all(abs(got - wanted) < 1e-9 for got, wanted in zip(long.sample(), (12, 22, 7)))
        short = passes.PassTarget(deep, point, 1.0)
        assert short.flags == [] and short.sample() == (12, 22, 7)
    finally:
        passes.PassTarget._run = right


@test
def memory_that_is_short():
    dense = shard.Shard.of(DENSE, 1, 'bf16', 'bf16')
    error = raised(device.OutOfMemory, lambda: shard.fit(dense, LIMITS, 1 << 20, 1 << 20))
    assert error.needed_bytes > dense.ends_bytes() + 2 * dense.layer_bytes(0)
    whole = shard.fit(dense, LIMITS, 1 << 30, 1 << 20)
    assert whole == shard.Fit(3, 8 * 16 + 16), whole
    model_ = decoder()
    error = raised(device.OutOfMemory, lambda: model_.prepare([(1, 250)] * 60))
    assert error.needed_bytes == 60 * 16 * dense.page_bytes() * 3
    assert raised(device.Unsupported, lambda: model_.prepare([(1, 5000)])).code == 'unsupported_kind'
    assert 'page' in str(raised(device.OutOfMemory, lambda: model_.prepare([(1, 0)], [[1 << 20]])))


@test
def routing():
    table, ratio = moe.routing_table('balanced', 64, 8, 2, 1)
    assert ratio == 1 and numpy.bincount(table.ravel()).tolist() == [16] * 8
    table, ratio = moe.routing_table('zipf 1.2', 500, 16, 4, 1)
    assert all(len(set(row)) == 4 for row in table.tolist()) and ratio > 2, ratio
    assert numpy.bincount(table.ravel()).argmax() == 0


@test
def own_grouped_product():
    generator = torch.Generator().manual_seed(6)
    for rows, ends in ((48, [0, 20, 20, 48]), (300, [150, 150, 290, 300])):
        x, weight = linear.normal((rows, 128), 1.0, generator, CPU), linear.normal((4, 192, 128), 0.1, generator, CPU)
        got = moe.triton_grouped(x, None, weight, None, torch.tensor(ends, dtype=torch.int32), 'bf16')
        wanted = torch.cat([x[a:b].float() @ weight[e].float().t() for e, (a, b) in enumerate(zip([0, *ends], ends))])
        assert prefill.relative_error(got, wanted) < 1e-2


@test
def splits():
    # 4 x 132 programs over 8 key heads; a batch of 512 needs none; 100 tokens are not split.
    assert [attention.split_count(*sizes, 132) for sizes in ((1, 8, 131072), (512, 8, 131072), (1, 8, 100), (3, 8, 1000))] == [66, 1, 1, 4]


@test
def shape_classes():
    names = [packing.shape_class(prompts) for prompts in ([], [(300, 0)] * 2, [(9, 0), (8, 0)], [(9, 0), (300, 1)])]
    assert names == [None, 'equal_long', 'ragged_short', 'past_long'], names


@test
def shards():
    half = shard.Shard.of({**DENSE, 'kv_heads': 1}, 2, 'bf16', 'fp8')
    assert (half.heads, half.kv_heads, half.ffn, half.vocab, half.qkv) == (2, 1, 128, 256, 256)
    assert half.page_bytes() == 2 * 16 * 64
    assert raised(device.Unsupported, lambda: shard.Shard.of(DENSE, 3, 'bf16', 'bf16')).code == 'unsupported_kind'
    assert raised(device.Unsupported, lambda: decoder({**DENSE, 'ffn': 200}, 'fp8_block')).code == 'unsupported_dtype'


@test
def fp8_types_of_this_machine():
    assert linear.dtypes_of(CPU) == list(linear.MODES)


POINTS = [
    *({'kind': 'gemm', 'm': 5, 'n': 256, 'k': 128, 'dtype': mode} for mode in linear.MODES),
    {'kind': 'attn_ctx', 'seqs': [[20, 0], [9, 30]], **HEADS},
    {'kind': 'attn_gen', 'seqs': [[1, 20], [1, 100]], **HEADS, 'kv': 'fp8'},
    {'kind': 'attn_gen', 'seqs': [[1, 20]], **HEADS, 'kv_heads': 1},
    {'kind': 'moe', 'tokens': 6, 'hidden': 128, 'ffn': 128, 'experts': 4, 'top_k': 2, 'dtype': 'fp8_row', 'routing': 'zipf 1.2'},
    {'kind': 'norm', 'tokens': 4, 'hidden': 128},
    {'kind': 'act', 'tokens': 4, 'ffn': 100},
    {'kind': 'rope_kv', 'tokens': 20, 'qk_norm': True, **HEADS},
    {'kind': 'embed', 'tokens': 5, 'hidden': 64, 'vocab': 1000},
    {'kind': 'logits', 'rows': 3, 'hidden': 128, 'vocab': 512},
    *({'kind': 'sample', 'rows': 3, 'vocab': 100, 'method': method} for method in ('argmax', 'top_p')),
    *({'kind': 'quant', 'tokens': 5, 'width': 256, 'dtype': mode} for mode in linear.MODES[1:]),
    *({'kind': 'copy', 'direction': direction, 'bytes': 4096, 'pinned': True, 'blocks': 0, 'gather': False} for direction in ('h2d', 'd2h', 'd2d', 'bidi')),
    *({'kind': 'copy', 'direction': direction, 'bytes': 65536, 'pinned': False, 'blocks': 16, 'gather': gather}
      for direction in ('h2d', 'd2h', 'd2d') for gather in (False, True)),
    *({'kind': 'host', 'what': what} for what in ('empty_pass', 'launches', 'read_back')),
    {'kind': 'pass', 'mode': 'eager', 'seqs': [[20, 0], [1, 40], [7, 5]], 'rows': 2},
]


@test
def every_kind_of_point():
    context = ops.Context(decoder=decoder())
    for point in POINTS:
        target = ops.target(point, context)
        gpu, wall, issue = target.sample()
        assert gpu > 0 and target.kernel and target.flags == [], point
        assert (wall is None) == (point['kind'] != 'pass') and (wall is None or gpu <= issue <= wall), point
        target.close()


@test
def points_that_this_machine_cannot_do():
    context = ops.Context(device='cpu')
    for point in ({'kind': 'disk', 'op': 'read', 'bytes': 4096}, {'kind': 'host', 'what': 'empty_pass'}, {'kind': 'host', 'what': 'graph_launch'},
                  {'kind': 'quant', 'tokens': 5, 'width': 256, 'dtype': 'bf16'}, {'kind': 'pass', 'mode': 'eager', 'seqs': [[1, 0]], 'rows': 1},
                  {'kind': 'attn_gen', 'seqs': [[1, 20]], **HEADS, 'kv_heads': 3}):
        assert raised(device.Unsupported, lambda point=point: ops.target(point, context)).code == 'unsupported_kind'
    graph = {'kind': 'pass', 'mode': 'graph', 'seqs': [[1, 3]], 'rows': 1, 'pad_to': 2}
    assert 'CUDA graphs' in str(raised(device.Unsupported, lambda: ops.target(graph, ops.Context(decoder=decoder()))))


@test
def disk():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for op in ('read', 'write'):
            target = ops.target({'kind': 'disk', 'op': op, 'bytes': 1 << 16}, ops.Context(device='cpu', scratch=folder))
            assert target.time_ms() > 0 and target.flags in ([], ['cached'])
            assert os.path.getsize(target.path) == 1 << 16
            target.close()
        assert os.listdir(folder) == []


@test
def top_p_keeps_the_likely():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(400, 1)
    counts = torch.bincount(ops.top_p(logits), minlength=4)
    # 0.5 + 0.3 < 0.9, so the third is kept and the fourth is not.
    assert counts[3] == 0 and counts[2] > 20 and counts[0] > counts[2], counts


@test
def lines():
    value, residual = passes.line([(4, 9.0), (8, 17.0), (12, 25.0)], 40)
    assert abs(value - 81) < 1e-9 and residual < 1e-12
    assert passes.line([(4, 9.0), (8, 18.0), (12, 25.0)], 40)[1] > 0.01


@test
def no_gpu_is_named():
    if not torch.cuda.is_available():
        assert 'no CUDA GPU' in str(raised(device.MissingDevice, device.require_gpu)) or 'without CUDA' in str(raised(device.MissingDevice, device.require_gpu))
    monitor = device.Monitor(None)
    monitor.start()
    assert monitor.stop() == dict.fromkeys(('clock_mhz', 'power_w', 'temp_c', 'power_capped', 'throttled'))


@test
def gpu_state():
    class Nvml:
        readings = iter([(1980, 500.0, 50, 0x0), (1500, 690.0, 60, 0x4), (1485, 700.0, 61, 0x4 | 0x40)])

        def sample(self):
            return next(self.readings, (1485, 700.0, 61, 0x40))

    monitor = device.Monitor(Nvml())
    monitor.start()
    while len(monitor.samples) < 2:
        pass
    state = monitor.stop()
    assert state['temp_c'] >= 60 and state['power_capped'] is True and 500 <= state['power_w'] <= 700 and state['clock_mhz'] in (1980, 1500, 1485), state


class CpuGraph:
    """What DecodeGraph is, without a graph: its inputs are filled and the step runs over them."""

    def __init__(self, decoder, pad_to):
        splits = attention.split_count(pad_to, decoder.shard.kv_heads, LIMITS['max_context'], decoder.sms)
        self.inputs = graphs.DecodeInputs(pad_to, LIMITS['max_context'], splits, CPU)
        self.replay = lambda: decoder._tokens(self.inputs)


class CpuDecoder(model.Decoder):
    def __init__(self, *arguments):
        super().__init__(*arguments, device='cpu')

    def capture(self, pad_to, max_context=None, depth=None, ring=None):
        return self.graphs.setdefault(pad_to, CpuGraph(self, pad_to))


def served(sizes, caching, blocks):
    """(tokens that serve.py's engine makes of three requests for one prompt, by request; graphs used; preemptions)."""
    load = {'model': {**DENSE, 'layers': 1}, 'shard': {'tp': 1, 'rank': 0}, 'dtype': {'weights': 'bf16', 'kv': 'bf16', 'attention': 'bf16'}, 'limits': {**LIMITS, 'max_tokens': 32}, 'routing': 'balanced', 'seed': 3}
    scheduler = {'block_size': 16, 'kv_blocks': blocks, 'max_num_seqs': 4, 'max_num_batched_tokens': 32, 'prefix_caching': caching, 'chunked_prefill': True, 'context_length': None, 'preemption': 'lifo'}
    config = {'scheduler': scheduler, 'graphs': sizes, 'load_model': load, 'load': {'kind': 'closed', 'concurrency': 3}, 'trace_block_tokens': 16}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'slice.jsonl')
        with open(path, 'w') as file:
            file.write((json.dumps({'timestamp': 0, 'input_length': 30, 'output_length': 8, 'hash_ids': [1, 2]}) + '\n') * 3)
        config['slice_sha256'] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
        rows = workload.read_slice(path, config)
    tokens = workload.prompt_tokens(rows, 16, DENSE['vocab'], 3)
    run = serve.Run(workload.Arrivals(rows, config), config, executor.TorchExecutor(config, tokens), serve.WallClock())
    run.serve()
    assert run.reason == 'complete' and all(record.status == 'completed' for record in run.records.values())
    assert all(host['gpu_ms'] > 0 and host['issue_ms'] > 0 for *_, host in run.passes)
    return tokens, {host['graph'] for *_, host in run.passes} - {None}, sum(record.preemptions for record in run.records.values())


@test
def a_served_request_gets_the_same_tokens():
    executor.Decoder = CpuDecoder
    alone, none, _ = served([], False, 64)
    assert none == set()
    short, used, preemptions = served([1, 2, 4], True, 5)
    assert preemptions > 0 and used and used <= {1, 2, 4}, (preemptions, used)
    assert short == alone, 'caching, graphs or preemption change tokens'


def main():
    torch.set_num_threads(2)
    failed = 0
    for function in TESTS:
        try:
            function()
            print(f'ok {function.__name__}', flush=True)
        except Exception:
            failed += 1
            print(f'FAILED {function.__name__}\n{traceback.format_exc()}', flush=True)
    sys.exit(1 if failed else 0)


main()
