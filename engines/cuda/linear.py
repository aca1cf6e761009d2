"""Weight matrices in bf16 or FP8 and the product with them. How this torch multiplies FP8 is found by trying, once per type."""

from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as functional
import triton

from device import Unsupported
from kernels import FP8, FP8_MAX, quantise

MODES = ('bf16', 'fp8_tensor', 'fp8_row', 'fp8_block')
PROBE_SHAPES = ((5, 256, 640), (33, 384, 512))
"""m, n, k: a width of 5 blocks of 128, whose scales need padding to 8, and one without."""
PROBE_LIMIT = 1e-2


def normal(shape, deviation, generator, device):
    """bf16 tensor of N(0, deviation²) made on the device."""
    return torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(0.0, deviation, generator=generator)


def quantise_weight(weight, mode):
    """(q, scale) of weight [n, k]: scale [1, 1], [n, 1], or [n / 128, k / 128 padded to a multiple of 4] with zeros in the padding."""
    n, k = weight.shape
    if n % 16 or k % 16 or (mode == 'fp8_block' and (n % 128 or k % 128)):
        raise Unsupported('unsupported_dtype', f"{mode} needs sizes that are multiples of {128 if mode == 'fp8_block' else 16}, not {n} x {k}")
    value = weight.float()
    if mode == 'fp8_tensor':
        scale = value.abs().amax().clamp_min(1e-12).view(1, 1) / FP8_MAX
        return (value / scale).to(FP8), scale
    if mode == 'fp8_row':
        scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / FP8_MAX
        return (value / scale).to(FP8), scale
    blocks = value.view(n // 128, 128, k // 128, 128)
    scale = blocks.abs().amax((1, 3)).clamp_min(1e-12) / FP8_MAX
    q = (blocks / scale[:, None, :, None]).to(FP8).view(n, k)
    return q, functional.pad(scale, (0, -(k // 128) % 4)).contiguous()


def dequantise_weight(q, scale, mode):
    """float32 [n, k] that (q, scale) stand for."""
    if mode == 'bf16':
        return q.float()
    if mode != 'fp8_block':
        return q.float() * scale
    n, k = q.shape
    return (q.float().view(n // 128, 128, k // 128, 128) * scale[:, None, : k // 128, None]).view(n, k)


def dequantise_rows(q, scale, mode):
    """float32 of what kernels.quantise returned."""
    if mode != 'fp8_block':
        return q.float() * scale
    rows, k = q.shape
    return (q.float().view(rows, k // 128, 128) * scale[:, :, None]).view(rows, k)


def _tensor_product(fast):
    return lambda q, s, w, ws: torch._scaled_mm(q, w.t(), scale_a=s.view(()), scale_b=ws.view(()), out_dtype=torch.bfloat16, use_fast_accum=fast)


def _row_product(fast):
    return lambda q, s, w, ws: torch._scaled_mm(q, w.t(), scale_a=s, scale_b=ws.t(), out_dtype=torch.bfloat16, use_fast_accum=fast)


def _block_product(padded):
    """Through torch.nn.functional.scaled_mm; the weight's scales with or without their padding."""

    def run(q, s, w, ws):
        kinds = functional.ScalingType
        scale = ws if padded else ws[:, : w.shape[1] // 128]
        return functional.scaled_mm(q, w.t(), s, kinds.BlockWise1x128, scale.t(), kinds.BlockWise128x128, output_dtype=torch.bfloat16)

    return run


def _block_product_inferred(q, s, w, ws):
    return torch._scaled_mm(q, w.t(), scale_a=s, scale_b=ws[:, : w.shape[1] // 128].t(), out_dtype=torch.bfloat16)


def _plain(mode):
    return lambda q, s, w, ws: (dequantise_rows(q, s, mode) @ dequantise_weight(w, ws, mode).t()).to(torch.bfloat16)


def _ways(mode, device):
    """(description, product) in the order of trying. A plain product is allowed on a CPU only, where nothing is timed."""
    ways = {
        'fp8_tensor': [('torch._scaled_mm per tensor, fast accumulation', _tensor_product(True)), ('torch._scaled_mm per tensor', _tensor_product(False))],
        'fp8_row': [('torch._scaled_mm per row, fast accumulation', _row_product(True)), ('torch._scaled_mm per row', _row_product(False))],
        'fp8_block': [
            ('torch scaled_mm 1x128 by 128x128', _block_product(True)),
            ('torch scaled_mm 1x128 by 128x128, unpadded scales', _block_product(False)),
            ('torch._scaled_mm 1x128 by 128x128', _block_product_inferred),
        ],
    }[mode]
    return ways if device.type == 'cuda' else [*ways, ('plain float32 product of dequantised values', _plain(mode))]


@dataclass
class Recipe:
    """One way to multiply that was found right on this device; rows are padded to a multiple of `pad`."""

    name: str
    run: Callable
    pad: int


_recipes = {}


def _error(run, mode, pad, device):
    """Largest relative Frobenius error of a product over the probe shapes."""
    worst = 0.0
    generator = torch.Generator(device).manual_seed(1)
    for m, n, k in PROBE_SHAPES:
        x = normal((m, k), 1.0, generator, device)
        w, ws = quantise_weight(normal((n, k), k**-0.5, generator, device), mode)
        q, s = quantise(x, mode, pad)
        scale = s if mode == 'fp8_tensor' else s[:m]
        wanted = dequantise_rows(q[:m], scale, mode) @ dequantise_weight(w, ws, mode).t()
        got = run(q, s, w, ws)[:m].float()
        worst = max(worst, float((got - wanted).norm() / wanted.norm()), 0.0 if bool(torch.isfinite(got).all()) else float('inf'))
    return worst


def recipe(mode, device):
    """Recipe of an FP8 type on this device; Unsupported(unsupported_dtype) with every reason if none is right."""
    key = (mode, str(device))
    if key in _recipes:
        return _recipes[key]
    reasons = []
    for name, run in _ways(mode, device):
        for pad in (1, 4, 16):
            try:
                error = _error(run, mode, pad, device)
            except Exception as failure:  # each torch and driver refuses in its own way
                reasons.append(f"{name}, rows padded to {pad}: {type(failure).__name__}: {str(failure).splitlines()[0][:200] if str(failure) else ''}")
                continue
            if error <= PROBE_LIMIT:
                _recipes[key] = Recipe(name if pad == 1 else f'{name}, rows padded to {pad}', run, pad)
                return _recipes[key]
            reasons.append(f'{name}, rows padded to {pad}: relative error {error:.3g}')
    raise Unsupported('unsupported_dtype', f'{mode}: ' + '; '.join(reasons))


def dtypes_of(device):
    """The matrix types that run right on this device."""
    found = ['bf16']
    for mode in MODES[1:]:
        try:
            recipe(mode, device)
            found.append(mode)
        except Unsupported:
            pass
    return found


class Matrix:
    """Random weights [n, k], N(0, 1/k), stored as `mode`. Called with bf16 x [m, k] it returns bf16 [m, n]; FP8 quantises x first."""

    def __init__(self, n, k, mode, generator, device):
        self.mode = mode
        self.scale = None
        weight = normal((n, k), k**-0.5, generator, device)
        if mode == 'bf16':
            self.weight = weight
        else:
            self.recipe = recipe(mode, device)
            self.weight, self.scale = quantise_weight(weight, mode)

    def __call__(self, x):
        if self.mode == 'bf16':
            return functional.linear(x, self.weight)
        q, scale = quantise(x, self.mode, self.recipe.pad)
        return self.recipe.run(q, scale, self.weight, self.scale)[: x.shape[0]]

    def plain(self):
        """The weights as float32 [n, k]."""
        return dequantise_weight(self.weight, self.scale, self.mode)

    def description(self):
        """Which product runs."""
        return 'torch linear bf16' if self.mode == 'bf16' else self.recipe.name

    @property
    def nbytes(self):
        """Bytes of weights and scales."""
        return self.weight.nbytes + (0 if self.scale is None else self.scale.nbytes)


def matrix_bytes(n, k, mode):
    """Bytes that a Matrix takes."""
    if mode == 'bf16':
        return 2 * n * k
    scales = {'fp8_tensor': 1, 'fp8_row': n, 'fp8_block': triton.cdiv(n, 128) * -(-triton.cdiv(k, 128) // 4) * 4}[mode]
    return n * k + 4 * scales
