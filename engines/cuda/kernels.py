"""Triton kernels that work on rows: RMS norm, rotary embedding with KV write, gated activation, FP8 quantisation, and grouped products of experts.

All take contiguous bf16 tensors on one device and write into outputs that the caller made. On a CPU they run in Triton's interpreter, whose
bf16 products and FP8 rounding are wrong: there products run in float32 (`dot_type`) and values are rounded to the FP8 grid before the cast.
"""

import contextlib
import os

import torch
import triton
import triton.language as tl

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
EPSILON = 1e-6
"""Of every RMS norm."""
FP8_MAX = 448.0
"""Largest value of float8 e4m3."""
FP8 = torch.float8_e4m3fn

NO_SCALE, TENSOR_SCALE, ROW_SCALE, BLOCK_SCALE = 0, 1, 2, 3
SCALES = {'bf16': NO_SCALE, 'fp8_tensor': TENSOR_SCALE, 'fp8_row': ROW_SCALE, 'fp8_block': BLOCK_SCALE}


def dot_type():
    """Type in which bf16 tiles are multiplied."""
    return tl.float32 if INTERPRETED else tl.bfloat16


def power_of_two(n):
    """Smallest power of two >= n."""
    return 1 << max(0, n - 1).bit_length()


_fill = False


@contextlib.contextmanager
def nan_filled():
    """Within it every output is NaN before a kernel writes it, so that what a kernel leaves out is seen."""
    global _fill
    _fill = True
    try:
        yield
    finally:
        _fill = False


def empty(shape, dtype, device):
    """A tensor for a kernel to write."""
    out = torch.empty(shape, dtype=dtype, device=device)
    if _fill:
        out.view(torch.uint8).fill_(0x7F) if dtype == FP8 else out.fill_(float('nan'))
    return out


@triton.jit
def to_fp8(value, ROUND: tl.constexpr):
    value = tl.minimum(tl.maximum(value, -448.0), 448.0)
    if ROUND:
        exponent = tl.floor(tl.log2(tl.maximum(tl.abs(value), 0.015625)))
        step = tl.exp2(exponent - 3.0)
        value = tl.floor(value / step + 0.5) * step
    return value.to(tl.float8e4nv)


@triton.jit
def _norm(x, residual, weight, out, eps, width, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, BLOCK)
    mask = column < width
    value = tl.load(x + row + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        value += tl.load(residual + row + column, mask=mask, other=0.0).to(tl.float32)
        tl.store(residual + row + column, value.to(tl.bfloat16), mask=mask)
    scale = tl.rsqrt(tl.sum(value * value, 0) / width + eps)
    gain = tl.load(weight + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row + column, (value * scale * gain).to(tl.bfloat16), mask=mask)


def norm(x, residual, weight):
    """RMS norm of x [rows, width], or of x + residual, which then holds the sum. residual may be None."""
    rows, width = x.shape
    out = empty(x.shape, x.dtype, x.device)
    block = power_of_two(width)
    warps = 4 if block <= 2048 else 8 if block <= 8192 else 16
    _norm[(rows,)](x, x if residual is None else residual, weight, out, EPSILON, width, HAS_RESIDUAL=residual is not None, BLOCK=block, num_warps=warps)
    return out


@triton.jit
def _rope_kv(qkv, q_weight, k_weight, cosine, sine, positions, slots, keys, values, eps,
             HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, HALF: tl.constexpr, HEAD_BLOCK: tl.constexpr, KV_BLOCK: tl.constexpr,
             NORM: tl.constexpr, IS_FP8: tl.constexpr, ROUND: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    position = tl.load(positions + token).to(tl.int64)
    slot = tl.load(slots + token).to(tl.int64)
    half = tl.arange(0, HALF)
    in_half = half < DIM // 2
    head = tl.program_id(1) * HEAD_BLOCK + tl.arange(0, HEAD_BLOCK)
    mask = (head < HEADS + KV_HEADS)[:, None] & in_half[None, :]
    row = qkv + token * ((HEADS + 2 * KV_HEADS) * DIM)
    place = row + head[:, None] * DIM + half[None, :]
    low = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    high = tl.load(place + DIM // 2, mask=mask, other=0.0).to(tl.float32)
    is_key = head >= HEADS
    if NORM:
        scale = tl.rsqrt((tl.sum(low * low, 1) + tl.sum(high * high, 1)) / DIM + eps)
        q_low = tl.load(q_weight + half, mask=in_half, other=0.0).to(tl.float32)
        q_high = tl.load(q_weight + DIM // 2 + half, mask=in_half, other=0.0).to(tl.float32)
        k_low = tl.load(k_weight + half, mask=in_half, other=0.0).to(tl.float32)
        k_high = tl.load(k_weight + DIM // 2 + half, mask=in_half, other=0.0).to(tl.float32)
        low = low * scale[:, None] * tl.where(is_key[:, None], k_low[None, :], q_low[None, :])
        high = high * scale[:, None] * tl.where(is_key[:, None], k_high[None, :], q_high[None, :])
    c = tl.load(cosine + position * (DIM // 2) + half, mask=in_half, other=0.0)[None, :]
    s = tl.load(sine + position * (DIM // 2) + half, mask=in_half, other=0.0)[None, :]
    new_low = low * c - high * s
    new_high = high * c + low * s
    tl.store(place, new_low.to(tl.bfloat16), mask=mask)
    tl.store(place + DIM // 2, new_high.to(tl.bfloat16), mask=mask)
    # A slot of -1 marks a padding row: nothing of it may reach the cache.
    key_mask = mask & is_key[:, None] & (slot >= 0)
    key_place = keys + (slot * KV_HEADS + head - HEADS)[:, None] * DIM + half[None, :]
    if IS_FP8:
        tl.store(key_place, to_fp8(new_low.to(tl.bfloat16).to(tl.float32), ROUND), mask=key_mask)
        tl.store(key_place + DIM // 2, to_fp8(new_high.to(tl.bfloat16).to(tl.float32), ROUND), mask=key_mask)
    else:
        tl.store(key_place, new_low.to(tl.bfloat16), mask=key_mask)
        tl.store(key_place + DIM // 2, new_high.to(tl.bfloat16), mask=key_mask)
    if tl.program_id(1) == 0:
        kv = tl.arange(0, KV_BLOCK)
        value_mask = (kv < KV_HEADS)[:, None] & in_half[None, :] & (slot >= 0)
        source = row + (HEADS + KV_HEADS + kv)[:, None] * DIM + half[None, :]
        value_place = values + (slot * KV_HEADS + kv)[:, None] * DIM + half[None, :]
        v_low = tl.load(source, mask=value_mask, other=0.0)
        v_high = tl.load(source + DIM // 2, mask=value_mask, other=0.0)
        if IS_FP8:
            tl.store(value_place, to_fp8(v_low.to(tl.float32), ROUND), mask=value_mask)
            tl.store(value_place + DIM // 2, to_fp8(v_high.to(tl.float32), ROUND), mask=value_mask)
        else:
            tl.store(value_place, v_low, mask=value_mask)
            tl.store(value_place + DIM // 2, v_high, mask=value_mask)


def rope_kv(qkv, q_weight, k_weight, cosine, sine, positions, slots, cache, heads, kv_heads, dim):
    """Rotates queries and keys of qkv [tokens, (heads + 2 kv_heads) dim] in place (halves), after an RMS norm of each head if weights are given,
    and writes keys and values to `slots` of cache [2, pages, 16, kv_heads, dim] (bf16, or fp8 at scale 1); cosine, sine [positions, dim / 2]."""
    tokens = qkv.shape[0]
    head_block = min(16, power_of_two(heads + kv_heads))
    grid = (tokens, triton.cdiv(heads + kv_heads, head_block))
    _rope_kv[grid](qkv, q_weight, k_weight, cosine, sine, positions, slots, cache[0], cache[1], EPSILON,
                   HEADS=heads, KV_HEADS=kv_heads, DIM=dim, HALF=power_of_two(dim // 2), HEAD_BLOCK=head_block, KV_BLOCK=power_of_two(kv_heads),
                   NORM=q_weight is not None, IS_FP8=cache.dtype == FP8, ROUND=INTERPRETED, num_warps=4)


@triton.jit
def _act(gate_up, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < width
    gate = tl.load(gate_up + row * 2 * width + column, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, (gate / (1.0 + tl.exp(-gate)) * up).to(tl.bfloat16), mask=mask)


def act(gate_up):
    """[rows, width] = SiLU of the first half of gate_up [rows, 2 width] times its second half."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = empty((rows, width), gate_up.dtype, gate_up.device)
    block = min(1024, power_of_two(width))
    _act[(rows, triton.cdiv(width, block))](gate_up, out, width, BLOCK=block, num_warps=4)
    return out


@triton.jit
def _amax(x, partial, count, BLOCK: tl.constexpr):
    part = tl.program_id(0)
    high = tl.zeros([BLOCK], tl.float32)
    for start in range(part * BLOCK, count, tl.num_programs(0) * BLOCK):
        place = start + tl.arange(0, BLOCK)
        high = tl.maximum(high, tl.abs(tl.load(x + place, mask=place < count, other=0.0).to(tl.float32)))
    tl.store(partial + part, tl.max(high, 0))


@triton.jit(do_not_specialize=['parts'])
def _quant_tensor(x, partial, parts, q, scale, count, PARTS: tl.constexpr, BLOCK: tl.constexpr, ROUND: tl.constexpr):
    part = tl.arange(0, PARTS)
    amax = tl.max(tl.load(partial + part, mask=part < parts, other=0.0), 0)
    step = tl.maximum(amax, 1e-12) / 448.0
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float32)
    tl.store(q + place, to_fp8(value / step, ROUND), mask=place < count)
    if tl.program_id(0) == 0:
        tl.store(scale, step)


@triton.jit
def _quant_row(x, q, scale, width, BLOCK: tl.constexpr, ROUND: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    high = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        place = start + tl.arange(0, BLOCK)
        high = tl.maximum(high, tl.abs(tl.load(x + row * width + place, mask=place < width, other=0.0).to(tl.float32)))
    step = tl.maximum(tl.max(high, 0), 1e-12) / 448.0
    tl.store(scale + row, step)
    for start in range(0, width, BLOCK):
        place = start + tl.arange(0, BLOCK)
        value = tl.load(x + row * width + place, mask=place < width, other=0.0).to(tl.float32)
        tl.store(q + row * width + place, to_fp8(value / step, ROUND), mask=place < width)


@triton.jit(do_not_specialize=['scale_rows'])
def _quant_block(x, q, scale, width, scale_rows, GROUPS: tl.constexpr, ROUND: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    place = group[:, None] * 128 + tl.arange(0, 128)[None, :]
    mask = place < width
    value = tl.load(x + row * width + place, mask=mask, other=0.0).to(tl.float32)
    step = tl.maximum(tl.max(tl.abs(value), 1), 1e-12) / 448.0
    tl.store(q + row * width + place, to_fp8(value / step[:, None], ROUND), mask=mask)
    tl.store(scale + group.to(tl.int64) * scale_rows + row, step, mask=group * 128 < width)


AMAX_PARTS = 512


def quantise(x, mode, pad=1):
    """(q, scale) of x [rows, width] in fp8 with float32 scales: mode fp8_tensor (scale [1, 1]), fp8_row ([rows, 1]) or fp8_block, 1 x 128
    ([rows, width / 128] stored column by column). Rows are padded to a multiple of `pad`; the padding's content is undefined."""
    rows, width = x.shape
    padded = -(-rows // pad) * pad
    q = empty((padded, width), FP8, x.device)
    if mode == 'fp8_tensor':
        scale = empty((1, 1), torch.float32, x.device)
        parts = min(AMAX_PARTS, triton.cdiv(x.numel(), 4096))
        partial = empty(parts, torch.float32, x.device)
        _amax[(parts,)](x, partial, x.numel(), BLOCK=4096, num_warps=8)
        _quant_tensor[(triton.cdiv(x.numel(), 4096),)](x, partial, parts, q, scale, x.numel(), PARTS=AMAX_PARTS, BLOCK=4096, ROUND=INTERPRETED, num_warps=8)
    elif mode == 'fp8_row':
        scale = empty((padded, 1), torch.float32, x.device)
        _quant_row[(rows,)](x, q, scale, width, BLOCK=min(4096, power_of_two(width)), ROUND=INTERPRETED, num_warps=4)
    else:
        scale = empty((triton.cdiv(width, 128), padded), torch.float32, x.device).t()
        _quant_block[(rows, triton.cdiv(width, 1024))](x, q, scale, width, padded, GROUPS=8, ROUND=INTERPRETED, num_warps=4)
    return q, scale
