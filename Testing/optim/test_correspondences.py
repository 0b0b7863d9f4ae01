"""Matching of keypoints: costs and beliefs against brute force, and a known deformation that is found."""

from __future__ import annotations

import itertools

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.sampling import sample_index
from DeepRegistrationLib.ops.smoothing import gaussian_smooth
from DeepRegistrationLib.optim.correspondence_costs import patch_costs, window_steps
from DeepRegistrationLib.optim.correspondence_graph import Forest, min_marginals, neighbour_edges, spanning_forests
from DeepRegistrationLib.optim.correspondences import (
    CorrespondenceSettings,
    SearchLevel,
    find_correspondences,
    minimum_between,
    search_levels,
)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [2, 3])
def test_costs_are_those_of_every_patch_and_displacement(d: int) -> None:
    shape = (7, 9, 8)[:d]
    fixed, moving = _random(*shape, 4), _random(*shape, 4, seed=1)
    points = torch.tensor([[3, 4, 2], [0, 8, 6], [7, 0, 5]])[:, :d].clamp(max=torch.tensor(shape[::-1]) - 1)
    centres = torch.tensor([[1, -1, 0], [0, 2, 1], [-3, 0, 0]])[:, :d]
    costs = patch_costs(fixed, moving, points, centres, half_width=2, patch=1)
    steps, offsets = window_steps(2, d, points.device), list(itertools.product((-1, 0, 1), repeat=d))

    def at(image: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return image[tuple(int(w.clamp(0, n - 1)) for w, n in zip(where.flip(0), shape, strict=True))]

    for n, k in itertools.product(range(3), range(0, len(steps), 7)):
        total = sum(
            (at(fixed, points[n] + torch.tensor(p)) - at(moving, points[n] + centres[n] + steps[k] + torch.tensor(p)))
            .square()
            .sum()
            for p in offsets
        )
        assert costs[n, k] == pytest.approx(float(total) / len(offsets), abs=1e-4)


def test_unknown_ground_costs_what_is_typical() -> None:
    fixed, moving = _random(5, 6, 7, 3), _random(5, 6, 7, 3, seed=1)
    known = torch.ones(5, 6, 7)
    known[:, :, 4:] = 0
    point, centre = torch.tensor([[3, 3, 2]]), torch.zeros(1, 3, dtype=torch.int64)
    plain = patch_costs(fixed, moving, point, centre, 1)[0]
    costs = patch_costs(fixed, moving, point, centre, 1, known=known)[0]
    seen = window_steps(1, 3, point.device)[:, 0] < 1
    assert torch.equal(costs[seen], plain[seen])
    assert torch.allclose(costs[~seen], plain[seen].mean().expand(9))


def test_min_marginals_are_those_of_all_assignments_of_a_tree() -> None:
    """Five keypoints whose windows have different middles; 9 displacements each, 9^5 assignments."""
    positions = torch.tensor([[0.0, 0], [3, 0], [3, 4], [6, 1], [9, 2]], dtype=torch.float64)
    centres = torch.tensor([[0, 0], [1, 0], [0, -1], [2, 1], [1, 1]])
    parent = torch.tensor([1, -1, 1, 1, 3])
    forest = Forest(parent, [torch.tensor([1]), torch.tensor([0, 2, 3]), torch.tensor([4])])
    costs = 20 * _random(5, 9).to(torch.float64)

    def weight(squared: torch.Tensor) -> torch.Tensor:
        return 5 / squared

    found = min_marginals(costs, forest, positions, centres, 2.0, weight)

    u = centres[:, None] + 2.0 * window_steps(1, 2, costs.device).to(torch.float64)
    every = torch.cartesian_prod(*[torch.arange(9)] * 5)
    energy = torch.stack([costs[n, every[:, n]] for n in range(5)]).sum(dim=0)
    for child in (0, 2, 3, 4):
        other = int(parent[child])
        apart = (u[child][every[:, child]] - u[other][every[:, other]]).square().sum(dim=1)
        energy = energy + 5 / (positions[child] - positions[other]).square().sum() * apart
    for n in range(5):
        least = torch.stack([energy[every[:, n] == k].min() for k in range(9)])
        assert torch.allclose(found[n], least - least.min(), atol=1e-9)
    assert len({int(k) for k in found.argmin(dim=1)}) > 1


def test_spanning_trees_reach_every_point_of_a_connected_part() -> None:
    points = torch.cat([20 * _random(30, 3), 500 + 20 * _random(20, 3, seed=1)])
    edges, lengths = neighbour_edges(points, 6)
    first, second = spanning_forests(edges, lengths, 50, 2)
    for forest in (first, second):
        assert int((forest.parent < 0).sum()) == 2
        assert sorted(torch.cat(list(forest.depths)).tolist()) == list(range(50))
        depth = torch.zeros(50, dtype=torch.int64)
        for level, nodes in enumerate(forest.depths):
            depth[nodes] = level
        inner = forest.parent >= 0
        assert torch.equal(depth[inner], depth[forest.parent[inner]] + 1)
    both = {frozenset(p) for p in enumerate(first.parent.tolist())} & {
        frozenset(p) for p in enumerate(second.parent.tolist())
    }
    assert len(both) < 30, "the second tree has other edges"


def test_minimum_between_samples_is_exact_for_a_quadratic() -> None:
    steps = window_steps(3, 3, torch.device("cpu")).to(torch.float64)
    true = torch.tensor([[0.3, -1.2, 2.4], [-3.0, 0.0, 3.0]], dtype=torch.float64)
    costs = (steps - true[:, None]).square().sum(dim=2)
    assert torch.allclose(minimum_between(costs, 3, 3), true)


@pytest.mark.parametrize(("spacing", "reach"), [(1.5, 40), (3.0, 30), (6.0, 20), (1.0, 3)])
def test_levels_reach_as_far_as_asked_and_end_at_every_voxel(spacing: float, reach: float) -> None:
    levels = search_levels(spacing, reach)
    assert spacing * levels[0].factor * levels[0].half_width >= reach
    assert levels[-1].factor == 1
    # what a level leaves open the next one can make good
    assert all(b.half_width * b.factor >= a.factor for a, b in itertools.pairwise(levels))


def _case(d: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Blurred noise, displaced by a smooth field of up to 9 voxels: fixed, moving, keypoints, where they go."""
    size = 72 if d == 2 else 56
    generator = torch.Generator().manual_seed(3)
    scan = 60 * gaussian_smooth(torch.randn((size,) * d, generator=generator), 1.3)
    axis = torch.arange(size, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(*[axis] * d, indexing="ij")[::-1], dim=-1)

    def field(x: torch.Tensor) -> torch.Tensor:
        shift = 5 + 3 * torch.sin(x[..., :1] / size * 4) + 1.5 * torch.cos(x[..., 1:2] / size * 5)
        return torch.cat([shift, -0.7 * shift, 0.4 * shift][:d], dim=-1)

    fixed = sample_index(scan[None], grid + field(grid), outside=None)[0]
    points = (14 + (size - 28) * torch.rand((150, d), generator=generator)).round()
    return fixed, scan, points, points + field(points)


@pytest.mark.parametrize("d", [2, 3])
def test_a_known_deformation_is_found(d: int) -> None:
    fixed, moving, points, true = _case(d)
    noise = 0.5 * torch.randn(fixed.shape, generator=torch.Generator().manual_seed(1))
    settings = CorrespondenceSettings(levels=search_levels(2.0, 20.0), tolerance=4.0)
    found = find_correspondences(fixed + noise, moving, points, 2.0, settings)
    assert torch.equal(found.fixed, points[found.kept])
    assert len(found.kept) > 0.85 * len(points)
    error = (found.moving - true[found.kept]).norm(dim=1)
    assert error.mean() < 0.45, "voxels"
    assert error.max() < 2.5
    assert (found.inconsistency <= 4.0).all()


def test_points_without_a_partner_do_not_come_back() -> None:
    fixed, moving, points, true = _case(3)
    strange = moving.clone()
    strange[:, :, :28] = 60 * gaussian_smooth(torch.randn(56, 56, 28, generator=torch.Generator().manual_seed(8)), 1.3)
    settings = CorrespondenceSettings(levels=search_levels(1.0, 10.0), tolerance=1.5, smoothness=0.5)
    found = find_correspondences(fixed, strange, points, 1.0, settings)
    gone = true[:, 0] < 25
    kept = torch.zeros(len(points), dtype=torch.bool)
    kept[found.kept] = True
    assert kept[true[:, 0] > 31].float().mean() > 0.85
    assert kept[gone].float().mean() < 0.5


def test_no_keypoints_and_cancelling() -> None:
    fixed, moving, points, _ = _case(3)
    settings = CorrespondenceSettings(levels=(SearchLevel(2, 1),))
    assert len(find_correspondences(fixed, moving, points[:0], 1.0, settings).fixed) == 0
    assert len(find_correspondences(fixed, moving, points[:1], 1.0, settings).fixed) <= 1
    calls = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 4

    with pytest.raises(Cancelled):
        find_correspondences(fixed, moving, points, 1.0, settings, progress=Progress(cancelled=stop))
