"""Fixtures of the host's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import host

EXAMPLE = Path(__file__).parent / "ExampleModule" / "ExampleModule.py"


@pytest.fixture
def slicer_host() -> Iterator[host.Host]:
    """The host with an empty scene."""
    started = host.start()
    started.clear()
    yield started
    started.clear()


@pytest.fixture
def loaded(slicer_host: host.Host) -> Iterator[Any]:
    """The example module, as after somebody has chosen it."""
    module = slicer_host.load_module(EXAMPLE)
    module.representation.enter()
    yield module
    module.representation.exit()


@pytest.fixture
def panel(loaded: Any) -> Any:
    return loaded.widget


@pytest.fixture
def ramp(slicer_host: host.Host) -> Any:
    """A volume of 10 x 10 x 10 voxels with the values 0 to 999."""
    import slicer

    return slicer.util.addVolumeFromArray(np.arange(1000.0).reshape(10, 10, 10), name="Ramp")
