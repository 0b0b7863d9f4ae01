"""Without PyTorch the panel says so and offers to install it: through its extension, with consent."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from DeepRegistrationLib.core.errors import DeepRegistrationError


class FakeExtension(ModuleType):
    """What PyTorchUtils offers, as far as it is used here."""

    def __init__(self, answer: object) -> None:
        super().__init__("PyTorchUtils")
        asked: list[bool] = []
        self.asked = asked

        class PyTorchUtilsLogic:
            def installTorch(self, askConfirmation: bool = False) -> object:
                asked.append(askConfirmation)
                return answer

        self.PyTorchUtilsLogic = PyTorchUtilsLogic


@pytest.mark.parametrize("agrees", [True, False])
def test_button_installs_with_consent(
    panel: Any, volumes: Any, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    import DeepRegistrationLib.gui.panel as source

    there = False
    monkeypatch.setattr(source, "torch_is_installed", lambda: there)
    extension = FakeExtension(object() if agrees else None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    panel.choose(*volumes)
    assert panel.ui.torchFrame.visible
    assert not panel.ui.applyButton.enabled and "PyTorch" in panel.ui.applyButton.toolTip
    there = agrees
    panel.ui.torchButton.click()
    assert extension.asked == [True]
    assert panel.ui.applyButton.enabled == agrees and panel.ui.torchFrame.visible != agrees


def test_without_the_extension_one_sentence(
    panel: Any, volumes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    from DeepRegistrationLib.gui.torch_setup import install_torch

    with pytest.raises(DeepRegistrationError, match="Extensions Manager"):
        install_torch()
    panel.ui.torchButton.click()
    assert "Extensions Manager" in panel.ui.messageLabel.text


def test_the_application_never_loads_torch() -> None:
    """Opening the panel, choosing volumes and writing a job: no torch in this process."""
    code = """
import sys, numpy as np
sys.path[:0] = [{checkout!r}, {testing!r}]
import host
user = host.start().load_module({module!r})
import slicer.util
a, b = (slicer.util.addVolumeFromArray(np.random.rand(9, 9, 9), np.eye(4), n) for n in "ab")
user.widget.ui.fixedSelector.setCurrentNode(a)
user.widget.ui.movingSelector.setCurrentNode(b)
from DeepRegistrationLib.mrml.inputs import InputNodes
from DeepRegistrationLib.mrml.order import write_order
order = write_order(InputNodes(a, b), "any")
assert (order.folder.path / "fixed.nrrd").exists()
order.folder.remove()
assert "torch" not in sys.modules
"""
    from pathlib import Path

    checkout = Path(__file__).resolve().parents[2]
    module = str(checkout / "DeepRegistration" / "DeepRegistration.py")
    source = code.format(checkout=str(checkout), testing=str(checkout / "Testing"), module=module)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
