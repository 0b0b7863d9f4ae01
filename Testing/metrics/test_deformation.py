"""Jacobians, folding, inverse and likeness against closed forms and ITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.metrics import deformation_statistics, inverse_consistency, similarity
from DeepRegistrationLib.metrics.deformation import jacobian_by_label, jacobian_of, measured_region
from DeepRegistrationLib.transforms import Affine, DisplacementField
from DeepRegistrationLib.transforms.compose import as_displacement_field
from phantoms import Motion, random_bumps


def _turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


OBLIQUE = Grid((31, 27, 22), (1.5, 2.0, 2.6), (-20.0, 35.0, 70.0), _turn(20) @ np.diag([1.0, -1.0, 1.0]))


def _bent(grid: Grid, maximum: float = 6.0) -> Motion:
    half = np.array(grid.extent) / 2
    return Motion(grid.dimension, random_bumps(np.random.default_rng(4), grid.centre, half, maximum))


def test_jacobian_of_a_sampled_field_converges_to_the_exact_one() -> None:
    motion, errors = _bent(OBLIQUE), []
    for factor in (1, 2):
        grid = OBLIQUE.with_size([n * factor for n in OBLIQUE.size])
        sampled = jacobian_of(as_displacement_field(motion, grid), grid)
        inner = measured_region(grid, None)
        errors.append(float(np.abs(sampled - motion.jacobian_determinant(grid).numpy())[inner].max()))
    assert errors[0] < 0.03
    assert errors[1] < 0.4 * errors[0]  # second order: a quarter


def test_jacobian_agrees_with_itk() -> None:
    """ITK differentiates along index axes, so on a grid without rotation."""
    grid = Grid((24, 26, 22), (1.5, 2.0, 2.6))
    field = as_displacement_field(_bent(grid), grid)
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(field.field.permute(1, 2, 3, 0).numpy()), isVector=True
    )
    image.SetSpacing(grid.spacing)
    judge = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    inner = measured_region(grid, None)
    assert np.abs(judge - jacobian_of(field, grid))[inner].max() < 1e-5


def test_slabs_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    field = as_displacement_field(_bent(OBLIQUE), OBLIQUE)
    whole = jacobian_of(field, OBLIQUE)
    monkeypatch.setattr("DeepRegistrationLib.metrics.deformation._BLOCK", 3 * 31 * 27)
    assert np.array_equal(jacobian_of(field, OBLIQUE), whole)


def test_affine_map_has_one_determinant_everywhere() -> None:
    matrix = np.array([[1.1, 0.1, 0], [-0.05, 0.9, 0.1], [0, 0.02, 1.05]])
    affine = Affine(matrix, [3.0, -4.0, 5.0])
    for transform in (affine, as_displacement_field(affine, OBLIQUE)):
        u = transform.displacement(OBLIQUE)
        s = deformation_statistics(jacobian_of(transform, OBLIQUE, u), u, measured_region(OBLIQUE, None))
        assert s.jacobian.minimum == pytest.approx(np.linalg.det(matrix), abs=1e-4)
        assert s.jacobian.maximum == pytest.approx(np.linalg.det(matrix), abs=1e-4)
        assert s.jacobian.sd_log == pytest.approx(0, abs=1e-4)
        assert s.jacobian.folding_percent == 0


def test_mirror_folds_everywhere_and_half_a_mirror_in_its_half() -> None:
    grid = Grid((20, 8, 6))
    u = torch.zeros(3, *grid.shape)
    x = torch.arange(20.0)
    u[0] = torch.where(x < 10, -2 * x, -18 - 0 * x)
    s = deformation_statistics(jacobian_of(DisplacementField(u, grid), grid), u, measured_region(grid, None))
    # det is -1 up to voxel 8, 1 + (u10 - u8) / 2 = 0 at 9 and 1 beyond: 9 of the 18 inner columns
    assert s.jacobian.folding_percent == pytest.approx(50.0)
    assert s.jacobian.minimum == pytest.approx(-1.0) and s.jacobian.maximum == pytest.approx(1.0)
    assert s.displacement_max == pytest.approx(18.0)


def test_statistics_stay_inside_the_mask() -> None:
    grid = Grid((20, 12, 10))
    u = torch.zeros(3, *grid.shape)
    u[0, :, :, 12:] = 7.0
    mask = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    mask[..., 2:9] = 1
    region = measured_region(grid, Image(mask, grid, ImageKind.MASK))
    s = deformation_statistics(jacobian_of(DisplacementField(u, grid), grid), u, region)
    assert s.displacement_max == 0 and s.jacobian.maximum == 1 and s.jacobian.voxels == 8 * 10 * 7
    with pytest.raises(InputError, match="no voxel"):
        measured_region(grid, Image(torch.zeros_like(mask), grid, ImageKind.MASK))


def test_each_label_gets_its_own_volume_change() -> None:
    """Left half grows by 1.1 along x, the right one shrinks by 0.8."""
    grid = Grid((40, 10, 10))
    x = torch.arange(40.0).expand(grid.shape)
    u = torch.zeros(3, *grid.shape)
    u[0] = torch.where(x < 20, 0.1 * (x - 20), -0.2 * (x - 20))
    labels = torch.where(x < 19, 3, torch.where(x > 21, 8, 0))
    found = jacobian_by_label(
        jacobian_of(DisplacementField(u, grid), grid), Image(labels[None], grid, ImageKind.LABELS), [3, 8, 9]
    )
    assert found[3].mean == pytest.approx(1.1, abs=1e-5)  # type: ignore[union-attr]
    assert found[8].mean == pytest.approx(0.8, abs=1e-5)  # type: ignore[union-attr]
    assert found[9] is None


def test_inverse_consistency_is_the_error_of_the_inverse() -> None:
    motion = _bent(OBLIQUE)
    exact = inverse_consistency(motion, motion.inverse().transform, OBLIQUE, OBLIQUE)
    assert exact is not None and exact.maximum < 0.005
    off = Affine.from_translation([0.3, 0.0, -0.4])
    both = inverse_consistency(off, Affine.identity(3), OBLIQUE, OBLIQUE)
    assert both is not None
    assert both.mean == pytest.approx(0.5) and both.p95 == pytest.approx(0.5)
    away = Affine.from_translation([900.0, 0.0, 0.0])
    assert inverse_consistency(away, Affine.identity(3), OBLIQUE, OBLIQUE) is None


def test_likeness_agrees_with_numpy_and_knows_independence() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(1, 30, 30)).astype(np.float32) + 1000
    grid = Grid((30, 30))
    image = Image(torch.from_numpy(a), grid)
    inverted = Image(torch.from_numpy(-3 * a + 7), grid)
    noise = Image(torch.from_numpy(rng.normal(size=a.shape).astype(np.float32)), grid)
    assert similarity(image, inverted).ncc == pytest.approx(-1, abs=1e-6)
    assert similarity(image, image).nmi == pytest.approx(2.0)
    expected = np.corrcoef(a.ravel(), noise.data.numpy().ravel())[0, 1]
    assert similarity(image, noise).ncc == pytest.approx(expected, abs=1e-6)
    flat = image.with_data(torch.ones_like(image.data))
    assert similarity(image, flat).ncc is None and similarity(image, flat).nmi is None
    many = rng.integers(0, 2, (2, 1, 200, 200)).astype(np.float32)
    pair = [Image(torch.from_numpy(m), Grid((200, 200))) for m in many]
    assert similarity(*pair).nmi == pytest.approx(1.0, abs=1e-3)
