"""Two small images as files."""

from __future__ import annotations

import pytest

from DeepRegistrationLib import io
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image


@pytest.fixture(scope="session")
def image_files(tmp_path_factory):
    """Paths of a fixed and a moving image: one blob, 2 and 3 mm apart along x and y."""
    import torch

    folder = tmp_path_factory.mktemp("images")
    grid = Grid((20, 24, 16), (1, 2, 1.5))
    paths = {}
    for name, centre in {"fixed": (10.0, 20.0, 12.0), "moving": (12.0, 23.0, 12.0)}.items():
        distance = ((grid.world_points() - torch.tensor(centre)) ** 2).sum(dim=-1)
        paths[name] = str(folder / f"{name}.nii.gz")
        io.write_image(Image(100 * torch.exp(-distance / 50)[None], grid), paths[name])
    return paths
