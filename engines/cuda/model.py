"""The decoder that is measured: random weights, paged KV, one forward pass over a ragged batch, eager or as a CUDA graph. Source: spec calibration 4."""

import contextlib
import re
import time

import numpy
import torch
import torch.nn.functional as functional

import device as gpu
from attention import decode, split_count
from device import OutOfMemory, Unsupported
from graphs import DecodeGraph, DecodeInputs, PassGraph
from kernels import FP8, act, empty, norm, rope_kv
from linear import Matrix, normal
from moe import MoeLayer, routing_table
from packing import Batch, PageOrder
from prefill import DECODE, PrefillAttention
from shard import MARGIN_BYTES, Shard, fit, ring_start

CAPTURE_TOKENS = 2048
"""Passes with prompts are captured up to so many tokens."""
CPU_MEMORY_BYTES = 2 << 30
FILL_ELEMENTS = 1 << 28
"""Random numbers made at a time while the KV cache is filled."""


@contextlib.contextmanager
def memory_guard():
    """Turns torch's out-of-memory error into OutOfMemory, with cached blocks given back."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as failure:
        text = str(failure)
        size = re.search(r'allocate ([\d.]+) (KiB|MiB|GiB)', text)
        needed = None if size is None else int(float(size[1]) * 1024 ** {'KiB': 1, 'MiB': 2, 'GiB': 3}[size[2]])
        torch.cuda.empty_cache()
        raise OutOfMemory(text.splitlines()[0][:200], needed) from failure


class Layer:
    """Weights of one layer."""

    def __init__(self, shard, index, generator, device):
        def gain(width):
            return normal((width,), 0.1, generator, device).add_(1.0)

        def matrix(n, k):
            return Matrix(n, k, shard.weights, generator, device)

        self.attention_norm, self.mlp_norm = gain(shard.hidden), gain(shard.hidden)
        self.q_norm, self.k_norm = (gain(shard.dim), gain(shard.dim)) if shard.qk_norm else (None, None)
        self.qkv, self.proj = matrix(shard.qkv, shard.hidden), matrix(shard.hidden, shard.heads * shard.dim)
        self.moe = self.gate_up = self.down = None
        if index < shard.dense_first:
            self.gate_up, self.down = matrix(2 * shard.ffn, shard.hidden), matrix(shard.hidden, shard.ffn)
        else:
            self.moe = MoeLayer(shard.hidden, shard.expert_ffn, shard.experts, shard.top_k, shard.shared_ffn, shard.weights, generator, device)

    @property
    def nbytes(self):
        """Bytes of all weights."""
        gains = [g.nbytes for g in (self.attention_norm, self.mlp_norm, self.q_norm, self.k_norm) if g is not None]
        return sum(gains) + sum(m.nbytes for m in (self.qkv, self.proj, self.gate_up, self.down, self.moe) if m is not None)


def rope_tables(dim, theta, positions, device):
    """(cosine, sine), float32 [positions, dim / 2]."""
    frequency = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim)
    angle = torch.arange(positions, dtype=torch.float64, device=device)[:, None] * frequency[None, :]
    return angle.cos().float(), angle.sin().float()


def random_cache(shape, kv, generator, device):
    """KV cache of N(0, 1), filled in pieces: what is past was never computed."""
    cache = torch.empty(shape, dtype=FP8 if kv == 'fp8' else torch.bfloat16, device=device)
    flat = cache.view(-1)
    for start in range(0, flat.numel(), FILL_ELEMENTS):
        piece = flat[start : start + FILL_ELEMENTS]
        piece.copy_(normal(piece.shape, 1.0, generator, device))
    return cache


class Decoder:
    """A model of load_model's fields on one device. Raises OutOfMemory, Unsupported, MissingDevice.

    weight_bytes, kv_pages, distinct_layers, load_s, free_bytes as in model_ready; kernels: what serves which part."""

    def __init__(self, geometry, shard, dtype, limits, routing, seed, device=None):
        begin = time.monotonic()
        self.device = gpu.pick(device)
        self.shard = Shard.of(geometry, shard['tp'], dtype['weights'], dtype['kv'])
        self.limits, self.seed = limits, seed
        self.on_gpu = self.device.type == 'cuda'
        with memory_guard():
            self._build(routing)
        if self.on_gpu:
            torch.cuda.synchronize()
        self.load_s = time.monotonic() - begin

    def _build(self, routing):
        shard, device = self.shard, self.device
        cache_dtype = FP8 if shard.kv == 'fp8' else torch.bfloat16
        self.l2_bytes, self.sms = gpu.l2_bytes(device), gpu.sm_count(device)
        self.prefill = PrefillAttention(shard.heads, shard.kv_heads, shard.dim, cache_dtype, device)
        fitted = fit(shard, self.limits, self._memory(), self.l2_bytes)
        self.distinct_layers, self.kv_pages = fitted.distinct, fitted.pages
        generator = torch.Generator(device).manual_seed(self.seed)
        self.embedding = normal((shard.vocab, shard.hidden), 1.0, generator, device)
        self.layers = [Layer(shard, index, generator, device) for index in range(fitted.distinct)]
        self.final_norm = normal((shard.hidden,), 0.1, generator, device).add_(1.0)
        # Of a lookup one row goes in, so its fan-in is 1; a tied model has the one matrix for both.
        self.vocabulary = self.embedding if shard.tied else normal((shard.vocab, shard.hidden), shard.hidden**-0.5, generator, device)
        self.cosine, self.sine = rope_tables(shard.dim, shard.rope_theta, self.limits['max_context'] + self.limits['max_tokens'], device)
        self.caches = random_cache((fitted.distinct, 2, fitted.pages, 16, shard.kv_heads, shard.dim), shard.kv, generator, device)
        self.order = PageOrder(fitted.pages, self.seed)
        self.random = numpy.random.default_rng(self.seed)
        self._build_routes(routing)
        self.ring_checked = {}
        self.graphs, self.pool = {}, torch.cuda.graph_pool_handle() if self.on_gpu else None
        ends = [self.embedding, self.final_norm] + ([] if shard.tied else [self.vocabulary])
        self.weight_bytes = sum(t.nbytes for t in ends) + sum(layer.nbytes for layer in self.layers)

    def _memory(self):
        """Bytes that weights, KV and activations may take: 6 % of the GPU stays free."""
        if not self.on_gpu:
            return CPU_MEMORY_BYTES
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self.device)
        return int(free - gpu.FREE_SHARE * total) - MARGIN_BYTES

    def _build_routes(self, routing):
        """Experts of each row of a pass, one table per distinct routed layer."""
        self.routes, self.load_ratio = None, None
        count = self.distinct_layers - min(self.shard.dense_first, self.distinct_layers)
        if count > 0:
            rows = self.limits['max_tokens'] + self.limits['max_batch']
            table, self.load_ratio = routing_table(routing, rows, self.shard.experts, self.shard.top_k, self.seed)
            permutations = numpy.stack([self.random.permutation(self.shard.experts) for _ in range(count)]).astype(numpy.int32)
            self.routes = torch.from_numpy(permutations[:, table]).to(self.device)
        self.routing = routing

    @property
    def free_bytes(self):
        """Free memory of the GPU; 0 on a CPU."""
        return torch.cuda.mem_get_info(self.device)[0] if self.on_gpu else 0

    @property
    def kernels(self):
        """Part -> what computes it."""
        first, last = self.layers[0], self.layers[-1]
        found = {'matmul': first.qkv.description(), 'norm, rope and KV write, activation': 'worker Triton', 'decode attention': DECODE,
                 **{f'prefill attention {label}': name or 'none is right' for label, name in self.prefill.choices.items()},
                 'logits': 'torch linear bf16', 'sample': 'torch argmax', 'graphs': 'CUDA graphs' if self.on_gpu else 'none: a CPU has no CUDA graphs'}
        if last.moe is not None:
            found |= {'experts': last.moe.gate_up.description(), 'routing': f'{self.routing}, largest over mean load {self.load_ratio:.2f}'}
        if self.prefill.rejected:
            found['not used'] = '; '.join(self.prefill.rejected)
        return found

    def prepare(self, seqs, tables=None, rows=None, tokens=None, pad_to=None):
        """Batch of sequences [(new, past), …] on the device. tables: page ids per sequence (None: permuted pages); rows: sequences that yield a token
        (None: all); tokens: ids in the order of seqs (None: random); pad_to: batch of a graph of decodes. Raises OutOfMemory if pages are short,
        Unsupported beyond the limits that the model was loaded for."""
        new, context = sum(new for new, _ in seqs), [new + past for new, past in seqs]
        if max(context) > self.cosine.shape[0] or new > self.limits['max_tokens'] + self.limits['max_batch']:
            raise Unsupported('unsupported_kind', f'{new} tokens, longest context {max(context)}: the model was loaded for {self.limits}')
        if tables is None:
            tables = self.order.tables(context)
        if tables is None:
            pages = sum(-(-c // 16) for c in context)
            raise OutOfMemory(f'{pages} KV pages are needed, {self.kv_pages} exist', pages * self.shard.page_bytes() * self.distinct_layers)
        ids = self.random.integers(0, self.shard.vocab, new) if tokens is None else numpy.asarray(tokens) % self.shard.vocab
        batch = Batch(seqs, tables, rows, ids, pad_to)
        if batch.highest_page >= self.kv_pages:
            raise OutOfMemory(f'page {batch.highest_page} is asked for, {self.kv_pages} exist')
        most_context = batch.context if pad_to is None else self.limits['max_context']
        batch.splits = split_count(max(1, batch.decodes), self.shard.kv_heads, most_context, self.sms)
        batch.kernel = ' + '.join(filter(None, [self.prefill.kernel(batch), DECODE if batch.decodes else None]))
        with memory_guard():
            return batch.upload(self.device)

    @property
    def layer_count_before_ring(self):
        """Dense first layers of a MoE model, each kept apart from the ring of the others."""
        return ring_start(self.shard)

    def layer_at(self, index, ring=None):
        """Which distinct layer serves layer `index`; `ring`: distinct layers to use instead of all."""
        first = self.layer_count_before_ring
        return index if index < first else first + (index - first) % ((ring or self.distinct_layers) - first)

    def hidden(self, batch, depth=None, ring=None):
        """(x, residual), bf16 [tokens, hidden] after `depth` layers (None: all): the model's state is their sum."""
        x, residual = functional.embedding(batch.ids, self.embedding), None
        for index in range(self.shard.layers if depth is None else depth):
            at = self.layer_at(index, ring)
            layer = self.layers[at]
            h = norm(x, residual, layer.attention_norm)
            residual = x if residual is None else residual
            x = layer.proj(self.attend(batch, layer.qkv(h), layer, self.caches[at]))
            h = norm(x, residual, layer.mlp_norm)
            x = layer.down(act(layer.gate_up(h))) if layer.moe is None else layer.moe(h, self._experts(batch, at))
        return x, residual

    def _experts(self, batch, at):
        table = self.routes[at - (self.distinct_layers - self.routes.shape[0])]
        return table[: batch.tokens] if batch.routes is None else table.index_select(0, batch.routes)

    def attend(self, batch, qkv, layer, cache):
        """bf16 [tokens, heads dim]: attention of a batch; its keys and values are in the cache afterwards."""
        shard = self.shard
        rope_kv(qkv, layer.q_norm, layer.k_norm, self.cosine, self.sine, batch.positions, batch.slots, cache, shard.heads, shard.kv_heads, shard.dim)
        out = empty((batch.tokens, shard.heads * shard.dim), qkv.dtype, qkv.device)
        if batch.prompts:
            self.prefill(batch, qkv, cache, out)
        if batch.decodes:
            cut = batch.prompt_tokens
            decode(qkv[cut:], cache, batch.decode_tables, batch.lengths, batch.splits, out[cut:], shard.heads, shard.kv_heads, shard.dim)
        return out

    def logits(self, batch, depth=None, ring=None):
        """bf16 [rows, vocab] of the batch's rows."""
        x, residual = self.hidden(batch, depth, ring)
        if not batch.every_row:
            x, residual = (None if t is None else t.index_select(0, batch.rows) for t in (x, residual))
        return functional.linear(norm(x, residual, self.final_norm), self.vocabulary)

    @torch.inference_mode()
    def forward(self, batch, depth=None, ring=None):
        """Token ids of the batch's rows, int64 on the device: one eager pass."""
        with memory_guard():
            return self._tokens(batch, depth, ring)

    def _tokens(self, batch, depth=None, ring=None):
        if not batch.every_row and batch.rows.shape[0] == 0:
            self.hidden(batch, depth, ring)
            return torch.empty(0, dtype=torch.int64, device=self.device)
        return self.logits(batch, depth, ring).argmax(-1)

    @torch.inference_mode()
    def capture(self, pad_to, max_context=None, depth=None, ring=None):
        """DecodeGraph of `pad_to` decodes (contexts up to max_context, None: the limit), kept for the next time. Raises Unsupported."""
        self._need_graphs()
        max_context = max_context or self.limits['max_context']
        key = (pad_to, max_context, depth, ring)
        if key not in self.graphs:
            splits = split_count(pad_to, self.shard.kv_heads, max_context, self.sms)
            with memory_guard():
                inputs = DecodeInputs(pad_to, max_context, splits, self.device)
                self.graphs[key] = DecodeGraph(inputs, lambda batch: self._tokens(batch, depth, ring), self.pool)
        return self.graphs[key]

    @torch.inference_mode()
    def replay(self, batch, watch=None, depth=None, ring=None):
        """Token ids of the batch's rows through the graph of its pad_to, captured if need be. watch: started and stopped around the graph alone."""
        graph = self.capture(batch.pad_to, None, depth, ring)
        graph.inputs.fill(batch)
        if watch:
            watch.start()
        out = graph.replay()
        if watch:
            watch.stop()
        return out[: len(batch.seqs)] if batch.row_sequences == list(range(len(batch.seqs))) else out.index_select(0, batch.rows)

    @torch.inference_mode()
    def capture_pass(self, batch, depth=None, ring=None):
        """PassGraph of a batch of at most 2048 tokens, not kept. Raises Unsupported."""
        self._need_graphs()
        if batch.tokens > CAPTURE_TOKENS:
            raise Unsupported('unsupported_kind', f'a pass of {batch.tokens} tokens is not captured, {CAPTURE_TOKENS} is the most')
        with memory_guard():
            return PassGraph(batch, lambda b: self._tokens(b, depth, ring), self.pool)

    def _need_graphs(self):
        if not self.on_gpu:
            raise Unsupported('unsupported_kind', self.kernels['graphs'])

    @staticmethod
    def read_back(tokens):
        """Token ids on the host; waits for the GPU."""
        return tokens.tolist()

    def bytes_read(self, batch):
        """Bytes of weights and KV that a pass reads at least once, distinct ones; experts that no token chooses are left out."""
        touched = 1.0 if not self.shard.experts else min(1.0, batch.tokens * self.shard.top_k / self.shard.experts)
        weights = sum(layer.nbytes * (1.0 if layer.moe is None else touched) for layer in self.layers)
        pages = sum(-(-(new + past) // 16) for new, past in batch.seqs)
        return int(weights + self.vocabulary.nbytes + pages * self.shard.page_bytes() * self.distinct_layers)

    def close(self):
        """Gives the memory back; the decoder is of no use afterwards."""
        self.graphs, self.layers, self.caches, self.embedding, self.vocabulary, self.routes, self.pool = {}, [], None, None, None, None, None
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
