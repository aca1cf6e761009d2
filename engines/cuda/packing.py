"""A pass laid out for the GPU: which token is where, in one array of int32 that goes over in one copy."""

import numpy
import torch

from attention import PAGE, tile_rows

SHORT = 256
"""Prompts with at most so many new tokens are a shape class of their own."""
ALIGN = 4
"""Arrays start at multiples of so many int32, 16 bytes: a kernel compiled for aligned pointers serves all."""


def shape_class(prompts):
    """Class of the prompts [(new, past), …] by which an attention kernel is chosen: past, equal or ragged; short or long. None without prompts."""
    if not prompts:
        return None
    kind = 'past' if any(past for _, past in prompts) else 'equal' if len({new for new, _ in prompts}) == 1 else 'ragged'
    return f"{kind}_{'short' if max(new for new, _ in prompts) <= SHORT else 'long'}"


def aligned(count):
    """count int32 rounded up to whole 16 bytes."""
    return -(-count // ALIGN) * ALIGN


class PageOrder:
    """Pages of a cache in a fixed random order; sequences without a table of their own take theirs from it in turn."""

    def __init__(self, pages, seed):
        self.order = numpy.random.default_rng(seed).permutation(pages).astype(numpy.int32)

    def tables(self, contexts):
        """A table per context length, or None if the pages are short."""
        counts = -(-numpy.asarray(contexts) // PAGE)
        ends = numpy.cumsum(counts)
        if ends[-1] > len(self.order):
            return None
        return [self.order[end - count : end] for end, count in zip(ends, counts)]


def _table(tables, contexts, rows):
    """int32 [rows, pages of the longest context], short tables filled with page 0."""
    out = numpy.zeros((rows, -(-int(contexts.max(initial=1)) // PAGE)), dtype=numpy.int32)
    for row, (table, context) in enumerate(zip(tables, contexts)):
        count = -(-int(context) // PAGE)
        if len(table) < count:
            raise ValueError(f'{context} tokens need {count} pages, the table has {len(table)}')
        out[row, :count] = table[:count]
    return out


def _slots(table, new, past):
    """Place of each new token in a cache of pages: page x 16 + offset."""
    sequence = numpy.repeat(numpy.arange(len(new)), new)
    positions = _positions(new, past)
    return table[sequence, positions // PAGE].astype(numpy.int64) * PAGE + positions % PAGE


def _positions(new, past):
    return numpy.arange(int(new.sum())) - numpy.repeat(numpy.cumsum(new) - new, new) + numpy.repeat(past, new)


class Batch:
    """Sequences of a pass, prompts before decodes (those with one new token) whatever their order was.

    Counts: tokens (padding included), prompts, prompt_tokens, decodes (padding included), longest (new tokens of a prompt), longest_key, keys (of prompts),
    context (longest of all), highest_page. Device views, made by `upload`: ids, positions, slots [tokens] (slot -1: padding); lengths [decodes];
    decode_tables [decodes, width]; rows [yielding]; prompt_tables [prompts, width]; starts, key_starts [prompts + 1]; pasts [prompts];
    tile_sequences, tile_starts [tiles]. every_row: each token yields, in order. `kernel`: the attention that serves it. `splits`: of the decodes' context.
    `routes`: rows of the routing table, None = the first ones."""

    def __init__(self, seqs, tables, rows, token_ids, pad_to):
        self.seqs = [(int(new), int(past)) for new, past in seqs]
        self.pad_to = pad_to
        self.row_sequences = list(range(len(self.seqs))) if rows is None else list(rows)
        self.kernel = self.routes = None
        self.splits = 1
        prompt_order = [i for i, (new, _) in enumerate(self.seqs) if new > 1]
        order = prompt_order + [i for i, (new, _) in enumerate(self.seqs) if new == 1]
        padding = 0 if pad_to is None else pad_to - len(order)
        if padding < 0 or (pad_to is not None and prompt_order):
            raise ValueError(f'a batch padded to {pad_to} holds at most as many sequences of one new token each')
        self._count(order, len(prompt_order), padding)
        new, past = self.new, self.past
        cut = self.prompts
        prompt_table = _table([tables[i] for i in order[:cut]], (new + past)[:cut], cut)
        decode_table = _table([tables[i] for i in order[cut:]], (new + past)[cut:], self.decodes)
        self.highest_page = int(max(prompt_table.max(initial=0), decode_table.max(initial=0)))
        slots = [_slots(prompt_table, new[:cut], past[:cut]), _slots(decode_table, new[cut:], past[cut:]), numpy.full(padding, -1)]
        last = dict(zip(order, numpy.cumsum(new) - 1))
        row_tokens = numpy.array([last[i] for i in self.row_sequences], dtype=numpy.int64)
        self.every_row = numpy.array_equal(row_tokens, numpy.arange(self.tokens))
        tiles = self._tiles()
        # The first four in this order are what a graph of decodes takes, see graphs.py.
        self._pack({
            'ids': numpy.concatenate([self._ids(token_ids, order), numpy.zeros(padding)]),
            'positions': numpy.concatenate([_positions(new, past), numpy.zeros(padding)]),
            'slots': numpy.concatenate(slots),
            'lengths': numpy.concatenate([(new + past)[cut:], numpy.zeros(padding)]),
            'decode_tables': decode_table,
            'rows': row_tokens,
            'prompt_tables': prompt_table,
            'starts': numpy.concatenate([[0], numpy.cumsum(new[:cut])]),
            'key_starts': numpy.concatenate([[0], numpy.cumsum((new + past)[:cut])]),
            'pasts': past[:cut],
            'tile_sequences': numpy.array([sequence for sequence, _ in tiles]),
            'tile_starts': numpy.array([start for _, start in tiles]),
        })

    def _count(self, order, prompts, padding):
        self.new = numpy.array([self.seqs[i][0] for i in order], dtype=numpy.int64)
        self.past = numpy.array([self.seqs[i][1] for i in order], dtype=numpy.int64)
        context = self.new + self.past
        self.prompts = prompts
        self.decodes = len(order) - prompts + padding
        self.prompt_tokens = int(self.new[:prompts].sum())
        self.tokens = int(self.new.sum()) + padding
        self.longest = int(self.new[:prompts].max(initial=0))
        self.longest_key = int(context[:prompts].max(initial=0))
        self.keys = int(context[:prompts].sum())
        self.context = int(context.max())
        self.shape_class = shape_class([self.seqs[i] for i in order[:prompts]])
        self.tile_rows = tile_rows(self.longest)

    def _ids(self, token_ids, order):
        ids = numpy.asarray(token_ids, dtype=numpy.int64)
        if len(ids) != int(self.new.sum()):
            raise ValueError(f'{int(self.new.sum())} new tokens, {len(ids)} token ids')
        if order == sorted(order):
            return ids
        ends = numpy.cumsum([new for new, _ in self.seqs])
        return numpy.concatenate([ids[ends[i] - self.seqs[i][0] : ends[i]] for i in order])

    def _tiles(self):
        """(prompt, first row) of each attention tile; those with most keys start first, so that none of them is left for the end."""
        tiles = [(i, start) for i, new in enumerate(self.new[: self.prompts]) for start in range(0, int(new), self.tile_rows)]
        return sorted(tiles, key=lambda tile: -(tile[1] + int(self.past[tile[0]])))

    def _pack(self, arrays):
        self.places, size = {}, 0
        for name, array in arrays.items():
            self.places[name] = (size, array.shape)
            size += aligned(array.size)
        self.host = torch.zeros(size, dtype=torch.int32)
        flat = self.host.numpy()
        for name, array in arrays.items():
            start, _ = self.places[name]
            flat[start : start + array.size] = array.ravel()

    def upload(self, device):
        """Sends the array to the device, without waiting on a GPU, and makes the views. Returns the batch."""
        host = self.host.pin_memory() if device.type == 'cuda' else self.host
        self.device_array = host.to(device, non_blocking=True)
        for name, (start, shape) in self.places.items():
            setattr(self, name, self.device_array[start : start + int(numpy.prod(shape))].view(shape))
        return self
