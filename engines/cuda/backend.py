"""What `Session` measures with on a GPU: the decoder, its checks, operators and copies, and the state of the GPU."""

import torch

import device
from check import run_checks
from model import Decoder
from ops import Context, target
from wire import VERSION, Failure

WORKER = 'dynotwin-worker 1'


class CudaBackend:
    """The GPU that torch uses. `scratch`: folder for disk points, or None. Raises `Failure` (internal, fatal) without a GPU."""

    def __init__(self, scratch):
        try:
            self.device = device.require_gpu()
        except device.MissingDevice as error:
            raise self.failure(error) from None
        self.scratch = scratch
        self.decoder = None
        self.monitor = device.Monitor(device.open_nvml(self.device))
        self.context = self._context()
        self.capabilities = {'versions': [VERSION], 'worker': WORKER, 'kind': 'cuda', **device.describe(self.device, scratch)}

    def _context(self):
        return Context(device=self.device, decoder=self.decoder, scratch=self.scratch)

    def describe(self):
        """The fields of `capabilities`."""
        return self.capabilities

    def unload(self):
        """Gives the model's memory back."""
        if self.decoder is not None:
            self.decoder.close()
        self.decoder = None
        self.context = self._context()
        torch.cuda.empty_cache()

    def check(self, request):
        """Checks of a two-layer model of the same kind; no other is loaded."""
        return run_checks(*_fields(request), self.device)

    def load(self, request):
        """Builds the model; the fields of `model_ready` but the checks."""
        self.decoder = Decoder(*_fields(request), self.device)
        self.context = self._context()
        return {name: getattr(self.decoder, name) for name in ('weight_bytes', 'kv_pages', 'distinct_layers', 'load_s', 'free_bytes', 'kernels')}

    def target(self, point, cap_s):
        """What is timed of a point; passes longer than `cap_s` may be extrapolated over depth."""
        return target(point, self.context, cap_s)

    def watch(self):
        """Begins to read the GPU's state."""
        self.monitor.start()

    def watched(self):
        """Its state since `watch`: clock_mhz, power_w, temp_c, power_capped (None = not told), slowed."""
        state = self.monitor.stop()
        throttled = state.pop('throttled')
        return {**state, 'slowed': throttled is True}

    @staticmethod
    def failure(error):
        """The `Failure` that an exception stands for. After one that nobody foresaw the GPU is asked whether it still answers."""
        if isinstance(error, device.MissingDevice):
            return Failure('internal', str(error), fatal=True)
        if isinstance(error, device.Unsupported):
            return Failure(error.code, str(error))
        if isinstance(error, device.OutOfMemory):
            return Failure('oom', str(error), needed_bytes=error.needed_bytes)
        text = f'{type(error).__name__}: {error}'.splitlines()[0][:500]
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return Failure('cuda_error', text, fatal=True)
        return Failure('oom' if isinstance(error, torch.cuda.OutOfMemoryError) else 'internal', text)


def _fields(request):
    return tuple(request[name] for name in ('model', 'shard', 'dtype', 'limits', 'routing', 'seed'))
