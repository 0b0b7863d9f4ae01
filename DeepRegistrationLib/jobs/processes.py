"""Starting a process that can be ended together with everything it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

#: s; the most that waiting for a killed process may take
_PATIENCE = 0.8
#: flags of Windows; the names exist only there
_NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def start(command: Sequence[str], environment: Mapping[str, str], folder: str) -> subprocess.Popen[bytes]:
    """Start `command` with pipes, in a session (POSIX) or process group (Windows) of its own, without a
    console window.

    Raises OSError where it cannot be started.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        creationflags=_NO_WINDOW | _NEW_GROUP,
        start_new_session=os.name != "nt",
    )


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End the process and its descendants at once; returns in less than a second."""
    if os.name == "nt":
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["taskkill", "/PID", str(process.pid), "/T", "/F"],
                capture_output=True,
                timeout=_PATIENCE,
                creationflags=_NO_WINDOW,
            )
    else:
        # the session's first process has the number of its group, which lasts while any member lives
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def is_alive(pid: int) -> bool:
    """Whether a process of that number exists."""
    if os.name == "nt":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there but belongs to somebody else
    return True


def _is_alive_on_windows(pid: int) -> bool:
    # os.kill(pid, 0) would send Ctrl-C there
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return code.value == still_active
