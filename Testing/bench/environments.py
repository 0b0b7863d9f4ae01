"""One Python environment per peer, made on demand from pinned requirements and kept until those change."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"


class EnvironmentFailed(RuntimeError):
    """The environment could not be made; the message is one sentence for the table."""


def names() -> list[str]:
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def pins(name: str) -> list[str]:
    """The requirement lines of a peer, in the order they are installed."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def python_of(name: str, folder: Path) -> Path:
    """Interpreter of the peer's environment below folder, made where it is absent or its pins have changed.

    Raises EnvironmentFailed where a package cannot be installed.
    """
    home = folder / name
    stamp = home / "installed.txt"
    wanted = "\n".join(pins(name)) + "\n"
    interpreter = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return interpreter
    print(f"making the environment of {name} in {home} (once, a few minutes)", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    flags = shlex.split(os.environ.get("PIP_FLAGS", ""))  # as the Makefile uses it
    with log.open("w") as stream:
        _run([sys.executable, "-m", "venv", str(home)], stream, name, log)
        for line in pins(name):
            _run([str(interpreter), "-m", "pip", "install", "--quiet", *flags, line], stream, name, log)
    stamp.write_text(wanted)
    return interpreter


def _run(command: list[str], stream: object, name: str, log: Path) -> None:
    if subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode:  # type: ignore[call-overload]
        raise EnvironmentFailed(f"'{command[-1]}' could not be installed for {name}; see {log}.")
