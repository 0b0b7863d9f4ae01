"""How much memory a run took."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class PeakMemory:
    """Most memory in use within a `with` block: `bytes` is the device's on CUDA, else that of the process.

    On Linux the kernel's mark is reset at the start, so that an earlier run of the same process does not
    count; elsewhere it is the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        elif sys.platform.startswith("linux"):
            try:
                with open("/proc/self/clear_refs", "w", encoding="ascii") as marks:
                    marks.write("5")
            except OSError:
                pass  # not allowed in some containers; the peak since the start is reported then
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            import torch

            self.bytes = int(torch.cuda.max_memory_allocated(self._device))
        else:
            self.bytes = _process_peak()


def _process_peak() -> int:
    if sys.platform.startswith("linux"):
        try:
            with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            pass
    if os.name == "nt":
        return _windows_peak()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _windows_peak() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            [("size", wintypes.DWORD), ("faults", wintypes.DWORD)]
            + [(name, ctypes.c_size_t) for name in ("peak", "working")]
            + [(f"value{k}", ctypes.c_size_t) for k in range(6)]
        )

    counters = Counters()
    counters.size = ctypes.sizeof(Counters)
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
        return 0
    return int(counters.peak)
