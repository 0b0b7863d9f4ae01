"""Puts the stand-in's parts into the package `slicer`, where modules look for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import slicer.util


def _forget_leaked_names() -> None:
    """slicer-core copies the functions of slicer.util into slicer, which Slicer does not."""
    import slicer_core

    kept = {"util", "__all__"}
    for name in dir(slicer.util):
        if name.startswith("_") or name in kept or hasattr(slicer_core, name):
            continue
        if getattr(slicer, name, None) is getattr(slicer.util, name):
            delattr(slicer, name)


def install(application: Any, home: Path) -> Any:
    """Build the scene and register `qt`, `ctk` and the missing modules of `slicer`."""
    from . import (
        ctk_module,
        i18n,
        module_manager,
        mrml_module,
        packaging,
        python_slicer,
        pytorch_extension,
        qt_module,
        scene,
    )

    _forget_leaked_names()
    parts = scene.build(home)
    slicer.mrmlScene = parts.mrml
    slicer.app = application
    module_manager.prepare_namespaces()
    qt_module.build()
    ctk_module.build()
    mrml_module.build()
    slicer.i18n = i18n.build()
    slicer.packaging = packaging.build()
    pytorch_extension.build()
    python_slicer.install(home)

    from . import parameters, scripted_module

    slicer.parameterNodeWrapper = parameters.build()
    slicer.ScriptedLoadableModule = scripted_module.build()
    application._set_up(parts, home)
    for name, logic in parts.logics.items():
        application.moduleManager()._add(module_manager.qSlicerCoreModule(name, logic))
    return parts
