"""A user in front of the module: picks nodes, method and preset in the panel, presses Apply, waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .scene import CaseNodes

MODULE = Path(__file__).resolve().parents[2] / "DeepRegistration" / "DeepRegistration.py"
#: settings that would let the method see what it is measured by
_BLIND = {"segmentation_weight": 0.0, "landmark_weight": 0.0}
#: s until an alignment counts as stuck
_PATIENCE = 1800.0


class Failed(RuntimeError):
    """The panel said that the alignment did not succeed."""


class User:
    """Works the panel of the module by its widgets only."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._loaded = host.load_module(MODULE)
        host.show(self._loaded)

    @property
    def ui(self) -> Any:
        return self._loaded.widget.ui

    @property
    def result(self) -> Any:
        """The nodes and numbers of the last alignment (mrml.results.RegistrationNodes)."""
        from DeepRegistrationLib.mrml.results import nodes_of_result

        return nodes_of_result(self._loaded.widget._parameterNode.result)

    def choose(self, nodes: CaseNodes, method: str, preset: str, device: str) -> None:
        """Pick everything. Segmentations and landmarks are measured but not shown to the method."""
        ui = self.ui
        for side in ("fixed", "moving"):
            getattr(ui, f"{side}Selector").setCurrentNode(nodes.volumes[side])
            if side in nodes.segmentations:
                getattr(ui, f"{side}SegmentationSelector").setCurrentNode(nodes.segmentations[side])
            if side in nodes.landmarks:
                getattr(ui, f"{side}LandmarksSelector").setCurrentNode(nodes.landmarks[side])
        title, presets = self._titles(method)
        if preset not in presets:
            known = ", ".join(filter(None, presets)) or "none"
            raise Failed(f"{title} has no preset '{preset}'; it has {known}.")
        self._pick(ui.methodBox, title)
        self._pick(ui.presetBox, presets[preset])
        if device != "auto":
            self._pick(ui.deviceBox, {"cpu": "Processor (CPU)", "cuda:0": "Graphics card (CUDA)"}[device])
        controls = self._loaded.widget.panel.form.controls
        for name, value in _BLIND.items():
            if name in controls:
                controls[name].widget.setValue(value)

    def align(self, said: Callable[[str, int], None]) -> float:
        """Press Apply and wait; `said` hears of progress (text, per cent). Returns s; raises Failed."""
        ui, panel = self.ui, self._loaded.widget.panel
        if not ui.applyButton.enabled:
            raise Failed(ui.applyButton.toolTip)
        begun = time.monotonic()
        ui.applyButton.click()
        while panel.running:
            self._host.process_events(0.1)
            said(ui.statusLabel.text, ui.progressBar.value)
            if time.monotonic() - begun > _PATIENCE:
                ui.applyButton.click()
                raise Failed(f"The alignment had not ended after {_PATIENCE:.0f} s and was cancelled.")
        if self._loaded.widget._parameterNode.result is None:
            raise Failed(ui.messageLabel.text)
        return time.monotonic() - begun

    def show(self, view: str) -> None:
        """Choose what the views show of the result: "", "pair" or "jacobian"."""
        titles = {
            "": "Leave the views as they are",
            "pair": "Fixed and moved, one over the other",
            "jacobian": "Change of volume (Jacobian determinant)",
        }
        self._pick(self.ui.viewBox, titles[view])
        self._host.process_events()

    def close(self) -> None:
        """Quit: the module ends the process that waits for the next alignment."""
        self._host.unload_module(self._loaded)

    @staticmethod
    def _titles(method: str) -> tuple[str, dict[str, str]]:
        from DeepRegistrationLib.methods import registry

        if method not in registry():
            known = ", ".join(spec.id for spec in registry())
            raise Failed(f"There is no method '{method}'; choose one of {known}.")
        spec = registry()[method]
        return str(spec.title), {"": "Anything else", **{p.id: str(p.title) for p in spec.presets}}

    @staticmethod
    def _pick(box: Any, title: str) -> None:
        titles = [box.itemText(k) for k in range(box.count)]
        box.setCurrentIndex(titles.index(title))
