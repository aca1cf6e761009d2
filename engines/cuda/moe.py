"""Routed experts: routing tables, grouped products, and the layer that joins them."""

import numpy
import torch
import torch.nn.functional as functional
import triton
import triton.language as tl

from kernels import BLOCK_SCALE, NO_SCALE, ROW_SCALE, SCALES, TENSOR_SCALE, act, dot_type, empty, power_of_two, quantise
from linear import Matrix, dequantise_weight, matrix_bytes, normal, quantise_weight

PROBE_LIMIT = 1e-2
NO_SCALE_C = tl.constexpr(NO_SCALE)
TENSOR_SCALE_C = tl.constexpr(TENSOR_SCALE)
ROW_SCALE_C = tl.constexpr(ROW_SCALE)
BLOCK_SCALE_C = tl.constexpr(BLOCK_SCALE)


def routing_table(routing, tokens, experts, top_k, seed):
    """(experts of each token, int32 [tokens, top_k], all different in a row; largest load over mean load).

    `balanced`: dealt in turn. `zipf A`: Gumbel top-k over -A ln(rank). Expert numbers are ranks: each layer permutes them."""
    if routing == 'balanced':
        table = (numpy.arange(tokens)[:, None] * top_k + numpy.arange(top_k)) % experts
    else:
        exponent = float(routing.split()[1])
        noise = numpy.random.default_rng(seed).gumbel(size=(tokens, experts))
        scores = noise - exponent * numpy.log(numpy.arange(1, experts + 1))
        table = numpy.argpartition(-scores, top_k - 1, axis=1)[:, :top_k] if top_k < experts else numpy.tile(numpy.arange(experts), (tokens, 1))
    loads = numpy.bincount(table.ravel(), minlength=experts)
    return table.astype(numpy.int32), float(loads.max() / loads.mean())


@triton.jit(do_not_specialize=['scale_rows'])
def _grouped(a, b, out, ends, a_scale, b_scale, n, k, experts, scale_rows,
             EXPERT_BLOCK: tl.constexpr, SCALE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, DOT: tl.constexpr):
    tile = tl.program_id(0)
    index = tl.arange(0, EXPERT_BLOCK)
    end = tl.load(ends + index, mask=index < experts, other=0)
    begin = tl.load(ends + index - 1, mask=(index > 0) & (index < experts), other=0)
    tiles = tl.where(index < experts, (end - begin + BM - 1) // BM, 0)
    reached = tl.cumsum(tiles, 0)
    if tile < tl.sum(tiles, 0):
        expert = tl.sum((reached <= tile).to(tl.int32), 0)
        mine = index == expert
        first = tl.sum(tl.where(mine, reached - tiles, 0), 0)
        row = tl.sum(tl.where(mine, begin, 0), 0) + (tile - first) * BM + tl.arange(0, BM)
        row_ok = row < tl.sum(tl.where(mine, end, 0), 0)
        column = tl.program_id(1) * BN + tl.arange(0, BN)
        column_ok = column < n
        row64 = row.to(tl.int64)
        weight = b + expert.to(tl.int64) * n * k + column.to(tl.int64)[:, None] * k
        total = tl.zeros([BM, BN], tl.float32)
        for start in range(0, k, BK):
            depth = start + tl.arange(0, BK)
            x = tl.load(a + row64[:, None] * k + depth[None, :], mask=row_ok[:, None] & (depth < k)[None, :], other=0.0)
            w = tl.load(weight + depth[None, :], mask=column_ok[:, None] & (depth < k)[None, :], other=0.0)
            if SCALE == NO_SCALE_C:
                total += tl.dot(x.to(DOT), w.to(DOT).T)
            elif SCALE == BLOCK_SCALE_C:
                xs = tl.load(a_scale + (start // 128) * scale_rows.to(tl.int64) + row64, mask=row_ok, other=0.0)
                ws = tl.load(b_scale + (expert * (n // 128) + column // 128) * (k // 128) + start // 128, mask=column_ok, other=0.0)
                total += tl.dot(x, w.T) * xs[:, None] * ws[None, :]
            else:
                total += tl.dot(x, w.T)
        if SCALE == TENSOR_SCALE_C:
            total *= tl.load(a_scale) * tl.load(b_scale + expert)
        if SCALE == ROW_SCALE_C:
            total *= tl.load(a_scale + row64, mask=row_ok, other=0.0)[:, None] * tl.load(b_scale + expert * n + column, mask=column_ok, other=0.0)[None, :]
        tl.store(out + row64[:, None] * n + column[None, :], total.to(tl.bfloat16), mask=row_ok[:, None] & column_ok[None, :])


def triton_grouped(x, x_scale, weight, weight_scale, ends, mode):
    """bf16 [rows, n]: each row of x [rows, k], sorted by expert, times its expert's weight [experts, n, k]; ends int32 [experts] = one past each expert's rows."""
    rows, k = x.shape
    experts, n, _ = weight.shape
    out = empty((rows, n), torch.bfloat16, x.device)
    per_expert = rows / experts
    bm = 16 if per_expert <= 16 else 64 if per_expert <= 128 else 128
    grid = (triton.cdiv(rows, bm) + min(experts, rows), triton.cdiv(n, 128))
    _grouped[grid](x, weight, out, ends, x_scale, weight_scale, n, k, experts, rows, EXPERT_BLOCK=power_of_two(experts), SCALE=SCALES[mode],
                   BM=bm, BN=128, BK=128 if mode == 'fp8_block' else 64, DOT=dot_type(), num_warps=8 if bm == 128 else 4, num_stages=3)
    return out


@triton.jit
def _combine(y, weights, inverse, shared, out, width, TOP_K: tl.constexpr, SHARED: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < width
    total = tl.zeros([BLOCK], tl.float32)
    if SHARED:
        total += tl.load(shared + token * width + column, mask=mask, other=0.0).to(tl.float32)
    for j in range(TOP_K):
        row = tl.load(inverse + token * TOP_K + j).to(tl.int64)
        total += tl.load(weights + token * TOP_K + j) * tl.load(y + row * width + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + token * width + column, total.to(tl.bfloat16), mask=mask)


def combine(y, weights, inverse, shared):
    """[tokens, width] = sum over top_k of weights [tokens, top_k] times rows `inverse` of y, plus shared if given."""
    tokens, width = weights.shape[0], y.shape[1]
    out = empty((tokens, width), y.dtype, y.device)
    block = min(1024, power_of_two(width))
    _combine[(tokens, triton.cdiv(width, block))](y, weights, inverse, shared, out, width, TOP_K=weights.shape[1], SHARED=shared is not None, BLOCK=block, num_warps=4)
    return out


_torch_grouped = {}


def torch_grouped(device):
    """(function of x, weight, ends, or None; why not): torch's own grouped product of bf16, if it is right on this device, an empty group included."""
    key = str(device)
    if key not in _torch_grouped:
        run = getattr(functional, 'grouped_mm', None) or getattr(torch, '_grouped_mm', None)
        try:
            if run is None:
                raise RuntimeError('this torch has no grouped_mm')
            generator = torch.Generator(device).manual_seed(2)
            x, weight = normal((48, 128), 1.0, generator, device), normal((3, 64, 128), 128**-0.5, generator, device)
            got = run(x, weight.transpose(1, 2), offs=torch.tensor([20, 20, 48], dtype=torch.int32, device=device))
            wanted = torch.cat([x[:20].float() @ weight[0].float().t(), x[20:].float() @ weight[2].float().t()])
            error = float((got.float() - wanted).norm() / wanted.norm())
            if not error <= PROBE_LIMIT:
                raise RuntimeError(f'relative error {error:.3g}')
            _torch_grouped[key] = (lambda a, w, e: run(a, w.transpose(1, 2), offs=e), None)
        except Exception as failure:  # each torch and driver refuses in its own way
            _torch_grouped[key] = (None, str(failure).splitlines()[0][:200] if str(failure) else type(failure).__name__)
    return _torch_grouped[key]


class Experts:
    """Random weights [experts, n, k], N(0, 1/k). Called with rows sorted by expert and their ends it returns bf16 [rows, n]."""

    def __init__(self, experts, n, k, mode, generator, device):
        self.mode = mode
        self.scale = None
        if mode == 'bf16':
            self.weight = normal((experts, n, k), k**-0.5, generator, device)
            self.run, self.reason = torch_grouped(device)
            return
        pairs = [quantise_weight(normal((n, k), k**-0.5, generator, device), mode) for _ in range(experts)]
        self.weight = torch.stack([q.view(torch.uint8) for q, _ in pairs]).view(pairs[0][0].dtype)
        self.scale = torch.stack([(s[:, : k // 128] if mode == 'fp8_block' else s) for _, s in pairs]).contiguous()

    def __call__(self, x, ends):
        if self.mode == 'bf16':
            return self.run(x, self.weight, ends) if self.run else triton_grouped(x, None, self.weight, None, ends, 'bf16')
        q, scale = quantise(x, self.mode)
        return triton_grouped(q, scale, self.weight, self.scale, ends, self.mode)

    def plain(self, expert):
        """float32 [n, k] of one expert."""
        return dequantise_weight(self.weight[expert], None if self.scale is None else self.scale[expert], self.mode)

    def description(self):
        """Which grouped product runs, and why not torch's."""
        if self.mode != 'bf16':
            return f'worker Triton grouped product {self.mode}'
        return 'torch grouped_mm bf16' if self.run else f'worker Triton grouped product bf16 (torch grouped_mm: {self.reason})'

    @property
    def nbytes(self):
        """Bytes of weights and scales."""
        return self.weight.nbytes + (0 if self.scale is None else self.scale.nbytes)


class MoeLayer:
    """Router, top-k, permutation, grouped SwiGLU, weighted sum, and the shared expert. The router's choice is computed but `ids` is followed."""

    def __init__(self, hidden, ffn, experts, top_k, shared_ffn, mode, generator, device):
        self.top_k = top_k
        self.numbers = torch.arange(experts, dtype=torch.int32, device=device)
        self.router = Matrix(experts, hidden, 'bf16', generator, device)
        self.gate_up = Experts(experts, 2 * ffn, hidden, mode, generator, device)
        self.down = Experts(experts, hidden, ffn, mode, generator, device)
        self.shared = (Matrix(2 * shared_ffn, hidden, mode, generator, device), Matrix(hidden, shared_ffn, mode, generator, device)) if shared_ffn else None

    def __call__(self, x, ids):
        """bf16 [tokens, hidden] of x [tokens, hidden] and ids int32 [tokens, top_k]."""
        values, _ = torch.topk(self.router(x).float(), self.top_k, dim=1)
        weights = torch.softmax(values, 1)
        chosen, order = torch.sort(ids.reshape(-1), stable=True)
        ends = torch.searchsorted(chosen, self.numbers, right=True, out_int32=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(order.shape[0], device=x.device))
        inner = self.gate_up(x.index_select(0, order // self.top_k), ends)
        shared = self.shared[1](act(self.shared[0](x))) if self.shared else None
        return combine(self.down(act(inner), ends), weights, inverse, shared)

    @property
    def nbytes(self):
        """Bytes of all weights."""
        return self.router.nbytes + self.gate_up.nbytes + self.down.nbytes + sum(m.nbytes for m in self.shared or ())


def moe_bytes(hidden, ffn, experts, shared_ffn, mode):
    """Bytes that a MoeLayer takes."""
    routed = experts * (matrix_bytes(2 * ffn, hidden, mode) + matrix_bytes(hidden, ffn, mode))
    shared = matrix_bytes(2 * shared_ffn, hidden, mode) + matrix_bytes(hidden, shared_ffn, mode) if shared_ffn else 0
    return matrix_bytes(experts, hidden, 'bf16') + routed + shared
