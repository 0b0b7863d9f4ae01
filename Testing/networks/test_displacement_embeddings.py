"""Displacement embeddings: known shifts are found, the embedding does not get in their way, and fits into a file."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.displacement_embeddings import DisplacementEmbeddings, centres, soft_argmin
from DeepRegistrationLib.networks.mind_unet import MindUNet
from DeepRegistrationLib.ops.correlation import displacement_window
from DeepRegistrationLib.ops.displacement_space import PatchStatistics
from DeepRegistrationLib.ops.smoothing import gaussian_smooth

SHAPE = (32, 40, 48)


def scan(seed: int = 0) -> torch.Tensor:
    raw = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian_smooth(raw, 1.5)
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()))[None]


def network(components: int = 100, **settings: int) -> DisplacementEmbeddings:
    torch.manual_seed(3)
    made = DisplacementEmbeddings(
        (4, 8, 8, 8), half_width=4, components=components, stored=100, keypoints=150, **settings
    )
    return made.eval()


def taught(made: DisplacementEmbeddings) -> DisplacementEmbeddings:
    """With components of what it sees in pairs of shifted scans."""
    statistics = PatchStatistics(made.half_width, 3)
    with torch.no_grad():
        for seed in range(4):
            fixed = scan(seed)
            statistics.add(made.compared(fixed, fixed.roll((seed, -2, 2), (2, 3, 4)), made.cells(fixed[0, 0], None)))
    made.learn_space(statistics.space(100))
    return made


@pytest.fixture(scope="module")
def learned() -> DisplacementEmbeddings:
    return taught(network())


def test_finds_a_shift(learned: DisplacementEmbeddings) -> None:
    fixed = scan(7)
    moving = fixed.roll((4, -2, 4), (2, 3, 4))  # fixed(x) = moving(x + (4, -2, 4))
    with torch.no_grad():
        found = learned(fixed, moving, None)
    assert found.displacement.shape == (1, 3, *SHAPE)
    (matched,) = found.correspondences
    fixed_points, moving_points = matched.fixed, matched.moving
    assert fixed_points.shape == moving_points.shape and 50 < len(fixed_points) <= 150
    # what comes in at the far side is not in the other scan, so that some points are lost
    wanted = torch.tensor([4.0, -2.0, 4.0])
    assert torch.allclose((moving_points - fixed_points).median(dim=0).values, wanted, atol=0.4)
    inner = found.displacement[0, :, 10:-10, 10:-10, 12:-12].flatten(1)
    assert torch.allclose(inner.median(dim=1).values, wanted, atol=1.0)


def test_the_same_scan_twice_stays_where_it_is(learned: DisplacementEmbeddings) -> None:
    with torch.no_grad():
        found = learned(scan(5), scan(5), None)
    assert float(found.displacement.abs().max()) < 0.7


def test_region_says_where_keypoints_are(learned: DisplacementEmbeddings) -> None:
    region = torch.zeros(1, 1, *SHAPE)
    region[..., 8:24, 10:30, 12:36] = 1
    with torch.no_grad():
        points = learned(scan(1), scan(1), region).correspondences[0].fixed
    assert bool((points >= torch.tensor([11.0, 9, 7])).all() and (points <= torch.tensor([36.0, 30, 24])).all())
    with torch.no_grad():
        nothing = learned(scan(1), scan(2), torch.zeros(1, 1, *SHAPE))
    assert float(nothing.displacement.abs().max()) == 0 and nothing.correspondences[0].fixed.shape == (0, 3)


def test_pairs_of_a_batch_do_not_see_each_other(learned: DisplacementEmbeddings) -> None:
    a, b = scan(1), scan(2)
    with torch.no_grad():
        both = learned(torch.cat([a, b]), torch.cat([b, a])).displacement
        alone = learned(b, a).displacement
    assert torch.allclose(both[1], alone[0], atol=1e-4)


def test_fewer_components_are_the_first_ones_of_the_same_weights(learned: DisplacementEmbeddings) -> None:
    few = network(30)
    few.load_state_dict(learned.state_dict())
    assert few.space.basis.shape[0] == 30 and torch.equal(few.space.basis, learned.space.basis[:30])
    costs, cells = torch.rand(20, 729), torch.randint(0, 16, (20, 3))
    with torch.no_grad():
        lost = [(made.diffused(costs, cells) - costs).square().mean() for made in (few, learned)]
    assert lost[0] > lost[1]


def test_learns_how_strongly_it_is_smoothed(learned: DisplacementEmbeddings) -> None:
    costs, cells = torch.rand(40, 729), torch.randint(0, 16, (40, 3))
    smooth = learned.diffused(costs, cells)
    loss = -torch.log_softmax(-learned.sharpness * smooth, dim=1)[:, 364].mean()
    loss.backward()
    assert learned.log_diffusion.grad is not None and float(learned.log_diffusion.grad.abs()) > 0
    assert learned.log_sharpness.grad is not None and float(learned.log_sharpness.grad.abs()) > 0
    assert float(learned.diffusion.detach()) == pytest.approx(0.3, rel=1e-4)
    learned.zero_grad()


def test_soft_argmin_of_a_bowl() -> None:
    window = displacement_window(4, 3)
    place = torch.tensor([[1.3, -2.0, 0.5], [-3.0, 3.0, 1.0]])
    costs = (window[None] - place[:, None]).square().sum(dim=2) / 10
    assert torch.allclose(soft_argmin(costs, 4, 20.0, near=1), place, atol=0.2)
    far = costs.clone()
    far[0, -1] = 0.2  # a second valley far away is not mixed in
    assert torch.allclose(soft_argmin(far, 4, 20.0)[0], soft_argmin(costs, 4, 20.0)[0])


def test_centres_are_where_the_features_lie() -> None:
    assert centres(torch.tensor([[0, 1, 5]])).tolist() == [[0.5, 2.5, 10.5]]


def test_features_have_half_the_size() -> None:
    with torch.no_grad():
        features = MindUNet((4, 8, 8, 8))(scan())
    assert features.shape == (1, 12, 16, 20, 24)
    assert float(features.min()) >= 0 and float(features.max()) <= 1


def test_the_embedding_of_full_size_is_small() -> None:
    full = build("displacement-embeddings", {})
    assert isinstance(full, DisplacementEmbeddings)
    size = sum(v.numel() * v.element_size() for v in full.state_dict().values())
    assert size < 2.5e6
    with pytest.raises(InputError):
        build("displacement-embeddings", {"components": 600})
    with pytest.raises(InputError):
        build("displacement-embeddings", {"colour": 1})
