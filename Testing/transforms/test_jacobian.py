"""The Jacobian determinant against SimpleITK, closed forms and a turned world."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from core.grids import GRIDS, linear_map, rotation, wavy
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import DisplacementField, VelocityField, jacobian
from DeepRegistrationLib.transforms.jacobian import determinant

inner2, inner3 = (slice(1, -1),) * 2, (slice(1, -1),) * 3


@pytest.mark.parametrize("name", ["plain", "anisotropic", "flat plain"])
def test_as_simpleitk_on_grids_along_the_world_axes(name):
    grid = GRIDS[name]
    field = wavy(grid, 2.0)
    itk = sitk.Compose([sitk.GetImageFromArray(u.numpy()) for u in field.field])
    itk.SetSpacing(grid.spacing)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(itk))
    ours = field.jacobian_determinant(grid).numpy()
    inner = inner2 if grid.dimension == 2 else inner3  # ITK takes another rule at the border
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-4)
    assert np.ptp(ours) > 0.1


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_of_a_linear_map_it_is_the_determinant_everywhere(grid):
    transform = linear_map(grid, 5)
    expected = float(np.linalg.det(transform.matrix))
    got = determinant(transform.displacement(grid), grid)
    np.testing.assert_allclose(got, expected, rtol=2e-3)
    np.testing.assert_allclose(transform.jacobian_determinant(grid), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["anisotropic", "oblique", "left-handed", "flat plain", "flat left-handed"])
def test_turning_the_world_changes_nothing(name):
    grid = GRIDS[name]
    turn = rotation(40.0) if grid.dimension == 2 else rotation(40.0, -20.0, 75.0)
    turned = Grid(grid.size, grid.spacing, turn @ np.array(grid.origin), turn @ np.array(grid.direction))
    u = wavy(grid, 2.0).field
    v = torch.einsum("ij,j...->i...", torch.from_numpy(turn).float(), u)
    torch.testing.assert_close(determinant(v, turned), determinant(u, grid), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["oblique", "flat oblique"])
def test_slabs_put_together_are_the_whole(name, monkeypatch):
    grid = GRIDS[name]
    u = wavy(grid, 2.0).field
    whole = determinant(u, grid)
    monkeypatch.setattr(jacobian, "BLOCK", grid.voxels // grid.size[-1])
    torch.testing.assert_close(determinant(u, grid), whole, rtol=0, atol=0)


def test_one_slice_moves_only_in_its_plane():
    grid = Grid((6, 5, 1), (1, 2, 3))
    x = grid.world_points()
    field = torch.movedim(x * torch.tensor([0.1, 0.2, 0.7]), -1, 0)
    np.testing.assert_allclose(determinant(field, grid), 1.1 * 1.2, rtol=1e-5)


def test_a_mirror_folds_everywhere_and_exp_nowhere():
    grid = GRIDS["plain"]
    mirror = torch.movedim(-2 * grid.world_points() * torch.tensor([1.0, 0, 0]), -1, 0)
    np.testing.assert_allclose(DisplacementField(mirror, grid).jacobian_determinant(grid), -1, atol=1e-5)
    flow = VelocityField(wavy(grid, 3.0).field, grid)
    assert float(flow.jacobian_determinant(grid).min()) > 0


def test_gradients_pass():
    u = wavy(GRIDS["flat oblique"], 1.0).field.requires_grad_()
    determinant(u, GRIDS["flat oblique"]).sum().backward()
    assert float(u.grad.abs().sum()) > 0
