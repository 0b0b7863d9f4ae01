"""The module `slicer.packaging` (Slicer 5.11 and newer): checks requirements, and installs nothing here."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement

from .dialogs import popups


def load_requirements(path: str | Path) -> list[Requirement]:
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _requirements(wanted: Any) -> list[Requirement]:
    if isinstance(wanted, Requirement):
        return [wanted]
    words = wanted.split() if isinstance(wanted, str) else wanted
    return [w if isinstance(w, Requirement) else Requirement(w) for w in words]


def pip_check(req: Any) -> bool:
    for requirement in _requirements(req):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if installed not in requirement.specifier:
            return False
    return True


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    skip_packages: Any = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Returns where all is there; else asks, which is recorded, and raises as when the user declines."""
    missing = [str(r) for r in _requirements(requirements) if not pip_check(r)]
    if not missing:
        return
    title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
    popups.record("pip_ensure", title, ", ".join(missing), False)
    raise RuntimeError(f"The test host installs nothing; missing: {', '.join(missing)}")


def pip_install(requirements: Any, **_: Any) -> None:
    raise RuntimeError(f"The test host installs nothing: {requirements}")


def build() -> ModuleType:
    module = ModuleType("slicer.packaging", "Stand-in for Slicer's handling of Python packages.")
    for function in (load_requirements, pip_check, pip_ensure, pip_install):
        setattr(module, function.__name__, function)
    sys.modules[module.__name__] = module
    return module
