"""What a result depends on besides the input."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

_PACKAGES = ("torch", "numpy", "scipy", "SimpleITK")


def library_version() -> str:
    from .. import __version__

    return __version__


def versions() -> dict[str, str]:
    """Version by name: the library, Python, the system and the packages that compute."""
    found = {
        "DeepRegistration": library_version(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
