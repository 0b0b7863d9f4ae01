"""Point sets whose motion is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.cases import rotation
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.ops.segment_kernel import SegmentKernel
from DeepRegistrationLib.optim.bcpd import Drift, Settings, drift, first_variance

EYE = torch.eye(2, dtype=torch.float64)
SETTINGS = Settings(tolerance=0.005, iterations=200)


def kernel(bandwidth: float = 30.0, magnitude: float = 10.0, coherence: float = 0.0) -> SegmentKernel:
    s = torch.tensor([[1.0, coherence], [coherence, 1.0]], dtype=torch.float64)
    return SegmentKernel(*(torch.full((2,), v, dtype=torch.float64) for v in (bandwidth, magnitude)), s)


def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...], count: int = 250) -> torch.Tensor:
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    unit = np.stack([np.cos(turn) * np.sqrt(1 - z**2), np.sin(turn) * np.sqrt(1 - z**2), z], axis=1)
    return torch.as_tensor(unit * radii + np.array(centre))


def two_organs() -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.cat([ellipsoid((-45, 0, 0), (30, 22, 18)), ellipsoid((45, 10, 0), (16, 30, 22))])
    return points, torch.arange(2).repeat_interleave(250)


def solve(source: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, k: SegmentKernel, **changes) -> Drift:
    target_labels = changes.pop("target_labels", labels)
    transition = changes.pop("transition", EYE)
    return drift(source, labels, target, target_labels, k, transition, replace(SETTINGS, **changes))


def test_identical_points_stay() -> None:
    points, labels = two_organs()
    found = solve(points, points, labels, kernel())
    assert float((found.moved - points).norm(dim=1).max()) < 0.05
    assert found.similarity.scale == pytest.approx(1.0, abs=1e-3)


def test_a_similarity_is_found_by_the_similarity() -> None:
    points, labels = two_organs()
    turn = torch.as_tensor(rotation((1, 2, 3), 25))
    target = 1.15 * points @ turn.T + torch.tensor([30.0, -20.0, 500.0])
    found = solve(points, target, labels, kernel(magnitude=0.5))
    assert found.converged
    assert float((found.moved - target).norm(dim=1).mean()) < 0.2
    assert found.similarity.scale == pytest.approx(1.15, abs=0.01)
    assert torch.allclose(found.similarity.rotation, turn, atol=0.01)
    # T(p) = similarity(p + v), in the coordinates of the world
    assert torch.allclose(found.similarity.apply(points + found.displacement), found.moved, atol=1e-9)
    assert torch.allclose(found.similarity.back(found.moved), points + found.displacement, atol=1e-9)


@pytest.mark.parametrize(("motion", "scale"), [("rigid", 1.0), ("translation", 1.0), ("none", 1.0)])
def test_motion_is_no_freer_than_allowed(motion: str, scale: float) -> None:
    points, labels = two_organs()
    target = 1.1 * points @ torch.as_tensor(rotation((0, 0, 1), 10)).T + 4.0
    found = solve(points, target, labels, kernel(), motion=motion)
    assert found.similarity.scale == scale
    turned = not torch.allclose(found.similarity.rotation, torch.eye(3, dtype=torch.float64))
    assert turned == (motion == "rigid")
    assert (float(found.similarity.apply(torch.zeros(1, 3, dtype=torch.float64)).norm()) > 1e-6) == (motion != "none")


def test_organs_that_move_apart_need_no_coherence() -> None:
    points, labels = two_organs()
    shift = torch.where(labels[:, None] == 0, 1.0, -1.0) * torch.tensor([0.0, 7.0, 7.0], dtype=torch.float64)
    errors = {
        s: float((solve(points, points + shift, labels, kernel(coherence=s)).moved - points - shift).norm(dim=1).mean())
        for s in (0.0, 1.0)
    }
    assert errors[0.0] < 0.6
    # one bandwidth of 30 mm and 90 mm between the organs: coherence costs little here, but it does cost
    assert errors[1.0] > errors[0.0]


def test_labels_keep_organs_apart_and_transitions_forgive_wrong_ones() -> None:
    points, labels = two_organs()
    target = points + torch.tensor([4.0, -3.0, 2.0], dtype=torch.float64)
    wrong = labels.clone()
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:50]
    wrong[chosen] = 1 - wrong[chosen]
    u = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)

    def error(transition: torch.Tensor) -> float:
        found = solve(points, target, labels, kernel(), target_labels=wrong, transition=transition)
        return float((found.moved - target).norm(dim=1).mean())

    assert error(u) < 1.0
    assert error(EYE) > 3 * error(u)


def test_outliers_are_told_from_the_surface() -> None:
    points, labels = two_organs()
    target = points + torch.tensor([5.0, 2.0, -4.0], dtype=torch.float64)
    stray = 120 * torch.rand(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 60
    cloud, cloud_labels = torch.cat([target, stray]), torch.cat([labels, torch.arange(2).repeat(30)])

    def error(share: float) -> float:
        found = solve(points, cloud, labels, kernel(), target_labels=cloud_labels, outliers=share)
        return float((found.moved - target).norm(dim=1).mean())

    assert error(0.1) < 1.0
    assert error(0.0) > 1.5 * error(0.1)


def test_mixing_of_points_with_nothing_to_match() -> None:
    """Half of a surface is missing in the target: with a small kappa the rest of the source counts less."""
    points, labels = two_organs()
    half = points[:, 2] > 0
    seen = {}
    for kappa in (None, 1e9, 0.5):
        found = solve(points, points[half], labels, kernel(), target_labels=labels[half], mixing=kappa, start=0.1)
        seen[kappa] = float((found.moved - points)[half].norm(dim=1).mean())
    assert seen[1e9] == pytest.approx(seen[None], abs=1e-3)
    assert seen[0.5] < seen[None]


def test_two_dimensions() -> None:
    points = torch.cat([ellipsoid((0, 0, 0), (30, 20, 1))[:, :2], ellipsoid((70, 0, 0), (20, 25, 1))[:, :2]])
    labels = torch.arange(2).repeat_interleave(250)
    target = points @ torch.as_tensor(rotation((0, 0, 1), 12)[:2, :2]).T + 3.0
    assert float((solve(points, target, labels, kernel(magnitude=1.0)).moved - target).norm(dim=1).mean()) < 1.0


def test_low_rank_and_all_of_the_covariance_agree() -> None:
    points, labels = two_organs()
    target = points + 5 * torch.sin(points / 25)
    full, low = (solve(points, target, labels, kernel(), left_out=left) for left in (None, 1e-4))
    assert len(low.prior.support) < 0.4 * len(full.prior.support)
    assert float((full.moved - low.moved).norm(dim=1).mean()) < 0.05


def test_first_variance_is_the_mean_over_all_pairs() -> None:
    points, labels = two_organs()
    target = points + 3.0
    u = torch.tensor([[0.9, 0.2], [0.1, 0.8]], dtype=torch.float64)
    weights = u[labels][:, labels]
    expected = float((weights * torch.cdist(target, points).square()).sum() / weights.sum() / 3)
    assert first_variance(points, labels, target, labels, u) == pytest.approx(expected, rel=1e-9)


def test_far_off_coordinates_change_nothing() -> None:
    points, labels = two_organs()
    target = points + 5 * torch.sin(points / 25)
    far = torch.tensor([3000.0, -8000.0, 5000.0], dtype=torch.float64)
    here, there = solve(points, target, labels, kernel()), solve(points + far, target + far, labels, kernel())
    assert torch.allclose(here.moved + far, there.moved, atol=1e-3)


def test_cancel_is_heard() -> None:
    asked = iter([False] * 3 + [True] * 100)
    points, labels = two_organs()
    with pytest.raises(Cancelled):
        drift(points, labels, points + 5, labels, kernel(), EYE, SETTINGS, Progress(None, lambda: next(asked)))
