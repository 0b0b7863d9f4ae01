"""A widget that cannot be used says why in its tool tip."""

from __future__ import annotations

from typing import Any


def ready(widget: Any, reason: str, tip: str) -> None:
    """Disable `widget` for that reason; without one it can be used, and `tip` says what for."""
    widget.setEnabled(not reason)
    widget.setToolTip(reason or tip)
