"""Copies between host and GPU, scattered KV blocks, disk, and the host's own times. Source: spec calibration 3.1."""

import itertools
import mmap
import os
import tempfile

import numpy
import torch
import triton

from device import OutOfMemory, Unsupported
from graphs import record
from kernels import INTERPRETED
from timing import HostTarget, LoopTarget, require_gpu, rotation

MOST_PLACES = 64
"""Most places of the GPU's memory that a copy goes through."""
EMPTY_LAUNCHES = 1000
CHUNK_BYTES = 8 << 20
"""Bytes of one read or write call on a disk."""
READ_BACK_ROWS = 64


@triton.jit
def _nothing(x):
    pass


def _borrow(nbytes, context):
    """uint8 [nbytes] of the GPU with random content: the decoder's KV memory if it is large enough, else new."""
    decoder = context.decoder
    if decoder is not None and decoder.caches.nbytes >= nbytes:
        return decoder.caches.view(-1).view(torch.uint8)[:nbytes]
    return torch.empty(nbytes, dtype=torch.uint8, device=context.device).random_(generator=context.generator())


def _host(shape, dtype, pinned, context):
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=pinned and context.device.type == 'cuda').zero_()
    except RuntimeError as failure:
        raise OutOfMemory(f'host memory: {str(failure).splitlines()[0][:200]}') from failure


def copy_target(point, context):
    """Bytes in one piece, or `blocks` scattered pieces of bytes / blocks each, copied one by one or gathered first; bidi: that many bytes each way at once."""
    if point['blocks'] > point['bytes']:
        raise Unsupported('unsupported_kind', f"{point['blocks']} blocks in {point['bytes']} bytes")
    if point['blocks'] and point['direction'] == 'bidi':
        raise Unsupported('unsupported_kind', 'scattered blocks are copied one way only')
    copy = _scattered(point, context) if point['blocks'] else _contiguous(point, context)
    pinned = 'pinned' if point['pinned'] else 'pageable'
    return LoopTarget(copy, f"cudaMemcpyAsync {point['direction']}{'' if point['direction'] == 'd2d' else ' ' + pinned}"
                      + (f", {'gathered' if point['gather'] else 'one by one'}" if point['blocks'] else ''), context.device)


def _contiguous(point, context):
    size, direction = point['bytes'], point['direction']
    two = direction in ('d2d', 'bidi')
    places = min(MOST_PLACES, rotation(size, context.device))
    pairs = _borrow((2 if two else 1) * places * size, context).view(places, 2 if two else 1, size)
    hosts = [_host((size,), torch.uint8, point['pinned'], context) for _ in range({'d2d': 0, 'bidi': 2}.get(direction, 1))]
    if hosts:
        hosts[0].copy_(pairs[0, 0])
    streams = [torch.cuda.Stream(), torch.cuda.Stream()] if direction == 'bidi' and context.device.type == 'cuda' else None
    turn = itertools.cycle(range(places))

    def copy():
        place = pairs[next(turn)]
        first, second = place[0], place[-1]
        if direction == 'h2d':
            first.copy_(hosts[0], non_blocking=True)
        elif direction == 'd2h':
            hosts[0].copy_(first, non_blocking=True)
        elif direction == 'd2d':
            second.copy_(first)
        else:
            _both_ways(streams, lambda: first.copy_(hosts[0], non_blocking=True), lambda: hosts[1].copy_(second, non_blocking=True))

    return copy


def _both_ways(streams, one, other):
    if streams is None:
        one()
        other()
        return
    current = torch.cuda.current_stream()
    for stream, action in zip(streams, (one, other)):
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            action()
    for stream in streams:
        current.wait_stream(stream)


def _scattered(point, context):
    """Every other block of twice the memory in random order, against one contiguous buffer on the other side."""
    blocks, direction = point['blocks'], point['direction']
    size = point['bytes'] // blocks
    wide = torch.int64 if size % 8 == 0 else torch.uint8
    device = _borrow(2 * blocks * size, context).view(wide).view(2 * blocks, -1)
    chosen = numpy.random.default_rng(context.seed).permutation(2 * blocks)[:blocks]
    index = torch.from_numpy(chosen).to(context.device)
    pieces = [device[i] for i in chosen.tolist()]
    other = torch.empty_like(device[:blocks]) if direction == 'd2d' else _host((blocks, device.shape[1]), wide, point['pinned'], context)
    staging = torch.empty_like(device[:blocks]) if point['gather'] else None
    other.copy_(device[:blocks])

    def copy():
        if not point['gather']:
            for piece, row in zip(pieces, other):
                piece.copy_(row, non_blocking=True) if direction == 'h2d' else row.copy_(piece, non_blocking=True)
        elif direction == 'h2d':
            staging.copy_(other, non_blocking=True)
            device.index_copy_(0, index, staging)
        else:
            torch.index_select(device, 0, index, out=staging)
            other.copy_(staging, non_blocking=True)

    return copy


def disk_target(point, context):
    """Reads or writes one file in the scratch folder, around the page cache (O_DIRECT); flagged `cached` where that is refused."""
    if context.scratch is None:
        raise Unsupported('unsupported_kind', 'disk points need --scratch')
    return DiskTarget(point['op'], point['bytes'], context.scratch)


class DiskTarget(HostTarget):
    """One file of `size` bytes, removed by close()."""

    def __init__(self, op, size, folder):
        handle, self.path = tempfile.mkstemp(prefix='dynotwin-disk-', dir=folder)
        os.close(handle)
        self.size = size
        self.descriptor = None
        # mmap gives memory aligned to pages, as O_DIRECT asks for.
        self.buffer = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self.buffer.write((os.urandom(min(size, CHUNK_BYTES)) * -(-size // CHUNK_BYTES))[:size])
        try:
            flags = self._open()
            self._write()
            super().__init__(self._write if op == 'write' else self._read, f"{op} {'O_DIRECT' if not flags else 'through the page cache'}", flags=flags)
        except OSError as failure:
            self.close()
            raise Unsupported('unsupported_kind', f'disk: {failure}') from failure

    def _open(self):
        direct = getattr(os, 'O_DIRECT', 0)
        if direct and self.size % mmap.PAGESIZE == 0:
            try:
                self.descriptor = os.open(self.path, os.O_RDWR | direct)
                self._write()
                return []
            except OSError:
                if self.descriptor is not None:
                    os.close(self.descriptor)
        self.descriptor = os.open(self.path, os.O_RDWR)
        return ['cached']

    def _write(self):
        view = memoryview(self.buffer)
        done = 0
        while done < self.size:
            done += os.pwrite(self.descriptor, view[done : min(done + CHUNK_BYTES, self.size)], done)

    def _read(self):
        view = memoryview(self.buffer)
        done = 0
        while done < self.size:
            count = os.preadv(self.descriptor, [view[done : min(done + CHUNK_BYTES, self.size)]], done)
            if count == 0:
                raise OSError(f'{self.path} ended after {done} bytes')
            done += count

    def close(self):
        super().close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        if os.path.exists(self.path):
            os.remove(self.path)


def host_target(point, context):
    """empty_pass: prepare, zero layers, tokens back; launches: 1,000 empty kernels; graph_launch: one; read_back: 64 token ids from a GPU that is idle."""
    what, device = point['what'], context.device
    if what == 'empty_pass':
        return _empty_pass(context)
    tokens = torch.zeros(READ_BACK_ROWS, dtype=torch.int64, device=device)
    wait = torch.cuda.synchronize if device.type == 'cuda' else None
    if what == 'read_back':
        return HostTarget(tokens.tolist, 'torch tolist', wait)
    grid = (1,)
    if what == 'launches':
        count = 2 if INTERPRETED else EMPTY_LAUNCHES

        def launch():
            for _ in range(count):
                _nothing[grid](tokens)

        return HostTarget(launch, 'Triton empty kernel', wait, wait)
    require_gpu(device, 'a graph launch')
    graph, _ = record(lambda: _nothing[grid](tokens), None)
    return HostTarget(graph.replay, 'CUDA graph of one empty kernel', wait, wait)


def _empty_pass(context):
    decoder = context.decoder
    if decoder is None:
        raise Unsupported('unsupported_kind', 'an empty pass needs a loaded model')

    def run():
        decoder.read_back(decoder.forward(decoder.prepare([(1, 0)]), depth=0))

    return HostTarget(run, 'no layers: embedding, norm, logits, argmax', torch.cuda.synchronize if decoder.on_gpu else None)
