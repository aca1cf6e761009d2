"""Which attention serves prompts: candidates are tried for right results and the fastest is kept, per class of shapes."""

import inspect
import time

import numpy
import torch
import torch.nn.functional as functional

from attention import PAGE, gather, prefill
from device import Unsupported
from kernels import FP8, empty
from packing import Batch

LIMIT = 1e-2
OWN = 'worker Triton paged prefill'
DECODE = 'worker Triton paged split-KV decode'
CLASSES = tuple(f'{kind}_{size}' for kind in ('equal', 'ragged', 'past') for size in ('short', 'long'))
SMALL = {'equal': [(37, 0), (37, 0)], 'ragged': [(40, 0), (5, 0), (18, 0)], 'past': [(33, 50), (7, 0), (20, 16)]}
TIMED = {
    'equal_short': [(128, 0)] * 2, 'equal_long': [(2048, 0)], 'ragged_short': [(256, 0), (128, 0), (40, 0)], 'ragged_long': [(1536, 0), (700, 0), (300, 0)],
    'past_short': [(256, 4096), (64, 1024)], 'past_long': [(1024, 4096), (512, 1000)],
}
REPEATS = 5


def plain_attention(q, k, v, past):
    """float32 [new, heads, dim]: causal attention of q [new, heads, dim] over k, v [past + new, kv_heads, dim], written out."""
    heads, kv_heads = q.shape[1], k.shape[1]
    k, v = (t.float().repeat_interleave(heads // kv_heads, 1) for t in (k, v))
    scores = torch.einsum('qhd,khd->hqk', q.float(), k) * q.shape[2] ** -0.5
    position = torch.arange(q.shape[0], device=q.device)[:, None] + past
    scores.masked_fill_(torch.arange(k.shape[0], device=q.device)[None, :] > position, float('-inf'))
    return torch.einsum('hqk,khd->qhd', torch.softmax(scores, -1), v)


def relative_error(got, wanted):
    """Frobenius norm of the difference over that of `wanted`; infinite if anything is not finite."""
    got, wanted = got.float(), wanted.float()
    return float((got - wanted).norm() / wanted.norm()) if bool(torch.isfinite(got).all()) else float('inf')


def _sdpa(backend):
    from torch.nn.attention import sdpa_kernel

    def run(q, k, v, batch):
        """Equal lengths without past: [sequences, heads, length, dim]."""
        shape = (batch.prompts, batch.longest)
        q, k, v = (t.unflatten(0, shape).transpose(1, 2) for t in (q, k, v))
        with sdpa_kernel(backend):
            out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        return out.transpose(1, 2).reshape(batch.prompt_tokens, -1)

    return run


def _varlen():
    """torch's varlen_attn; raises if its arguments are not those known here."""
    from torch.nn.attention.varlen import varlen_attn

    known = inspect.signature(varlen_attn).parameters
    if 'window_size' in known:
        causal = {'window_size': (-1, 0)}
    elif 'is_causal' in known:
        causal = {'is_causal': True}
    else:
        raise RuntimeError(f"varlen_attn has neither window_size nor is_causal: {', '.join(known)}")
    grouped = {'enable_gqa': True} if 'enable_gqa' in known else {}

    def run(q, k, v, batch):
        extra = grouped if q.shape[1] != k.shape[1] else {}
        return varlen_attn(q, k, v, batch.starts, batch.key_starts, batch.longest, batch.longest_key, **causal, **extra).reshape(batch.prompt_tokens, -1)

    return run


def _candidates():
    """(name, kinds it serves, maker of the function of q, k, v, batch); the worker's own kernel reads the pages itself.

    cuDNN is left out: it plans anew for every length, which a serving run meets all the time and repeats of one point never."""
    from torch.nn.attention import SDPBackend

    return (
        (OWN, ('equal', 'ragged', 'past'), lambda: None),
        ('torch SDPA flash', ('equal',), lambda: _sdpa(SDPBackend.FLASH_ATTENTION)),
        ('torch varlen_attn', ('equal', 'ragged', 'past'), _varlen),
    )


def _why(failure):
    return f"{type(failure).__name__}: {str(failure).splitlines()[0][:160] if str(failure) else ''}"


class PrefillAttention:
    """Attention of prompts for one shape of heads and one cache type. `choices`: class -> kernel, or None if none is right;
    `errors`: (kernel, kind) -> relative error; `rejected`: why the others are not used."""

    def __init__(self, heads, kv_heads, dim, cache_dtype, device, timed=True):
        self.heads, self.kv_heads, self.dim, self.device = heads, kv_heads, dim, device
        self.cache_dtype = cache_dtype
        self.runs, self.errors, self.rejected = {}, {}, []
        generator = torch.Generator(device).manual_seed(0)
        for name, kinds, make in _candidates():
            try:
                self.runs[name] = make()
            except Exception as failure:  # each torch refuses in its own way
                self.rejected.append(f'{name}: {_why(failure)}')
                continue
            for kind in kinds:
                self._try(name, kind, generator)
        self.choices = {label: next((name for name, kind in self.errors if kind == label.split('_')[0]), None) for label in CLASSES}
        if timed and device.type == 'cuda':
            for label in CLASSES:
                self.choices[label] = self._fastest([name for name, kind in self.errors if kind == label.split('_')[0]], label, generator)

    def _problem(self, seqs, generator):
        """A batch, its random qkv, and a cache that holds its keys and values."""
        pages = [-(-(new + past) // PAGE) for new, past in seqs]
        tables = numpy.split(numpy.random.default_rng(1).permutation(sum(pages)), numpy.cumsum(pages)[:-1])
        batch = Batch(seqs, tables, None, numpy.zeros(sum(new for new, _ in seqs)), None).upload(self.device)
        width = (self.heads + 2 * self.kv_heads) * self.dim
        qkv = torch.empty((batch.tokens, width), dtype=torch.bfloat16, device=self.device).normal_(generator=generator)
        cache = torch.empty((2, sum(pages), PAGE, self.kv_heads, self.dim), dtype=torch.bfloat16, device=self.device).normal_(generator=generator)
        if self.cache_dtype == FP8:
            cache = cache.to(FP8)
        # The cache is authoritative in FP8; in bf16 the fresh keys and values are put there too.
        _, k, v = self.split(qkv)
        for part, fresh in ((0, k), (1, v)):
            # By bytes: torch does not index FP8 everywhere.
            cache[part].view(-1, self.kv_heads, self.dim).view(torch.uint8)[batch.slots.long()] = fresh.to(cache.dtype).view(torch.uint8)
        return batch, qkv, cache

    def split(self, qkv):
        """Views (q, k, v), [tokens, heads, dim] each, of qkv."""
        return qkv.view(qkv.shape[0], -1, self.dim).split((self.heads, self.kv_heads, self.kv_heads), 1)

    def _wanted(self, batch, qkv, cache):
        q, _, _ = self.split(qkv)
        k, v = gather(cache, batch.prompt_tables, batch.key_starts, batch.keys, batch.longest_key, self.kv_heads, self.dim)
        outs, first, first_key = [], 0, 0
        for new, past in batch.seqs:
            outs.append(plain_attention(q[first : first + new], k[first_key : first_key + new + past], v[first_key : first_key + new + past], past))
            first, first_key = first + new, first_key + new + past
        return torch.cat(outs).flatten(1)

    def _try(self, name, kind, generator):
        try:
            batch, qkv, cache = self._problem(SMALL[kind], generator)
            error = relative_error(self._run(name, batch, qkv, cache), self._wanted(batch, qkv, cache))
        except Exception as failure:  # each torch, Triton and driver refuses in its own way
            self.rejected.append(f'{name} ({kind}): {_why(failure)}')
            return
        if error <= LIMIT:
            self.errors[name, kind] = error
        else:
            self.rejected.append(f'{name} ({kind}): relative error {error:.3g}')

    def _fastest(self, names, label, generator):
        batch, qkv, cache = self._problem(TIMED[label], generator)
        times = {}
        for name in names:
            try:
                times[name] = self._time(name, batch, qkv, cache)
            except Exception as failure:
                self.rejected.append(f'{name} ({label}): {_why(failure)}')
        return min(times, key=times.get) if times else None

    def _time(self, name, batch, qkv, cache):
        """Shortest of a few runs, s, kernel compilation left out."""
        best = float('inf')
        for _ in range(REPEATS + 2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            self._run(name, batch, qkv, cache)
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    def _run(self, name, batch, qkv, cache, out=None):
        q_rows = qkv[: batch.prompt_tokens]
        if name == OWN:
            out = empty((batch.prompt_tokens, self.heads * self.dim), qkv.dtype, qkv.device) if out is None else out
            return prefill(qkv, cache, batch.prompt_tables, batch.starts, batch.pasts, batch.tile_sequences, batch.tile_starts, batch.tile_rows, out,
                           self.heads, self.kv_heads, self.dim)
        q, k, v = self.split(q_rows)
        if cache.dtype == FP8 or batch.shape_class.startswith('past'):
            k, v = gather(cache, batch.prompt_tables, batch.key_starts, batch.keys, batch.longest_key, self.kv_heads, self.dim)
        return self.runs[name](q, k, v, batch)

    def kernel(self, batch):
        """Name of the kernel that serves the prompts of a batch, None without prompts. Raises Unsupported if none is right."""
        if not batch.prompts:
            return None
        name = self.choices[batch.shape_class]
        if name is None:
            raise Unsupported('unsupported_kind', f"no attention kernel is right for prompts of class {batch.shape_class}: {'; '.join(self.rejected)}")
        return name

    def __call__(self, batch, qkv, cache, out):
        """Fills the prompts' rows of out [tokens, heads dim]."""
        rows = out[: batch.prompt_tokens]
        result = self._run(self.kernel(batch), batch, qkv, cache, rows)
        if result.data_ptr() != rows.data_ptr():
            rows.copy_(result)

    def names(self):
        """Kernels that are right for some kind of prompts."""
        return sorted({name for name, _ in self.errors})


def attention_names(device):
    """Attention kernels that are right on this device, tried at 8 query and 2 key heads of 128."""
    return [*PrefillAttention(8, 2, 128, torch.bfloat16, device, timed=False).names(), DECODE]
