"""The GPU under measurement: what it is, how it is doing, and the errors that this worker's parts raise.

Nothing here changes clocks, power limits or partitioning. NVML is read through ctypes and is optional: without it every reading is None.
"""

import ctypes
import os
import platform
import threading

KINDS = ('gemm', 'attn_ctx', 'attn_gen', 'moe', 'norm', 'act', 'rope_kv', 'embed', 'logits', 'sample', 'quant', 'copy', 'host', 'pass')
SAMPLE_S = 0.05
"""Time between two NVML readings, s."""
FREE_SHARE = 0.06
"""Share of the GPU's memory that stays free."""

CLOCK_SM = 1
TEMPERATURE_GPU = 0
POWER_CAP = 0x4
SLOWDOWN = 0x8 | 0x20 | 0x40 | 0x80
"""Hardware slow-down, software thermal, hardware thermal, power brake."""


class MissingDevice(RuntimeError):
    """No GPU, torch or Triton to measure with; the message names what is missing. Error code `internal`."""


class Unsupported(RuntimeError):
    """This machine or this version cannot do it. `code` is that of the wire: unsupported_dtype or unsupported_kind."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class OutOfMemory(RuntimeError):
    """Memory or KV pages are short; `needed_bytes` in all, None if unknown."""

    def __init__(self, message, needed_bytes=None):
        super().__init__(message)
        self.needed_bytes = needed_bytes


def import_torch():
    """The torch module, with Triton known to import; MissingDevice names the one that does not."""
    for name in ('torch', 'triton'):
        try:
            __import__(name)
        except ImportError as error:
            raise MissingDevice(f'Python module {name} cannot be imported: {error}') from error
    import torch

    return torch


def require_gpu():
    """torch.device of the GPU in use; MissingDevice if torch sees none."""
    torch = import_torch()
    if torch.version.cuda is None:
        raise MissingDevice(f'torch {torch.__version__} is built without CUDA')
    if not torch.cuda.is_available():
        raise MissingDevice('no CUDA GPU: torch.cuda.is_available() is false (no device, or no driver that this torch can use)')
    return torch.device('cuda', torch.cuda.current_device())


def pick(device=None):
    """torch.device: the one given, else the GPU. CPU runs are for correctness only and need Triton's interpreter."""
    if device is None:
        return require_gpu()
    torch = import_torch()
    device = torch.device(device)
    if device.type == 'cpu' and os.environ.get('TRITON_INTERPRET') != '1':
        raise MissingDevice("on a CPU the kernels run in Triton's interpreter only: set TRITON_INTERPRET=1 before starting Python")
    return device


def l2_bytes(device):
    """Size of the GPU's L2 cache in bytes; 1 MiB stands for it on a CPU, where nothing is timed."""
    if device.type != 'cuda':
        return 1 << 20
    return int(import_torch().cuda.get_device_properties(device).L2_cache_size)


def sm_count(device):
    """Streaming multiprocessors; 4 on a CPU, so that split attention is exercised there too."""
    return import_torch().cuda.get_device_properties(device).multi_processor_count if device.type == 'cuda' else 4


class Flusher:
    """A buffer of 2 x L2: overwriting it evicts everything else."""

    def __init__(self, device):
        torch = import_torch()
        self.buffer = torch.empty(2 * l2_bytes(device), dtype=torch.uint8, device=device)

    def flush(self):
        """Overwrites the buffer; the caller synchronises."""
        self.buffer.zero_()


class Nvml:
    """NVML of one GPU. Raises OSError or RuntimeError if the library or the device cannot be opened."""

    def __init__(self, uuid):
        self.lib = ctypes.CDLL('libnvidia-ml.so.1')
        self._check(self.lib.nvmlInit_v2())
        self.handle = ctypes.c_void_p()
        if uuid is None:
            self._check(self.lib.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.handle)))
        else:
            self._check(self.lib.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self.handle)))
        self.reasons_name = next((n for n in ('nvmlDeviceGetCurrentClocksEventReasons', 'nvmlDeviceGetCurrentClocksThrottleReasons') if hasattr(self.lib, n)), None)

    @staticmethod
    def _check(status):
        if status != 0:
            raise RuntimeError(f'NVML status {status}')

    def _read(self, name, kind, *arguments):
        """Value that NVML function `name` writes, or None if this GPU or driver does not say."""
        value = kind()
        try:
            status = getattr(self.lib, name)(self.handle, *arguments, ctypes.byref(value))
        except AttributeError:
            return None
        return value.value if status == 0 else None

    def sample(self):
        """(SM clock in MHz, power in W, temperature in C, bits of the reasons for its clock); each may be None."""
        power = self._read('nvmlDeviceGetPowerUsage', ctypes.c_uint)
        reasons = self._read(self.reasons_name, ctypes.c_ulonglong) if self.reasons_name else None
        return (
            self._read('nvmlDeviceGetClockInfo', ctypes.c_uint, ctypes.c_int(CLOCK_SM)),
            None if power is None else power / 1000,
            self._read('nvmlDeviceGetTemperature', ctypes.c_uint, ctypes.c_int(TEMPERATURE_GPU)),
            reasons,
        )

    def driver(self):
        """Driver version, or None."""
        text = ctypes.create_string_buffer(80)
        return text.value.decode() if self.lib.nvmlSystemGetDriverVersion(text, 80) == 0 else None

    def mig(self):
        """Whether MIG is on; None if not told."""
        current, pending = ctypes.c_uint(), ctypes.c_uint()
        try:
            status = self.lib.nvmlDeviceGetMigMode(self.handle, ctypes.byref(current), ctypes.byref(pending))
        except AttributeError:
            return None
        return bool(current.value) if status == 0 else None


def open_nvml(device=None):
    """Nvml of `device` (a torch.device), or None where NVML or the device's identity cannot be had."""
    try:
        properties = import_torch().cuda.get_device_properties(device)
        uuid = getattr(properties, 'uuid', None)
        if uuid is None and import_torch().cuda.device_count() > 1:
            return None
        text = None if uuid is None else str(uuid)
        return Nvml(text if text is None or text.startswith(('GPU-', 'MIG-')) else f'GPU-{text}')
    except (OSError, RuntimeError, AssertionError, AttributeError, MissingDevice):
        return None


def _median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


class Monitor:
    """Reads NVML every 50 ms between start() and stop(), in its own thread."""

    def __init__(self, nvml):
        self.nvml = nvml
        self.samples = []
        self.thread = None

    def start(self):
        """Begins a new series of readings."""
        self.samples = []
        if self.nvml is None:
            return
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _loop(self):
        while not self.done.is_set():
            self.samples.append(self.nvml.sample())
            self.done.wait(SAMPLE_S)

    def stop(self):
        """Ends the series: {clock_mhz median, power_w mean, temp_c highest, power_capped, throttled}; what no reading told is None."""
        if self.thread is not None:
            self.done.set()
            self.thread.join()
            self.thread = None
            self.samples.append(self.nvml.sample())
        clocks, powers, temperatures, reasons = ([s[i] for s in self.samples if s[i] is not None] for i in range(4))
        return {
            'clock_mhz': _median(clocks),
            'power_w': sum(powers) / len(powers) if powers else None,
            'temp_c': max(temperatures) if temperatures else None,
            'power_capped': any(r & POWER_CAP for r in reasons) if reasons else None,
            'throttled': any(r & SLOWDOWN for r in reasons) if reasons else None,
        }


def _cpu_name():
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as text:
            return next((line.split(':', 1)[1].strip() for line in text if line.startswith('model name')), platform.machine())
    except OSError:
        return platform.machine()


def describe(device=None, scratch=None):
    """Capabilities of this worker without its versions and name: gpu, software, dtypes, kinds, attention, cpu, ram_bytes, nvml.

    dtypes and attention are probed by running them once. Raises MissingDevice without a GPU. `scratch` adds the disk points."""
    import numpy
    import triton

    torch = import_torch()
    device = require_gpu() if device is None else device
    from prefill import attention_names
    from linear import dtypes_of

    properties = torch.cuda.get_device_properties(device)
    nvml = open_nvml(device)
    mig = nvml.mig() if nvml else None
    return {
        'gpu': {
            'name': properties.name,
            'sm': properties.major * 10 + properties.minor,
            'sms': properties.multi_processor_count,
            'mem_bytes': int(properties.total_memory),
            'l2_bytes': l2_bytes(device),
            'driver': (nvml.driver() if nvml else None) or 'unknown',
            'cuda': torch.version.cuda,
            'mig': 'MIG' in properties.name if mig is None else mig,
        },
        'software': {'python': platform.python_version(), 'torch': torch.__version__, 'triton': triton.__version__, 'numpy': numpy.__version__},
        'dtypes': dtypes_of(device),
        'kinds': sorted([*KINDS, *(['disk'] if scratch else [])]),
        'attention': attention_names(device),
        'cpu': _cpu_name(),
        'ram_bytes': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'),
        'nvml': nvml is not None,
    }
