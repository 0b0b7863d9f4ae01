"""Adds the stand-in's widgets to the package `slicer`, and makes them known to .ui files."""

from __future__ import annotations

import slicer

from . import module_manager, mrml_views, mrml_widgets, node_combo_box
from .ui_loader import register


def build() -> None:
    for source in (mrml_widgets, node_combo_box, mrml_views, module_manager):
        for name, value in vars(source).items():
            if name.startswith(("qMRML", "qSlicer")) and isinstance(value, type):
                setattr(slicer, name, value)
                register(value)
