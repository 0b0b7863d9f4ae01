"""Environment of a process that draws without a screen; to be set before vtk or Qt is imported."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

PACKAGES_FILE = Path(__file__).with_name("apt-packages.txt")


class MissingLibrary(RuntimeError):
    """A system library that drawing needs is absent."""


def apt_packages() -> list[str]:
    """Debian and Ubuntu packages that the host needs, in the order of the file."""
    lines = PACKAGES_FILE.read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def render_window_class() -> str:
    """VTK's render window that works here without a screen; raises MissingLibrary where none does."""
    if _loads("libEGL.so.1"):
        return "vtkEGLRenderWindow"
    if _loads("libOSMesa.so.8") or _loads("libOSMesa.so.6"):
        return "vtkOSOpenGLRenderWindow"
    packages = " ".join(apt_packages())
    raise MissingLibrary(
        "Neither libEGL.so.1 nor libOSMesa was found, so VTK cannot draw; on Debian or Ubuntu type: "
        f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}"
    )


def prepare() -> None:
    """Choose the render window and Qt's platform; choices of the caller's own environment are kept."""
    # VTK takes an empty value for a class name and fails.
    if not os.environ.get("VTK_DEFAULT_OPENGL_WINDOW"):
        os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = render_window_class()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # Pictures come out alike on every machine.
    os.environ.setdefault("QT_SCALE_FACTOR", "1")
