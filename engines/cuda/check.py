"""The correctness gate: two layers of the model against a plain float32 decoder. No timing follows a model that fails it. Source: spec calibration 4."""

import math

import numpy
import torch

from attention import PAGE, decode
from device import pick
from graphs import DecodeGraph, DecodeInputs
from kernels import EPSILON, FP8, nan_filled
from model import Decoder
from packing import Batch
from prefill import LIMIT as ATTENTION_LIMIT
from prefill import plain_attention, relative_error

LOGIT_LIMITS = {'bf16': 2e-2, 'fp8_tensor': 8e-2, 'fp8_row': 8e-2, 'fp8_block': 8e-2}
GRAPH_LIMIT = 1e-3
STEPS = 8
CHUNKS = 3
PROMPTS = {'cuda': (700, 61, 300), 'cpu': (41, 19, 70)}
WORST = 1e30
"""Stands for an error that is not a finite number, which JSON cannot hold."""


def _entry(name, error, limit):
    error = error if math.isfinite(error) else WORST
    return {'name': name, 'error': error, 'limit': limit, 'ok': error <= limit}


class Reference:
    """The decoder's own weights, as quantised, in float32: no pages, no kernels of this worker. FP8 keys and values are rounded as the cache rounds them."""

    def __init__(self, decoder):
        self.decoder = decoder

    def logits(self, ids, route_rows):
        """float32 [tokens, vocab] of one sequence; route_rows: rows of the routing table."""
        decoder = self.decoder
        x = decoder.embedding[ids].float()
        for index in range(decoder.shard.layers):
            at = decoder.layer_at(index)
            layer = decoder.layers[at]
            x = x + self._attention(layer, _norm(x, layer.attention_norm))
            h = _norm(x, layer.mlp_norm)
            x = x + (_swiglu(h, layer.gate_up.plain(), layer.down.plain()) if layer.moe is None else self._experts(layer.moe, h, at, route_rows))
        return _norm(x, decoder.final_norm) @ decoder.vocabulary.float().t()

    def _attention(self, layer, h):
        shard = self.decoder.shard
        q, k, v = (h @ layer.qkv.plain().t()).view(h.shape[0], -1, shard.dim).split((shard.heads, shard.kv_heads, shard.kv_heads), 1)
        if layer.q_norm is not None:
            q, k = _norm(q, layer.q_norm), _norm(k, layer.k_norm)
        q, k = self._rotate(q), self._rotate(k)
        if shard.kv == 'fp8':
            k, v = k.to(FP8).float(), v.to(FP8).float()
        return plain_attention(q, k, v, 0).flatten(1) @ layer.proj.plain().t()

    def _rotate(self, x):
        cosine, sine = (t[: x.shape[0], None, :] for t in (self.decoder.cosine, self.decoder.sine))
        low, high = x.chunk(2, -1)
        return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)

    def _experts(self, moe, h, at, route_rows):
        weights = torch.softmax(torch.topk(h @ moe.router.plain().t(), moe.top_k, dim=1).values, 1)
        routes = self.decoder.routes[at - (self.decoder.distinct_layers - self.decoder.routes.shape[0])][route_rows]
        out = torch.zeros_like(h)
        for expert in routes.unique().tolist():
            token, place = (routes == expert).nonzero(as_tuple=True)
            out.index_add_(0, token, weights[token, place, None] * _swiglu(h[token], moe.gate_up.plain(expert), moe.down.plain(expert)))
        return out if moe.shared is None else out + _swiglu(h, moe.shared[0].plain(), moe.shared[1].plain())


def _norm(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * gain.float()


def _swiglu(h, gate_up, down):
    gate, up = (h @ gate_up.t()).chunk(2, -1)
    return (torch.nn.functional.silu(gate) * up) @ down.t()


class _Run:
    """Three sequences with fixed tokens through the decoder, pages of their own for each run."""

    def __init__(self, decoder, prompts, seed):
        self.decoder, self.prompts = decoder, prompts
        self.random = numpy.random.default_rng(seed)
        self.ids = [self.random.integers(0, decoder.shard.vocab, n + STEPS) for n in prompts]

    def tables(self):
        """New random pages for each sequence at its full length."""
        counts = [-(-len(ids) // PAGE) for ids in self.ids]
        pages = self.random.permutation(self.decoder.kv_pages)[: sum(counts)]
        return numpy.split(pages, numpy.cumsum(counts)[:-1])

    def route_rows(self, sequence):
        """Rows of the routing table of a sequence's tokens: they follow the token, not its place in a pass."""
        offset = sum(len(ids) for ids in self.ids[:sequence])
        return torch.arange(offset, offset + len(self.ids[sequence]), device=self.decoder.device)

    def batch(self, spans, tables, pad_to=None):
        """Batch of tokens start to stop of every sequence."""
        ids = numpy.concatenate([ids[start:stop] for ids, (start, stop) in zip(self.ids, spans)])
        batch = self.decoder.prepare([(stop - start, start) for start, stop in spans], tables, None, ids, pad_to)
        if self.decoder.routes is not None:
            rows = [[self.route_rows(i)[start:stop] for i, (start, stop) in enumerate(spans) if (stop - start == 1) == one] for one in (False, True)]
            padding = [torch.zeros(batch.tokens - len(ids), dtype=torch.int64, device=self.decoder.device)]
            batch.routes = torch.cat([*rows[0], *rows[1], *padding])
        return batch

    def logits(self, spans, tables):
        """float32 [3, vocab] after the last token of each span."""
        return self.decoder.logits(self.batch(spans, tables)).float()

    def whole(self, tables):
        return self.logits([(0, n) for n in self.prompts], tables)

    def chunked(self, tables):
        """As whole, in three passes."""
        for chunk in range(CHUNKS):
            out = self.logits([(n * chunk // CHUNKS, n * (chunk + 1) // CHUNKS) for n in self.prompts], tables)
        return out

    def step(self, step, tables):
        return self.logits([(n + step, n + step + 1) for n in self.prompts], tables)


def _model_checks(decoder, prompts, limit, seed):
    run, reference = _Run(decoder, prompts, seed), Reference(decoder)
    exact = [reference.logits(torch.as_tensor(ids, device=decoder.device), run.route_rows(i)) for i, ids in enumerate(run.ids)]
    tables = run.tables()
    whole = run.whole(tables)
    steps = [run.step(step, tables) for step in range(STEPS)]
    other = run.tables()
    permuted = [run.whole(other), run.step(0, other)]
    chunked = run.chunked(run.tables())
    wanted = torch.stack([e[n - 1] for e, n in zip(exact, prompts)])
    wanted_steps = torch.stack([torch.stack([e[n + step] for e, n in zip(exact, prompts)]) for step in range(STEPS)])
    different = max(float((a - b).abs().max()) for a, b in zip(permuted, (whole, steps[0])))
    checks = [
        _entry('logits after prompts', relative_error(whole, wanted), limit),
        _entry('logits after prompts in 3 chunks', relative_error(chunked, wanted), limit),
        _entry('logits of 8 decode steps', relative_error(torch.stack(steps), wanted_steps), limit),
        # Attention itself is held to 1e-2 in _attention_checks; here each side may round its own way through the layers.
        _entry('logits after prompts, 3 chunks against whole', relative_error(chunked, whole), limit),
        _entry('permuted pages, same bits', different, 0.0),
    ]
    if decoder.on_gpu:
        checks.append(_graph_check(decoder, run, tables))
    return checks


def _graph_check(decoder, run, tables):
    """The last decode step again, with a padding row: through a graph and eagerly."""
    spans = [(n + STEPS - 1, n + STEPS) for n in run.prompts]
    batch = run.batch(spans, tables, pad_to=len(spans) + 1)
    inputs = DecodeInputs(batch.pad_to, decoder.limits['max_context'], batch.splits, decoder.device)
    inputs.routes = batch.routes
    graph = DecodeGraph(inputs, decoder.logits, decoder.pool)
    inputs.fill(batch)
    got = graph.replay()[: len(spans)].float()
    eager = decoder.logits(batch)[: len(spans)].float()
    return _entry('graph against eager', relative_error(got, eager), GRAPH_LIMIT)


def _attention_checks(decoder, seed):
    """The attention kernels by themselves: the chosen ones against the plain form, prompts in chunks against whole, decodes with and without splits."""
    prefill = decoder.prefill
    checks = [_entry(f'{name}, {kind}', error, ATTENTION_LIMIT) for (name, kind), error in prefill.errors.items() if name in prefill.choices.values()]
    generator = torch.Generator(decoder.device).manual_seed(seed)
    lengths = [n - 3 for n in PROMPTS[decoder.device.type]]
    checks.append(_entry('attention of prompts in 3 chunks against whole', _chunk_error(decoder, lengths, generator), ATTENTION_LIMIT))
    for splits in (1, 3, 20):
        checks.append(_entry(f'decode attention, {splits} splits', _decode_error(decoder, lengths, splits, generator), ATTENTION_LIMIT))
    return checks


def _pages(decoder, lengths):
    return decoder.order.tables(lengths)


def _random_qkv(decoder, tokens, generator):
    return torch.empty((tokens, decoder.shard.qkv), dtype=torch.bfloat16, device=decoder.device).normal_(generator=generator)


def _chunk_error(decoder, lengths, generator):
    shard, cache = decoder.shard, decoder.caches[0]
    qkv = _random_qkv(decoder, sum(lengths), generator)
    spans = [[(n * c // CHUNKS, n * (c + 1) // CHUNKS) for n in lengths] for c in range(CHUNKS)]
    tables, results = _pages(decoder, lengths), []
    for parts in ([[(0, n) for n in lengths]], spans):
        outs = [[] for _ in lengths]
        for part in parts:
            offsets = numpy.cumsum([0, *lengths])
            rows = torch.cat([qkv[offsets[i] + start : offsets[i] + stop] for i, (start, stop) in enumerate(part)])
            batch = Batch([(stop - start, start) for start, stop in part], tables, None, numpy.zeros(rows.shape[0]), None).upload(decoder.device)
            _write(cache, batch, decoder.prefill.split(rows))
            out = torch.full((rows.shape[0], shard.heads * shard.dim), float('nan'), dtype=torch.bfloat16, device=decoder.device)
            decoder.prefill(batch, rows, cache, out)
            for i, piece in enumerate(out.split([stop - start for start, stop in part])):
                outs[i].append(piece)
        results.append(torch.cat([torch.cat(pieces) for pieces in outs]))
    return relative_error(results[1], results[0])


def _write(cache, batch, qkv):
    """Puts keys and values into the pages by plain indexing, as bytes."""
    for part, fresh in zip(cache, qkv[1:]):
        flat = part.view(-1, *part.shape[-2:])
        flat.view(torch.uint8)[batch.slots.long()] = fresh.to(cache.dtype).view(torch.uint8)


def _decode_error(decoder, lengths, splits, generator):
    shard, cache = decoder.shard, decoder.caches[0]
    qkv = _random_qkv(decoder, len(lengths) + 1, generator)
    tables = _pages(decoder, lengths)
    batch = Batch([(1, n - 1) for n in lengths], tables, None, numpy.zeros(len(lengths)), len(lengths) + 1).upload(decoder.device)
    out = torch.full((len(lengths) + 1, shard.heads * shard.dim), float('nan'), dtype=torch.bfloat16, device=decoder.device)
    decode(qkv, cache, batch.decode_tables, batch.lengths, splits, out, shard.heads, shard.kv_heads, shard.dim)
    q, wanted = decoder.prefill.split(qkv)[0], []
    for i, (table, length) in enumerate(zip(tables, lengths)):
        pages = torch.as_tensor(numpy.ascontiguousarray(table), device=decoder.device, dtype=torch.int64)
        keys, values = (part.view(torch.uint8)[pages].view(cache.dtype).float().flatten(0, 1)[:length] for part in cache)
        wanted.append(plain_attention(q[i : i + 1], keys, values, length - 1))
    wanted.append(torch.zeros_like(wanted[0]))
    return relative_error(out, torch.cat(wanted).flatten(1))


@torch.inference_mode()
def run_checks(geometry, shard, dtype, limits, routing, seed, device=None):
    """[{name, error, limit, ok}] of a two-layer model with load_model's other fields; relative Frobenius errors, NaN in outputs before kernels write them.

    The caller has no other model in memory. A MoE model with dense first layers gets one of each. `limits` only names the page size here."""
    device = pick(device)
    prompts = PROMPTS[device.type]
    moe = geometry.get('moe')
    small = {**geometry, 'layers': 2, **({'moe': {**moe, 'dense_first': min(1, moe['dense_first'])}} if moe else {})}
    longest = max(prompts) + STEPS
    bounds = {**limits, 'max_tokens': sum(prompts) + len(prompts) * STEPS, 'max_batch': 2 * len(prompts), 'max_context': longest}
    exact, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    try:
        with nan_filled():
            decoder = Decoder(small, shard, dtype, bounds, routing, seed, device)
            try:
                return _model_checks(decoder, prompts, LOGIT_LIMITS[dtype['weights']], seed) + _attention_checks(decoder, seed)
            finally:
                decoder.close()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = exact
