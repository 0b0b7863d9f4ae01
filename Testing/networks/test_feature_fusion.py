"""The fusion network by hand, its instance norm, and segments matched by name."""

from __future__ import annotations

import json

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.networks.feature_fusion import FeatureFusion, instance_norm, structured
from DeepRegistrationLib.networks.fusion_settings import FusionSettings


def mind(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.9 * torch.rand((12, *shape), generator=torch.Generator().manual_seed(seed))


def segments(*shape: int, count: int = 3, seed: int = 1) -> torch.Tensor:
    values = torch.randint(0, count + 1, shape, generator=torch.Generator().manual_seed(seed))
    return torch.stack([(values == k + 1).float() for k in range(count)])


def network(count: int = 3) -> FeatureFusion:
    torch.manual_seed(3)
    return FeatureFusion(count)


def test_the_channels_are_those_of_the_paper() -> None:
    """12 of MIND and 13 organs and background are 26, then 32, 32 and 15."""
    shapes = [tuple(p.shape) for name, p in FeatureFusion(13).named_parameters() if name.endswith("weight")]
    assert shapes == [(32, 26, 1), (32, 32, 1), (15, 32, 1)]


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_output_by_hand(shape: tuple[int, ...]) -> None:
    fusion, features, shares = network(), mind(*shape), segments(*shape)
    x = torch.cat([features, shares, (1 - shares.sum(dim=0))[None]]).flatten(1)
    for layer in (fusion.first, fusion.second):
        x = layer.weight[:, :, 0] @ x + layer.bias[:, None]
        x = (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = x.clamp(min=0)
    wanted = (fusion.third.weight[:, :, 0] @ x + fusion.third.bias[:, None]).reshape(15, *shape)
    assert torch.allclose(fusion(features, shares), wanted, atol=1e-4)


def test_air_around_changes_nothing() -> None:
    features, shares = mind(5, 6, 7), segments(5, 6, 7)
    wide = torch.ones(12, 9, 12, 11)
    wide[:, 2:7, 3:9, 2:9] = features
    around = torch.zeros(3, 9, 12, 11)
    around[:, 2:7, 3:9, 2:9] = shares
    alone, within = network()(features, shares), network()(wide, around)[:, 2:7, 3:9, 2:9]
    assert torch.allclose(alone, within, atol=1e-4)


def test_what_was_not_seen_does_not_count() -> None:
    features, shares = mind(6, 6, 6), segments(6, 6, 6)
    known = torch.ones(6, 6, 6)
    known[4:] = 0
    other = features.clone()
    other[:, 4:] = mind(2, 6, 6, seed=9) ** 4
    fusion = network()
    a, b = fusion(features, shares, known)[:, :4], fusion(other, shares, known)[:, :4]
    assert torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(fusion(features, shares)[:, :4], fusion(other, shares)[:, :4], atol=1e-2)


def test_flat_ground_is_told_from_structure() -> None:
    features = mind(4, 4)
    features[:, 0] = 1
    assert torch.equal(structured(features)[0], torch.zeros(4))
    assert torch.equal(structured(features)[1:], torch.ones(3, 4))


def test_a_scan_without_any_structure_is_no_trouble() -> None:
    flat = network()(torch.ones(12, 4, 4, 4), torch.zeros(3, 4, 4, 4))
    assert bool(torch.isfinite(flat).all())
    assert float(flat.detach().flatten(1).std(dim=1).max()) < 1e-4


def test_instance_norm_has_mean_0_and_variance_1_by_weight() -> None:
    values = 3 + 2 * torch.randn(1, 5, 200, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(200, generator=torch.Generator().manual_seed(1))
    normed = instance_norm(values, weight)[0].double()
    mean = (normed * weight).sum(dim=1) / weight.sum()
    assert float(mean.abs().max()) < 1e-5
    assert torch.allclose((normed.square() * weight).sum(dim=1) / weight.sum(), torch.ones(5).double(), atol=1e-3)


# ---------------------------------------------------------------- segments

SETTINGS = FusionSettings((("spinal cord", "cord"), ("left parotid", "parotid_L")), 3.0, intensity_maximum=300.0)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ({1: "spinal cord", 2: "left parotid"}, [1, 2]),
        ({7: "Parotid-L", 9: "SpinalCord", 3: "liver"}, [9, 7]),
        ({1: "CORD", 2: "Left_Parotid"}, [1, 2]),
        ({1: "spinal cord"}, None),
        ({1: "spinal cord", 2: "right parotid"}, None),
        ({}, None),
    ],
)
def test_segments_are_found_by_name(names: dict[int, str], values: list[int] | None) -> None:
    assert SETTINGS.label_values(names) == values


def test_settings_survive_the_card() -> None:
    assert FusionSettings.from_card(json.loads(json.dumps(SETTINGS.as_card()))) == SETTINGS
    assert FusionSettings.from_card({**SETTINGS.as_card(), "added later": 1}) == SETTINGS


@pytest.mark.parametrize(
    "said", [{}, {"segments": [["a"]]}, {"segments": 3, "spacing": 1.0}, {"segments": [], "spacing": 1}]
)
def test_other_settings_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(InputError, match="card"):
        FusionSettings.from_card(said)
