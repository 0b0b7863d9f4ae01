"""Surface distances against every pair of surface voxels, closed forms and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.metrics import surface_distances, surface_distances_by_label


def _surface_points(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Voxels with a face neighbour outside, one by one."""
    found = []
    for index in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                other = index.copy()
                other[axis] += step
                if not (0 <= other[axis] < mask.shape[axis]) or not mask[tuple(other)]:
                    found.append(tuple(index))
    return np.array(sorted(set(found))) * np.array(spacing)[::-1]


def _brute(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, float]:
    pa, pb = _surface_points(a, spacing), _surface_points(b, spacing)
    d = np.linalg.norm(pa[:, None] - pb[None], axis=-1)
    pooled = np.concatenate([d.min(axis=1), d.min(axis=0)])
    return float(np.percentile(pooled, 95)), float(pooled.mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 4.0), (2.0, 3.0)])
def test_agrees_with_every_pair_of_voxels(seed: int, spacing: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    shape = (9, 10, 11)[-len(spacing) :]
    a, b = rng.random((2, *shape)) > 0.8
    hd95, mean = _brute(a, b, spacing)
    found = surface_distances(a, b, spacing)
    assert found is not None
    assert found.hd95 == pytest.approx(hd95, abs=1e-9)
    assert found.mean == pytest.approx(mean, abs=1e-9)


def test_shifted_slab_is_its_shift_apart() -> None:
    a = np.zeros((30, 20, 20), dtype=bool)
    b = a.copy()
    a[5:10], b[9:14] = True, True
    found = surface_distances(a, b, (1.0, 1.0, 2.5))  # 4 voxels of 2.5 mm along z
    assert found is not None and found.hd95 == pytest.approx(10.0)


def test_same_mask_has_no_distance_and_an_empty_one_none() -> None:
    a = np.zeros((6, 6), dtype=bool)
    a[2:4, 1:5] = True
    same = surface_distances(a, a, (1.0, 1.0))
    assert same is not None and same.hd95 == 0 and same.mean == 0
    assert surface_distances(a, np.zeros_like(a), (1.0, 1.0)) is None


def test_largest_distance_agrees_with_simpleitk() -> None:
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:24, :28, :26]
    a = (x - 12) ** 2 + (y - 13) ** 2 + (z - 11) ** 2 < 60
    b = (x - 14) ** 2 + 1.5 * (y - 12) ** 2 + (z - 12) ** 2 < 70 + 4 * rng.random(x.shape)
    spacing = (0.8, 1.1, 2.3)
    images = [sitk.GetImageFromArray(m.astype(np.uint8)) for m in (a, b)]
    for image in images:
        image.SetSpacing(spacing)
    distance = [
        sitk.Abs(sitk.SignedMaurerDistanceMap(sitk.LabelContour(i), False, False, True)) for i in images
    ]
    contour = [sitk.GetArrayFromImage(sitk.LabelContour(i)) > 0 for i in images]
    pooled = np.concatenate(
        [sitk.GetArrayFromImage(distance[1])[contour[0]], sitk.GetArrayFromImage(distance[0])[contour[1]]]
    )
    found = surface_distances(a, b, spacing)
    assert found is not None
    assert found.hd95 == pytest.approx(np.percentile(pooled, 95), abs=1e-4)
    assert found.mean == pytest.approx(pooled.mean(), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_labels_are_measured_one_by_one_wherever_they_lie(dtype: torch.dtype) -> None:
    """Cropping to a label's box changes nothing, also at the border and with gaps in the list."""
    rng = np.random.default_rng(3)
    grid = Grid((16, 14, 12), (1.0, 2.0, 3.0))
    maps = [rng.integers(0, 5, grid.shape) * (rng.random(grid.shape) > 0.7) for _ in range(2)]
    images = [Image(torch.from_numpy(m).to(dtype)[None], grid, ImageKind.LABELS) for m in maps]
    found = surface_distances_by_label(*images, [1, 3, 4, 9])
    assert found[9] is None
    for v in (1, 3, 4):
        expected = _brute(maps[0] == v, maps[1] == v, grid.spacing)
        assert (found[v].hd95, found[v].mean) == pytest.approx(expected, abs=1e-9)  # type: ignore[union-attr]
