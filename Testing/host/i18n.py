"""The module `slicer.i18n`: texts stay in English."""

from __future__ import annotations

import sys
from types import ModuleType


def tr(text: str) -> str:
    """The text in the user's language."""
    return text


def translate(context: str, text: str) -> str:
    """The text in the user's language, of a given context."""
    return text


def build() -> ModuleType:
    module = ModuleType("slicer.i18n", "Stand-in for Slicer's translations.")
    module.tr, module.translate = tr, translate
    sys.modules[module.__name__] = module
    return module
