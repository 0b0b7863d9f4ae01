"""The module `PyTorchUtils` of the PyTorch extension: it finds torch, and installs nothing here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from types import ModuleType
from typing import Any

import slicer


class PyTorchUtilsLogic:
    """The part of the extension's logic that other modules call."""

    def __init__(self) -> None:
        self._torch: Any = None

    @property
    def torch(self) -> Any:
        if self._torch is None:
            self._torch = self.importTorch()
        return self._torch

    @property
    def torchVersionInformation(self) -> str:
        if not self.torchInstalled():
            return "not installed"
        return f"installed version {importlib.metadata.version('torch')}"

    @staticmethod
    def torchInstalled() -> bool:
        return importlib.util.find_spec("torch") is not None

    def importTorch(self) -> Any:
        if not self.torchInstalled():
            return self.installTorch()
        import torch

        return torch

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> Any:
        """Asks as the extension does, and returns torch where it is there already; installs nothing."""
        question = "PyTorch will be downloaded and installed."
        if askConfirmation and not slicer.util.confirmOkCancelDisplay(question):
            return None
        if not self.torchInstalled():
            raise RuntimeError("The test host installs nothing")
        return self.importTorch()


def build() -> ModuleType:
    module = ModuleType("PyTorchUtils", "Stand-in for the PyTorch extension.")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    sys.modules[module.__name__] = module
    return module
