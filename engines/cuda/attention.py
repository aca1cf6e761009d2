"""Attention over paged keys and values: the Triton kernels of this worker. Which kernel serves prompts is chosen in prefill.py.

A cache is [2, pages, 16, kv_heads, dim] in bf16, or in fp8 e4m3 at scale 1, which the kernels turn into bf16 as they read. Queries come inside
qkv [tokens, (heads + 2 kv_heads) dim], rotated. Each group of heads / kv_heads query heads shares a key head.
"""

import torch
import triton
import triton.language as tl

from kernels import dot_type, empty, power_of_two

PAGE = 16
PAGE_C = tl.constexpr(PAGE)
LOG2_E = 1.4426950408889634
DECODE_BLOCK = 64
"""Tokens of a decode tile."""
SPLIT_TOKENS = 256
"""Fewest tokens for which a split is made."""
MERGE_BLOCK = tl.constexpr(16)


def split_count(batch, kv_heads, max_context, sms):
    """Splits of the context: enough programs for 4 per multiprocessor, none shorter than 256 tokens at the longest context."""
    return max(1, min(-(-4 * sms // (batch * kv_heads)), -(-max_context // SPLIT_TOKENS)))


@triton.jit(do_not_specialize=['table_width', 'splits'])
def _decode(qkv, keys, values, out, sums, peaks, tables, lengths, table_width, splits, scale,
            HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, DIM_BLOCK: tl.constexpr, GROUP_BLOCK: tl.constexpr,
            BLOCK: tl.constexpr, DIRECT: tl.constexpr, DOT: tl.constexpr):
    sequence = tl.program_id(0).to(tl.int64)
    kv = tl.program_id(1)
    split = tl.program_id(2)
    GROUP: tl.constexpr = HEADS // KV_HEADS
    length = tl.load(lengths + sequence)
    span = (((length + splits - 1) // splits + BLOCK - 1) // BLOCK) * BLOCK
    start = split * span
    stop = tl.minimum(start + span, length)
    member = tl.arange(0, GROUP_BLOCK)
    head = kv * GROUP + member
    d = tl.arange(0, DIM_BLOCK)
    head_ok = (member < GROUP)[:, None] & (d < DIM)[None, :]
    q = tl.load(qkv + sequence * ((HEADS + 2 * KV_HEADS) * DIM) + head[:, None] * DIM + d[None, :], mask=head_ok, other=0.0).to(DOT)
    peak = tl.full([GROUP_BLOCK], float('-inf'), tl.float32)
    total = tl.zeros([GROUP_BLOCK], tl.float32)
    mixed = tl.zeros([GROUP_BLOCK, DIM_BLOCK], tl.float32)
    for first in range(start, stop, BLOCK):
        token = first + tl.arange(0, BLOCK)
        token_ok = token < stop
        page = tl.load(tables + sequence * table_width + token // PAGE_C, mask=token_ok, other=0).to(tl.int64)
        place = ((page * PAGE_C + token % PAGE_C) * KV_HEADS + kv) * DIM
        mask = token_ok[:, None] & (d < DIM)[None, :]
        k = tl.load(keys + place[:, None] + d[None, :], mask=mask, other=0.0).to(DOT)
        score = tl.where(token_ok[None, :], tl.dot(q, k.T) * scale, float('-inf'))
        new_peak = tl.maximum(peak, tl.max(score, 1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        v = tl.load(values + place[:, None] + d[None, :], mask=mask, other=0.0).to(DOT)
        total = total * shrink + tl.sum(weight, 1)
        mixed = mixed * shrink[:, None] + tl.dot(weight.to(DOT), v)
        peak = new_peak
    if DIRECT:
        result = mixed / tl.where(total > 0.0, total, 1.0)[:, None]
        tl.store(out + (sequence * HEADS + head)[:, None] * DIM + d[None, :], result.to(tl.bfloat16), mask=head_ok)
    elif start < stop:
        part = (sequence * HEADS + head) * splits + split
        tl.store(out + part[:, None] * DIM + d[None, :], mixed, mask=head_ok)
        tl.store(sums + part, total, mask=member < GROUP)
        tl.store(peaks + part, peak, mask=member < GROUP)


@triton.jit(do_not_specialize=['splits'])
def _merge(parts, sums, peaks, lengths, out, splits, HEADS: tl.constexpr, DIM: tl.constexpr, DIM_BLOCK: tl.constexpr, BLOCK: tl.constexpr):
    sequence = tl.program_id(0).to(tl.int64)
    row = sequence * HEADS + tl.program_id(1)
    length = tl.load(lengths + sequence)
    span = (((length + splits - 1) // splits + BLOCK - 1) // BLOCK) * BLOCK
    # Splits beyond the length wrote nothing, so they must not be read.
    used = (length + span - 1) // tl.maximum(span, 1)
    d = tl.arange(0, DIM_BLOCK)
    peak = tl.full([], float('-inf'), tl.float32)
    total = tl.zeros([], tl.float32)
    mixed = tl.zeros([DIM_BLOCK], tl.float32)
    for first in range(0, used, MERGE_BLOCK):
        split = first + tl.arange(0, MERGE_BLOCK)
        ok = split < used
        part = row * splits + split
        peaks_here = tl.load(peaks + part, mask=ok, other=float('-inf'))
        new_peak = tl.maximum(peak, tl.max(peaks_here, 0))
        weight = tl.exp2(peaks_here - new_peak)
        shrink = tl.exp2(peak - new_peak)
        here = tl.load(parts + part[:, None] * DIM + d[None, :], mask=ok[:, None] & (d < DIM)[None, :], other=0.0)
        total = total * shrink + tl.sum(weight * tl.load(sums + part, mask=ok, other=0.0), 0)
        mixed = mixed * shrink + tl.sum(weight[:, None] * here, 0)
        peak = new_peak
    tl.store(out + row * DIM + d, (mixed / tl.where(total > 0.0, total, 1.0)).to(tl.bfloat16), mask=d < DIM)


def decode(qkv, cache, tables, lengths, splits, out, heads, kv_heads, dim):
    """out [sequences, heads dim] = attention of one query per sequence over `lengths` tokens (0: zeros) in the pages of tables [sequences, width].

    Program = (sequence, key head, split); a second kernel merges the splits."""
    sequences = qkv.shape[0]
    scale = dim**-0.5 * LOG2_E
    block = dict(HEADS=heads, DIM=dim, DIM_BLOCK=max(16, power_of_two(dim)), BLOCK=DECODE_BLOCK)
    direct = splits == 1
    count = sequences * heads * splits
    parts = out if direct else empty((count, dim), torch.float32, qkv.device)
    sums, peaks = (out, out) if direct else (empty((count,), torch.float32, qkv.device) for _ in range(2))
    group = max(16, power_of_two(heads // kv_heads))
    _decode[(sequences, kv_heads, splits)](qkv, cache[0], cache[1], parts, sums, peaks, tables, lengths, tables.stride(0), splits, scale, KV_HEADS=kv_heads,
                                           GROUP_BLOCK=group, DIRECT=direct, DOT=dot_type(), num_warps=4, num_stages=3 if dim <= 128 else 2, **block)
    if not direct:
        _merge[(sequences, heads)](parts, sums, peaks, lengths, out, splits, num_warps=4, **block)
    return out


@triton.jit(do_not_specialize=['table_width'])
def _prefill(qkv, keys, values, out, tables, starts, pasts, tile_sequences, tile_rows, table_width, scale,
             HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, DIM_BLOCK: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr):
    tile = tl.program_id(0)
    head = tl.program_id(1)
    sequence = tl.load(tile_sequences + tile).to(tl.int64)
    first_row = tl.load(tile_rows + tile)
    begin = tl.load(starts + sequence)
    new = tl.load(starts + sequence + 1) - begin
    past = tl.load(pasts + sequence)
    kv = head // (HEADS // KV_HEADS)
    row = first_row + tl.arange(0, ROWS)
    d = tl.arange(0, DIM_BLOCK)
    row_mask = (row < new)[:, None] & (d < DIM)[None, :]
    place = (begin + row).to(tl.int64)
    q = tl.load(qkv + place[:, None] * ((HEADS + 2 * KV_HEADS) * DIM) + head * DIM + d[None, :], mask=row_mask, other=0.0).to(DOT)
    peak = tl.full([ROWS], float('-inf'), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, DIM_BLOCK], tl.float32)
    stop = tl.minimum(past + first_row + ROWS, past + new)
    # Every row of the tile sees all tokens before the first row's own block.
    seen_by_all = (past + first_row) // BLOCK * BLOCK
    for first in range(0, seen_by_all, BLOCK):
        token = first + tl.arange(0, BLOCK)
        page = tl.load(tables + sequence * table_width + token // PAGE_C).to(tl.int64)
        where = ((page * PAGE_C + token % PAGE_C) * KV_HEADS + kv) * DIM
        k = tl.load(keys + where[:, None] + d[None, :], mask=(d < DIM)[None, :], other=0.0).to(DOT)
        score = tl.dot(q, k.T) * scale
        new_peak = tl.maximum(peak, tl.max(score, 1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        v = tl.load(values + where[:, None] + d[None, :], mask=(d < DIM)[None, :], other=0.0).to(DOT)
        total = total * shrink + tl.sum(weight, 1)
        mixed = mixed * shrink[:, None] + tl.dot(weight.to(DOT), v)
        peak = new_peak
    for first in range(seen_by_all, stop, BLOCK):
        token = first + tl.arange(0, BLOCK)
        token_ok = token < stop
        page = tl.load(tables + sequence * table_width + token // PAGE_C, mask=token_ok, other=0).to(tl.int64)
        where = ((page * PAGE_C + token % PAGE_C) * KV_HEADS + kv) * DIM
        mask = token_ok[:, None] & (d < DIM)[None, :]
        k = tl.load(keys + where[:, None] + d[None, :], mask=mask, other=0.0).to(DOT)
        score = tl.where(token_ok[None, :] & (token[None, :] <= past + row[:, None]), tl.dot(q, k.T) * scale, float('-inf'))
        new_peak = tl.maximum(peak, tl.max(score, 1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        v = tl.load(values + where[:, None] + d[None, :], mask=mask, other=0.0).to(DOT)
        total = total * shrink + tl.sum(weight, 1)
        mixed = mixed * shrink[:, None] + tl.dot(weight.to(DOT), v)
        peak = new_peak
    tl.store(out + (place * HEADS + head)[:, None] * DIM + d[None, :], (mixed / total[:, None]).to(tl.bfloat16), mask=row_mask)


def tile_rows(longest):
    """Query rows of a prefill tile for prompts of at most `longest` new tokens."""
    return 16 if longest <= 16 else 64 if longest <= 64 else 128


def prefill(qkv, cache, tables, starts, pasts, tile_sequences, tile_starts, rows, out, heads, kv_heads, dim):
    """out [tokens, heads dim] = causal attention of ragged prompts: sequence i has rows starts[i] to starts[i+1] of qkv and pasts[i] tokens before them;
    all keys, the new ones included, come from the pages. Tile j covers `rows` rows of sequence tile_sequences[j] from its row tile_starts[j]."""
    _prefill[(tile_sequences.shape[0], heads)](qkv, cache[0], cache[1], out, tables, starts, pasts, tile_sequences, tile_starts, tables.stride(0),
                                               dim**-0.5 * LOG2_E, HEADS=heads, KV_HEADS=kv_heads, DIM=dim, DIM_BLOCK=max(16, power_of_two(dim)), ROWS=rows,
                                               BLOCK=64, DOT=dot_type(), num_warps=8 if rows == 128 else 4, num_stages=3 if dim <= 128 else 2)
    return out


@triton.jit(do_not_specialize=['table_width'])
def _gather(keys, values, out_keys, out_values, tables, key_starts, table_width, WIDTH: tl.constexpr, BLOCK: tl.constexpr, COLUMNS: tl.constexpr):
    sequence = tl.program_id(0).to(tl.int64)
    begin = tl.load(key_starts + sequence)
    token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token_ok = token < tl.load(key_starts + sequence + 1) - begin
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    mask = token_ok[:, None] & (column < WIDTH)[None, :]
    page = tl.load(tables + sequence * table_width + token // PAGE_C, mask=token_ok, other=0).to(tl.int64)
    source = (page * PAGE_C + token % PAGE_C)[:, None] * WIDTH + column[None, :]
    target = (begin + token).to(tl.int64)[:, None] * WIDTH + column[None, :]
    tl.store(out_keys + target, tl.load(keys + source, mask=mask, other=0.0).to(tl.bfloat16), mask=mask)
    tl.store(out_values + target, tl.load(values + source, mask=mask, other=0.0).to(tl.bfloat16), mask=mask)


def gather(cache, tables, key_starts, tokens, longest, kv_heads, dim):
    """(keys, values), bf16 [tokens, kv_heads, dim], out of the pages; sequence i has rows key_starts[i] to key_starts[i+1], at most `longest`."""
    width = kv_heads * dim
    columns = min(512, power_of_two(width))
    keys, values = (empty((tokens, kv_heads, dim), torch.bfloat16, cache.device) for _ in range(2))
    _gather[(key_starts.shape[0] - 1, triton.cdiv(longest, PAGE), triton.cdiv(width, columns))](
        cache[0], cache[1], keys, values, tables, key_starts, tables.stride(0), WIDTH=width, BLOCK=PAGE, COLUMNS=columns, num_warps=4)
    return keys, values
