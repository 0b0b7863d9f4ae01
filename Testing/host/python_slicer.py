"""The command `PythonSlicer`, which Slicer puts on the path for code that runs outside the application."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def install(home: Path) -> Path:
    """Write the command into the host's folder and put that on the path; it runs this very interpreter."""
    command = home / "bin" / "PythonSlicer"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    os.environ["PATH"] = f"{command.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return command
