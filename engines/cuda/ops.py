"""Operator points: buffers with weights or KV copies that do not stay in the L2 cache, and the call that is timed. Source: spec calibration 3.1, 5."""

from dataclasses import dataclass
from typing import Any

import numpy
import torch
import torch.nn.functional as functional

from attention import PAGE, decode, split_count
from device import Unsupported, pick, sm_count
from kernels import FP8, act, empty, norm, quantise, rope_kv
from linear import Matrix, matrix_bytes, normal, recipe
from model import memory_guard, random_cache, rope_tables
from moe import MoeLayer, moe_bytes, routing_table
from packing import Batch
from passes import measure_pass
from prefill import DECODE, PrefillAttention
from timing import GraphTarget, rotation
from transfers import copy_target, disk_target, host_target

NUCLEUS = 0.9
"""Probability that top-p sampling keeps."""
ID_SETS = 64
"""Most sets of token ids that an embedding goes through."""


@dataclass
class Context:
    """What operators share: the loaded Decoder or None (its KV memory is borrowed), the folder for disk points or None, attention kernels by shape."""

    device: Any = None
    decoder: Any = None
    scratch: str | None = None
    seed: int = 0

    def __post_init__(self):
        self.device = self.decoder.device if self.decoder is not None else pick(self.device)
        self.attentions = {}

    def generator(self):
        """A new random generator with the context's seed."""
        return torch.Generator(self.device).manual_seed(self.seed)

    def attention(self, point):
        """PrefillAttention of a point's heads."""
        dtype = FP8 if point['kv'] == 'fp8' else torch.bfloat16
        key = (point['heads'], point['kv_heads'], point['head_dim'], dtype)
        loaded = self.decoder.prefill if self.decoder is not None else None
        if loaded is not None and key == (loaded.heads, loaded.kv_heads, loaded.dim, loaded.cache_dtype):
            return loaded
        if key not in self.attentions:
            self.attentions[key] = PrefillAttention(*key, self.device)
        return self.attentions[key]

    def caches(self, count, pages, point):
        """`count` caches [2, pages, 16, kv_heads, head_dim]: the decoder's memory seen that way if its type is the same and it is large enough, else new."""
        dtype = FP8 if point['kv'] == 'fp8' else torch.bfloat16
        shape = (count, 2, pages, PAGE, point['kv_heads'], point['head_dim'])
        size = int(numpy.prod(shape, dtype=numpy.int64))
        if self.decoder is not None and self.decoder.caches.dtype == dtype and size <= self.decoder.caches.numel():
            return self.decoder.caches.view(-1)[:size].view(shape)
        return random_cache(shape, point['kv'], self.generator(), self.device)


def _random(shape, context):
    return normal(shape, 1.0, context.generator(), context.device)


def _matrices(n, k, mode, context):
    generator = context.generator()
    return [Matrix(n, k, mode, generator, context.device) for _ in range(rotation(matrix_bytes(n, k, mode), context.device))]


def _gemm(point, context):
    x = _random((point['m'], point['k']), context)
    matrices = _matrices(point['n'], point['k'], point['dtype'], context)
    return GraphTarget([lambda matrix=matrix: matrix(x) for matrix in matrices], matrices[0].description(), context.device)


def _paged(seqs, point, context):
    """(batch, caches): sequences over scattered pages, and as many caches as the rotation asks for."""
    pages = sum(-(-(new + past) // PAGE) for new, past in seqs)
    order = numpy.random.default_rng(context.seed).permutation(pages).astype(numpy.int32)
    ends = numpy.cumsum([-(-(new + past) // PAGE) for new, past in seqs])
    batch = Batch(seqs, numpy.split(order, ends[:-1]), None, numpy.zeros(sum(new for new, _ in seqs)), None).upload(context.device)
    page_bytes = 2 * PAGE * point['kv_heads'] * point['head_dim'] * (1 if point['kv'] == 'fp8' else 2)
    caches = context.caches(rotation(pages * page_bytes, context.device), pages, point)
    return batch, caches


def _attention(point, context):
    """Prompts and decodes of one layer; keys and values are in the pages already."""
    seqs = [tuple(s) for s in point['seqs']]
    heads, kv_heads, dim = point['heads'], point['kv_heads'], point['head_dim']
    if heads % kv_heads:
        raise Unsupported('unsupported_kind', f'{heads} query heads do not divide over {kv_heads} key heads')
    prefill = context.attention(point)
    batch, caches = _paged(seqs, point, context)
    qkv = _random((batch.tokens, (heads + 2 * kv_heads) * dim), context)
    limit = context.decoder.limits['max_context'] if context.decoder is not None else 0
    splits = split_count(max(1, batch.decodes), kv_heads, max(limit, batch.context), sm_count(context.device))
    name, cut = prefill.kernel(batch), batch.prompt_tokens

    def call(cache):
        out = empty((batch.tokens, heads * dim), qkv.dtype, qkv.device)
        if batch.prompts:
            prefill(batch, qkv, cache, out)
        if batch.decodes:
            decode(qkv[cut:], cache, batch.decode_tables, batch.lengths, splits, out[cut:], heads, kv_heads, dim)
        return out

    kernel = ' + '.join(filter(None, [name, DECODE if batch.decodes else None]))
    return GraphTarget([lambda cache=cache: call(cache) for cache in caches], kernel, context.device)


def _moe(point, context):
    hidden, ffn, experts, top_k = point['hidden'], point['ffn'], point['experts'], point['top_k']
    table, ratio = routing_table(point['routing'], point['tokens'], experts, top_k, context.seed)
    x, generator, random = _random((point['tokens'], hidden), context), context.generator(), numpy.random.default_rng(context.seed)
    layers, ids = [], []
    for _ in range(rotation(moe_bytes(hidden, ffn, experts, 0, point['dtype']), context.device)):
        layers.append(MoeLayer(hidden, ffn, experts, top_k, 0, point['dtype'], generator, context.device))
        ids.append(torch.from_numpy(random.permutation(experts).astype(numpy.int32)[table]).to(context.device))
    kernel = f'{layers[0].gate_up.description()}, largest over mean load {ratio:.2f}'
    return GraphTarget([lambda layer=layer, chosen=chosen: layer(x, chosen) for layer, chosen in zip(layers, ids)], kernel, context.device)


def _norm(point, context):
    x, residual = _random((point['tokens'], point['hidden']), context), _random((point['tokens'], point['hidden']), context)
    gain = _random((point['hidden'],), context)
    return GraphTarget([lambda: norm(x, residual, gain)], 'worker Triton RMS norm with residual', context.device)


def _act(point, context):
    x = _random((point['tokens'], 2 * point['ffn']), context)
    return GraphTarget([lambda: act(x)], 'worker Triton SiLU product', context.device)


def _rope_kv(point, context):
    heads, kv_heads, dim = point['heads'], point['kv_heads'], point['head_dim']
    batch, caches = _paged([(point['tokens'], 0)], point, context)
    qkv = _random((point['tokens'], (heads + 2 * kv_heads) * dim), context)
    cosine, sine = rope_tables(dim, 10000.0, point['tokens'], context.device)
    gain = _random((dim,), context).add_(1.0) if point['qk_norm'] else None
    calls = [lambda cache=cache: rope_kv(qkv, gain, gain, cosine, sine, batch.positions, batch.slots, cache, heads, kv_heads, dim) for cache in caches]
    return GraphTarget(calls, 'worker Triton rope, head norm and KV write' if point['qk_norm'] else 'worker Triton rope and KV write', context.device)


def _embed(point, context):
    tokens, hidden, vocab = point['tokens'], point['hidden'], point['vocab']
    generator = context.generator()
    tables = [normal((vocab, hidden), 1.0, generator, context.device) for _ in range(rotation(2 * vocab * hidden, context.device))]
    sets = max(len(tables), min(ID_SETS, rotation(2 * tokens * hidden, context.device)))
    ids = torch.from_numpy(numpy.random.default_rng(context.seed).integers(0, vocab, (sets, tokens)).astype(numpy.int32)).to(context.device)
    calls = [lambda i=i: functional.embedding(ids[i], tables[i % len(tables)]) for i in range(sets)]
    return GraphTarget(calls, 'torch embedding', context.device)


def _logits(point, context):
    rows, hidden = point['rows'], point['hidden']
    x, residual, gain = _random((rows, hidden), context), _random((rows, hidden), context), _random((hidden,), context)
    matrices = _matrices(point['vocab'], hidden, 'bf16', context)
    return GraphTarget([lambda matrix=matrix: matrix(norm(x, residual, gain)) for matrix in matrices], 'worker Triton norm + torch linear bf16', context.device)


def top_p(logits, probability=NUCLEUS):
    """Token ids, int64 [rows], drawn from the fewest most likely tokens that together reach `probability`; logits [rows, vocab]."""
    shares, order = torch.softmax(logits.float(), -1).sort(-1, descending=True)
    kept = torch.where(shares.cumsum(-1) - shares < probability, shares, 0.0)
    # The largest of p / Exp(1) falls on each token with probability p, without leaving the GPU.
    return order.gather(-1, (kept / torch.empty_like(kept).exponential_()).argmax(-1, keepdim=True)).squeeze(-1)


def _sample(point, context):
    logits = _random((point['rows'], point['vocab']), context)
    if point['method'] == 'argmax':
        return GraphTarget([lambda: logits.argmax(-1)], 'torch argmax', context.device)
    return GraphTarget([lambda: top_p(logits)], f'torch sort, top-p {NUCLEUS}', context.device)


def _quant(point, context):
    if point['dtype'] == 'bf16':
        raise Unsupported('unsupported_kind', 'bf16 is not quantised')
    pad = recipe(point['dtype'], context.device).pad
    x = _random((point['tokens'], point['width']), context)
    return GraphTarget([lambda: quantise(x, point['dtype'], pad)], f"worker Triton quantisation {point['dtype']}", context.device)


TARGETS = {
    'gemm': _gemm, 'attn_ctx': _attention, 'attn_gen': _attention, 'moe': _moe, 'norm': _norm, 'act': _act, 'rope_kv': _rope_kv, 'embed': _embed,
    'logits': _logits, 'sample': _sample, 'quant': _quant, 'copy': copy_target, 'disk': disk_target, 'host': host_target,
}


def measure_target(point, context):
    """Target of a point of any kind but `pass`: sample() -> (ms per call, None, None), kernel, flags, close(). Raises Unsupported, OutOfMemory."""
    if point['kind'] not in TARGETS:
        raise Unsupported('unsupported_kind', f"no operator is called {point['kind']}")
    with memory_guard():
        return TARGETS[point['kind']](point, context)


def target(point, context, cap_s=5.0):
    """Target of any point; a pass needs the context's decoder."""
    return measure_pass(context.decoder, point, cap_s) if point['kind'] == 'pass' else measure_target(point, context)
