"""Choice of the device and how much memory it has."""

from __future__ import annotations

import os

import torch

from .errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """"auto" is the first CUDA device, else Apple's mps, else the CPU.

    Raises InputError where the asked device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"There is no device {name!r}; give auto, cpu, cuda:0 or mps.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            there = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise InputError(
                f"Device {name!r} was asked for but this computer has {there}; give cpu or auto."
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' was asked for but this computer has none; give cpu or auto.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device {name!r} is not supported; give auto, cpu, cuda:0 or mps.")
    return device


def has_doubles(device: torch.device) -> bool:
    """Whether the device knows float64, which Apple's does not."""
    return device.type != "mps"


def with_doubles(device: torch.device) -> torch.device:
    """The device, or the CPU where the device knows no float64."""
    return device if has_doubles(device) else torch.device("cpu")


def available_memory(device: torch.device) -> int:
    """Bytes that can still be taken on the device; on the CPU also bounded by a container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return _available_host_memory()


def _available_host_memory() -> int:
    free = _linux_available()
    if free is None:
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, ValueError, OSError):
            free = _windows_available()
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _linux_available() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _cgroup(name: str) -> int | None:
    try:
        with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _windows_available() -> int:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)]
            + [(f"value{k}", ctypes.c_ulonglong) for k in range(7)]
        )

    status = Status()
    status.length = ctypes.sizeof(Status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.value1)
