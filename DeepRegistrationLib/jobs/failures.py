"""What went wrong, as one category and one sentence."""

from __future__ import annotations

import signal
from pathlib import Path

from ..core.errors import Cancelled, DeepRegistrationError, DeviceMemoryError, InputError, OutputError
from ..methods.memory import is_out_of_memory

_BY_CATEGORY: dict[str, type[DeepRegistrationError]] = {
    "input": InputError,
    "output": OutputError,
    "memory": DeviceMemoryError,
    "cancelled": Cancelled,
}


def cancelled(task: str) -> str:
    """The sentence for a job of that task (see folder.TASKS) that the user ended."""
    return str(Cancelled()) if task == "registration" else f"The {task} was cancelled."


def describe_error(error: BaseException, task: str = "registration") -> tuple[str, str]:
    """(category, sentence) of an exception during a `task`; see events.CATEGORIES."""
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        own = isinstance(error, Cancelled) and str(error) != str(Cancelled())  # says more: what was kept ...
        return "cancelled", str(error) if own else cancelled(task)
    for category, kind in _BY_CATEGORY.items():
        if isinstance(error, kind):
            return category, str(error)
    if is_out_of_memory(error):
        return "memory", (
            f"The computer ran out of memory during the {task}; crop or resample the images, "
            "or close other programs, and run again."
        )
    if isinstance(error, DeepRegistrationError):
        return "crash", str(error)
    text = " ".join(str(error).split())[:300]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return "crash", f"A Python package is missing ({said}); install it and run again."
    return (
        "crash",
        f"The {task} failed because of an error in the program ({said}); the log has the details.",
    )


def error_from(category: str, text: str) -> DeepRegistrationError:
    """The exception that stands for a worker's error event."""
    return _BY_CATEGORY.get(category, DeepRegistrationError)(text)


def describe_exit(
    code: int | None, log: str, memory_ran_out: bool, task: str = "registration"
) -> tuple[str, str]:
    """(category, sentence) of a worker that ended in the middle of a `task`.

    code            as subprocess gives it: negative for a signal
    log             what it had written
    memory_ran_out  whether the system ended a process for want of memory meanwhile
    """
    if memory_ran_out:
        return "memory", (
            f"The system ended the {task} because the computer ran out of memory; crop or resample the "
            "images, or close other programs, and run again."
        )
    if code is not None and -code in (getattr(signal, "SIGKILL", 9), signal.SIGTERM):
        return "killed", (
            f"The {task} process was ended from outside (signal {-code}); if nobody did that, "
            "the computer may have run out of memory. Run again, with smaller images if it happens twice."
        )
    last = _last_error(log)
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return "crash", f"The {task} process crashed ({name}{last}); the log has the details."
    return (
        "crash",
        f"The {task} process stopped unexpectedly (exit code {code}{last}); the log has the details.",
    )


def _last_error(log: str) -> str:
    """The last line that looks like what Python prints for an exception, after a colon."""
    for line in reversed(log.splitlines()):
        head = line.split(":")[0].strip()
        if head.endswith(("Error", "Exception")) and " " not in head:
            return f": {line.strip()[:200]}"
    return ""


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory so far; Linux only, 0 elsewhere."""
    count = 0
    for path, key in (("/proc/vmstat", "oom_kill "), ("/sys/fs/cgroup/memory.events", "oom_kill ")):
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        count += sum(int(line.split()[1]) for line in lines if line.startswith(key))
    return count
