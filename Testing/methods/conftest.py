"""Models of the network in told.py, alone in the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from DeepRegistrationLib.networks import catalogue
from methods.told import Models


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    from DeepRegistrationLib.io import model_cards

    found = Models(tmp_path / "models")
    monkeypatch.setattr(catalogue, "build", found.build)
    monkeypatch.setenv(model_cards.ENVIRONMENT, str(found.folder))
    monkeypatch.setattr(model_cards, "user_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(model_cards, "shipped_folder", lambda: tmp_path / "shipped")
    return found
