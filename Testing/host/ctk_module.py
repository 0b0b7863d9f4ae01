"""The module `ctk` of Slicer's Python, as far as modules here use it."""

from __future__ import annotations

import sys
from types import ModuleType

from . import ctk_buttons, ctk_numbers, ctk_texts
from .ui_loader import register


def build() -> ModuleType:
    """Make the module, register it under its name and make its widgets known to .ui files."""
    module = ModuleType("ctk", "Stand-in for Slicer's module ctk on PySide6.")
    for source in (ctk_buttons, ctk_numbers, ctk_texts):
        for name, value in vars(source).items():
            if name.startswith("ctk") and isinstance(value, type):
                setattr(module, name, value)
                register(value)
    sys.modules["ctk"] = module
    return module
