"""A model that learned inside of organs says that it wants a mask of them, and gets it where there is one."""

from __future__ import annotations

from dataclasses import replace

import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.ops.smoothing import gaussian_smooth

GRID = Grid((32, 32, 32), (4.0, 4.0, 4.0))


def _answered(problem: RegistrationProblem) -> tuple[str, torch.Tensor]:
    """What the shipped model says, and its keypoints in the fixed scan, voxels."""
    context = Context(torch.device("cpu"))
    result = register_problem(
        problem, "voxelmorph-plus-plus", values={"initialisation": "none", "refine": False}, context=context
    )
    points = result.points["fixed_correspondences"].points
    return " ".join(context.messages), torch.as_tensor(GRID.index_from_world(points))


def test_a_mask_is_asked_for_and_keypoints_lie_in_it() -> None:
    noise = torch.randn(2, *GRID.shape, generator=torch.Generator().manual_seed(0))
    fixed, moving = (Image(300 * v[None] - 500, GRID) for v in gaussian_smooth(noise, 1.0) / 0.2)
    there = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    there[:, :, :, :16] = 1
    problem = RegistrationProblem(fixed, moving)

    said, points = _answered(problem)
    assert "with a mask of them" in said
    assert points[:, 0].max() > 20

    said, points = _answered(replace(problem, fixed_mask=Image(there, GRID, ImageKind.MASK)))
    assert "mask" not in said
    assert len(points) > 10 and points[:, 0].max() < 16
