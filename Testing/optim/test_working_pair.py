"""The two scans on one grid: its geometry, and what of them is known and trusted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.optim.working_pair import one_hot, pooled, prepare, working_grid
from DeepRegistrationLib.transforms import Affine

GRID = Grid((12, 10, 8), (2.0, 2.0, 2.0), (-7.0, 4.0, 11.0))
TILTED = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def noise(grid: Grid, seed: int = 0, channels: int = 1) -> Image:
    g = torch.Generator().manual_seed(seed)
    return Image(torch.randn((channels, *grid.shape), generator=g), grid)


def ramp(grid: Grid) -> Image:
    """3 x - 2 y + z of the world."""
    x = grid.world_points()
    return Image((3 * x[..., 0] - 2 * x[..., 1] + x[..., 2])[None], grid)


def mask(grid: Grid, *inside: slice) -> Image:
    data = torch.zeros((1, *grid.shape), dtype=torch.uint8)
    data[(0, *inside)] = 1
    return Image(data, grid, ImageKind.MASK)


def edges(grid: Grid) -> np.ndarray:
    return grid.world_from_index([[-0.5] * grid.dimension, [n - 0.5 for n in grid.size]])


class TestWorkingGrid:
    def test_isotropic_grid_is_kept(self) -> None:
        assert working_grid(GRID, None) is GRID
        assert working_grid(GRID, 2.05) is GRID

    def test_automatic_spacing_is_the_geometric_mean(self) -> None:
        fixed = Grid((40, 40, 10), (1.0, 1.0, 8.0), (5.0, -3.0, 2.0), TILTED)
        found = working_grid(fixed, None)
        assert found.size == (20, 20, 40)
        assert found.spacing == pytest.approx((2.0, 2.0, 2.0))
        assert found.direction == fixed.direction

    @pytest.mark.parametrize("spacing", [None, 1.3, 5.0, 100.0])
    def test_field_of_view_is_kept(self, spacing: float | None) -> None:
        fixed = Grid((33, 40, 11), (0.9, 1.1, 5.0), (5.0, -3.0, 2.0), TILTED)
        found = working_grid(fixed, spacing)
        np.testing.assert_allclose(edges(found), edges(fixed), atol=1e-9)
        if spacing is not None and spacing < 10:
            # whole voxels must fill it: half a voxel is spread over each axis
            assert all(abs(e / spacing - n) <= 0.5 for e, n in zip(fixed.extent, found.size, strict=True))

    def test_very_many_voxels_are_not_asked_for(self) -> None:
        fixed = Grid((512, 512, 400), (0.8, 0.8, 0.8))
        assert working_grid(fixed, None).voxels == pytest.approx(12e6, rel=0.02)
        assert working_grid(fixed, 0.8) is fixed  # unless one says so

    def test_two_dimensions(self) -> None:
        found = working_grid(Grid((100, 50), (1.0, 4.0)), None)
        assert found.size == (50, 100)
        assert found.spacing == pytest.approx((2.0, 2.0))


class TestPrepare:
    def test_images_on_the_grid_stay_as_they_are(self) -> None:
        problem = RegistrationProblem(noise(GRID), noise(GRID, 1))
        pair = prepare(problem, GRID, None, None)
        assert torch.equal(pair.fixed, problem.fixed.data[0])
        assert torch.equal(pair.moving, problem.moving.data[0])
        assert pair.trust is None
        assert torch.equal(pair.known, torch.ones(GRID.shape))

    def test_moving_is_taken_through_the_prealignment(self) -> None:
        moving = ramp(Grid((40, 40, 40), (2.0, 2.0, 2.0), (-40.0, -35.0, -20.0), TILTED))
        shift = Affine.from_translation([5.0, -4.0, 3.0])
        pair = prepare(RegistrationProblem(ramp(GRID), moving), GRID, shift, None)
        expected = ramp(GRID).data[0] + 3 * 5 + 2 * 4 + 3
        assert torch.allclose(pair.moving, expected, atol=1e-3)
        assert torch.allclose(pair.fixed, ramp(GRID).data[0], atol=1e-4)

    def test_known_ends_with_the_moving_field_of_view(self) -> None:
        """8 mm are 4 voxels: the last four columns look beyond it, and get its least value."""
        problem = RegistrationProblem(noise(GRID), noise(GRID, 1))
        pair = prepare(problem, GRID, Affine.from_translation([8.0, 0.0, 0.0]), None)
        assert torch.equal(pair.known[..., :8], torch.ones(8, 10, 8))
        assert torch.equal(pair.known[..., 8:], torch.zeros(8, 10, 4))
        assert torch.equal(pair.moving[..., 8:], torch.full((8, 10, 4), float(problem.moving.data.min())))

    def test_moving_mask_and_field_of_view_both_count(self) -> None:
        problem = RegistrationProblem(
            noise(GRID), noise(GRID, 1), moving_mask=mask(GRID, slice(None), slice(2, 7), slice(5, None))
        )
        pair = prepare(problem, GRID, Affine.from_translation([4.0, 0.0, 0.0]), None)
        expected = torch.zeros(GRID.shape)
        expected[:, 2:7, 3:10] = 1
        assert torch.equal(pair.known, expected)
        assert pair.trust is None

    def test_a_mask_wider_than_the_moving_image_adds_nothing(self) -> None:
        wide = GRID.padded(6)
        problem = RegistrationProblem(noise(GRID), noise(GRID, 1), moving_mask=mask(wide, slice(None)))
        pair = prepare(problem, GRID, Affine.from_translation([8.0, 0.0, 0.0]), None)
        assert float(pair.known[..., :8].min()) == 1 and float(pair.known[..., 8:].max()) == 0

    def test_fixed_mask_is_trust_and_is_not_moved(self) -> None:
        fine = Grid((24, 20, 16), (1.0, 1.0, 1.0), np.array(GRID.origin) - 0.5)
        problem = RegistrationProblem(
            noise(GRID), noise(GRID, 1), fixed_mask=mask(fine, slice(4, 10), slice(None), slice(6, 20))
        )
        pair = prepare(problem, GRID, Affine.from_translation([4.0, 0.0, 0.0]), None)
        expected = torch.zeros(GRID.shape)
        expected[2:5, :, 3:10] = 1
        assert pair.trust is not None and torch.equal(pair.trust, expected)

    def test_trust_ends_where_the_mask_image_ends(self) -> None:
        small = Grid((4, 10, 8), GRID.spacing, GRID.origin)
        problem = RegistrationProblem(noise(GRID), noise(GRID, 1), fixed_mask=mask(small, slice(None)))
        pair = prepare(problem, GRID, None, None)
        assert pair.trust is not None
        assert float(pair.trust[..., :4].min()) == 1 and float(pair.trust[..., 4:].max()) == 0

    def test_intensities_end_at_the_window(self) -> None:
        problem = RegistrationProblem(noise(GRID), noise(GRID, 1))
        pair = prepare(problem, GRID, None, (-0.5, 0.25))
        assert torch.equal(pair.fixed, problem.fixed.data[0].clamp(-0.5, 0.25))
        assert torch.equal(pair.moving, problem.moving.data[0].clamp(-0.5, 0.25))

    def test_colour_becomes_its_mean(self) -> None:
        colour = noise(GRID, channels=3)
        pair = prepare(RegistrationProblem(colour, colour), GRID, None, None)
        assert torch.allclose(pair.fixed, colour.data.mean(dim=0))
        assert torch.allclose(pair.moving, colour.data.mean(dim=0))

    def test_much_finer_voxels_are_averaged_not_picked(self) -> None:
        fine = Grid([4 * n for n in GRID.size], (0.5,) * 3, np.array(GRID.origin) - 0.75)
        image = noise(fine)
        blocks = image.data.reshape(8, 4, 10, 4, 12, 4).mean(dim=(1, 3, 5))
        pair = prepare(RegistrationProblem(image, image), GRID, None, None)
        assert torch.allclose(pair.fixed, blocks, atol=1e-4)
        assert torch.allclose(pair.moving, blocks, atol=1e-4)

    def test_whole_numbers_and_two_dimensions(self) -> None:
        grid = Grid((9, 7), (1.0, 1.0))
        image = Image(torch.arange(63, dtype=torch.int16).reshape(1, 7, 9), grid)
        pair = prepare(RegistrationProblem(image, image), grid, None, (10.0, 50.0))
        assert pair.fixed.dtype == pair.moving.dtype == torch.float32
        assert pair.fixed.flatten().tolist() == [min(max(k, 10.0), 50.0) for k in range(63)]


@pytest.mark.parametrize(
    ("shape", "factor", "expected"), [((6, 9), 3, (2, 3)), ((5, 7, 8), 2, (2, 3, 4)), ((1, 4, 4), 2, (1, 2, 2))]
)
def test_pooled_is_the_mean_of_whole_blocks(shape: tuple[int, ...], factor: int, expected: tuple[int, ...]) -> None:
    values = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    found = pooled(values, factor)
    assert found.shape == (2, *expected)
    for cell in np.ndindex(*expected):
        block = tuple(slice(factor * i, factor * i + min(factor, n)) for i, n in zip(cell, shape, strict=True))
        mean = values[(slice(None), *block)].reshape(2, -1).mean(dim=1)
        assert torch.allclose(found[(slice(None), *cell)], mean, atol=1e-6)
    assert torch.equal(pooled(values, 1), values)


class TestOneHot:
    def labels(self, grid: Grid) -> Image:
        data = torch.randint(0, 4, (1, *grid.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return Image(data, grid, ImageKind.LABELS)

    def test_shares_are_those_of_each_block(self) -> None:
        labels = self.labels(GRID)
        shares = one_hot(labels, GRID, None, [1, 3], 2)
        assert shares.shape == (2, 4, 5, 6)
        for z, y, x in np.ndindex(4, 5, 6):
            block = labels.data[0, 2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            assert shares[:, z, y, x].tolist() == [float((block == v).sum()) / 8 for v in (1, 3)]

    def test_all_labels_together_fill_the_image(self) -> None:
        shares = one_hot(self.labels(GRID), GRID, None, [0, 1, 2, 3], 2)
        assert torch.allclose(shares.sum(dim=0), torch.ones(4, 5, 6))

    def test_labels_go_through_the_transform_and_end_with_their_image(self) -> None:
        labels = self.labels(GRID)
        shares = one_hot(labels, GRID, Affine.from_translation([8.0, 0.0, 0.0]), [1, 2, 3], 2)
        there = one_hot(labels, GRID, None, [1, 2, 3], 2)
        assert torch.equal(shares[..., :4], there[..., 2:])
        assert float(shares[..., 4:].abs().max()) == 0
