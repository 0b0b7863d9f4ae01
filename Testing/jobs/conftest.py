"""A warm worker, and a small pair as files."""

from __future__ import annotations

import pytest
import torch

from core.grids import some_points
from DeepRegistrationLib import io
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.jobs import Runner
from jobs.working import FIXED, LAUNCH, MOVING


@pytest.fixture(scope="module")
def runner():
    with Runner(LAUNCH) as runner:
        yield runner


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A smooth pair with landmarks, as files: fixed, moving, and points inside both."""
    folder = tmp_path_factory.mktemp("pair")
    paths = {}
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        x = grid.world_points(dtype=torch.float64)
        values = 500 + 300 * torch.sin(x[..., 0] / 6) * torch.cos(x[..., 1] / 7) + 100 * torch.sin(x[..., 2] / 5)
        paths[name] = str(folder / f"{name}.nrrd")
        io.write_image(Image(values.to(torch.float32)[None], grid), paths[name])
    points = some_points(FIXED, 12, margin=2)
    for side, shift in (("fixed", 0.0), ("moving", 1.0)):
        paths[f"{side}_landmarks"] = str(folder / f"{side}.mrk.json")
        io.write_points(PointSet(points + shift), paths[f"{side}_landmarks"])
    return paths
