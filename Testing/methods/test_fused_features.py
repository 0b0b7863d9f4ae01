"""convex-adam with learned features: which model is taken, what is said where none fits, and what it compares."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.io import model_cards
from DeepRegistrationLib.io.weights import write_model
from DeepRegistrationLib.methods.deformable.convex_adam import SPEC
from DeepRegistrationLib.methods.fused_features import ARCHITECTURE, Fusion, fitting_fusion
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.networks.feature_fusion import FeatureFusion
from DeepRegistrationLib.networks.fusion_settings import FusionSettings
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.optim.convex_adam import Features
from DeepRegistrationLib.transforms import DisplacementField

GRID = Grid((34, 36, 32), (3.0, 3.0, 3.0), (-50.0, 20.0, 7.0))
SETTINGS = FusionSettings((("ball",), ("box", "crate")), 3.0)
QUICK = {"initialisation": "none", "coarse_iterations": 5, "iterations": 5}


def noise(seed: int) -> Image:
    data = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(seed))
    data = box_mean(box_mean(data[None], 1), 1)
    return Image(100 * data / data.std(), GRID)


@cache
def problem() -> RegistrationProblem:
    """A ball and a box in texture, and the same after a bump of up to 10 mm."""
    x = GRID.world_points() - torch.as_tensor(GRID.centre, dtype=torch.float32)
    ball = (x - torch.tensor([-18.0, 0, 0])).norm(dim=-1) < 14
    box = ((x - torch.tensor([20.0, 4, 0])).abs() < torch.tensor([10.0, 16, 12])).all(dim=-1)
    labels = Image((ball + 2 * box).to(torch.uint8)[None], GRID, ImageKind.LABELS, {1: "ball", 2: "box"})
    bump = torch.exp(-x.square().sum(dim=-1) / (2 * 22**2))
    truth = DisplacementField(torch.stack([9 * bump, -5 * bump, 4 * bump]), GRID)
    moving = noise(1)
    return RegistrationProblem(
        moving.resampled(GRID, truth), moving,
        fixed_segmentation=labels.resampled(GRID, truth), moving_segmentation=labels,
    )  # fmt: skip


def make_model(folder: Path, settings: FusionSettings = SETTINGS, name: str = "mine", **tensors: torch.Tensor) -> str:
    torch.manual_seed(0)
    network = FeatureFusion(len(settings.segments), settings.hidden, settings.fused)
    training = {"command": "python x.py", "data": "none", "seed": 0, "steps": 0}
    card = {
        "id": name, "title": name.capitalize(), "architecture": ARCHITECTURE, "settings": settings.as_card(),
        "training": training, "results": {},
    }  # fmt: skip
    return write_model(folder / name, {**network.state_dict(), **tensors}, card).sha256


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of models there is."""
    monkeypatch.setattr(model_cards, "model_folders", lambda: [tmp_path])
    return tmp_path


def context() -> Context:
    return Context(torch.device("cpu"))


def run(p: RegistrationProblem, **values: object) -> tuple[RegistrationResult, list[str]]:
    here = context()
    return register_problem(p, SPEC.id, values={**QUICK, **values}, context=here), here.messages


def displacement(result: RegistrationResult) -> torch.Tensor:
    return result.transform.displacement(GRID)


def test_a_fitting_model_is_used_and_recorded(models: Path) -> None:
    digest = make_model(models)
    fused, messages = run(problem(), features="fused")
    assert not messages
    assert fused.provenance is not None and fused.provenance.weights_sha256 == digest
    assert fused.provenance.method == SPEC.id and fused.provenance.parameters["features"] == "fused"
    plain, _ = run(problem())
    assert plain.provenance is not None and plain.provenance.weights_sha256 is None
    assert not torch.allclose(displacement(fused), displacement(plain), atol=0.1)
    again, _ = run(problem(), features="fused")
    assert torch.equal(displacement(fused), displacement(again))


def test_the_weights_matter(models: Path) -> None:
    make_model(models)
    searched = {"features": "fused", "coarse_iterations": 0, "iterations": 0, "search_grid": 2}
    first, _ = run(problem(), **searched)
    make_model(models, **{"third.weight": torch.zeros(15, 32, 1)})
    blind, messages = run(problem(), **searched)
    assert not messages
    assert float(displacement(blind).abs().max()) < 1e-2 < float(displacement(first).abs().max())


def test_segments_are_matched_by_name_not_value(models: Path) -> None:
    make_model(models)
    p = problem()
    assert p.moving_segmentation is not None
    values = torch.tensor([0, 9, 4], dtype=torch.uint8)
    renamed = replace(
        p.moving_segmentation, data=values[p.moving_segmentation.data.long()], names={9: "Ball", 4: "Crate", 3: "other"}
    )
    found = fitting_fusion(replace(p, moving_segmentation=renamed), context())
    assert found is not None
    assert (list(found.fixed_values), list(found.moving_values)) == ([1, 2], [9, 4])


def without(p: RegistrationProblem, name: str) -> RegistrationProblem:
    """The fixed segmentation lacks the segment of that name, though it may still be named."""
    labels = p.fixed_segmentation
    assert labels is not None
    value = next(v for v, n in labels.names.items() if n == name)
    return replace(p, fixed_segmentation=labels.with_data(torch.where(labels.data == value, 0, labels.data)))


def named(p: RegistrationProblem, names: dict[int, str]) -> RegistrationProblem:
    assert p.fixed_segmentation is not None and p.moving_segmentation is not None
    return replace(
        p,
        fixed_segmentation=replace(p.fixed_segmentation, names=names),
        moving_segmentation=replace(p.moving_segmentation, names=names),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: without(p, "box"), "ball, box"),
        (lambda p: named(p, {}), "no names"),
        (lambda p: named(p, {1: "liver", 2: "spleen"}), "liver, spleen"),
    ],
)
def test_other_segments_are_compared_side_by_side(change: object, said: str, models: Path) -> None:
    make_model(models)
    p = change(problem())  # type: ignore[operator]
    fused, messages = run(p, features="fused")
    assert [said in m and "Mine: ball, box" in m and "mind+labels" in m for m in messages] == [True]
    plain, _ = run(p, features="mind+labels")
    assert torch.equal(displacement(fused), displacement(plain))


def test_without_models_the_same(models: Path) -> None:
    fused, messages = run(problem(), features="fused")
    assert len(messages) == 1 and "mind+labels" in messages[0]
    assert torch.equal(displacement(fused), displacement(run(problem())[0]))


def test_without_segmentations_the_images_are_compared(models: Path) -> None:
    make_model(models)
    bare = replace(problem(), moving_segmentation=None)
    fused, messages = run(bare, features="fused")
    assert len(messages) == 1 and "both scans" in messages[0]
    assert torch.equal(displacement(fused), displacement(run(bare)[0]))


def test_the_images_alone() -> None:
    bare = replace(problem(), fixed_segmentation=None, moving_segmentation=None)
    alone = displacement(run(problem(), features="mind")[0])
    assert torch.equal(alone, displacement(run(bare)[0]))
    assert not torch.equal(alone, displacement(run(problem(), features="mind+labels")[0]))
    assert torch.equal(displacement(run(problem())[0]), displacement(run(problem(), features="mind+labels")[0]))


def test_a_slice_has_no_mixture(models: Path) -> None:
    make_model(models)
    flat = Grid((40, 36), (3.0, 3.0))
    labels = torch.zeros(1, 36, 40, dtype=torch.uint8)
    labels[:, 10:20, 10:20], labels[:, 24:30, 20:34] = 1, 2
    segmentation = Image(labels, flat, ImageKind.LABELS, {1: "ball", 2: "box"})
    image = Image(torch.rand(1, 36, 40, generator=torch.Generator().manual_seed(0)), flat)
    _, messages = run(RegistrationProblem(image, image, None, None, segmentation, segmentation), features="fused")
    assert len(messages) == 1 and "mind+labels" in messages[0]


def test_the_models_resolution_is_worked_with(models: Path) -> None:
    settings = replace(SETTINGS, spacing=4.0, mind_dilation=1, intensity_minimum=-50.0, intensity_maximum=80.0)
    make_model(models, settings)
    fusion = fitting_fusion(problem(), context())
    assert isinstance(fusion, Fusion)
    own = fusion.adapted(SPEC.make_parameters(None, {"spacing": 2.0, "mind_radius": 3, "smoothness": 1.5}))
    assert (own.spacing, own.mind_radius, own.mind_dilation) == (4.0, 1, 1)
    assert (own.intensity_minimum, own.intensity_maximum, own.smoothness) == (-50.0, 80.0, 1.5)
    # a resolution made coarser for want of memory stays
    assert fusion.adapted(SPEC.make_parameters(None, {"spacing": 6.0})).spacing == 6.0


def test_contrast_is_half_the_squared_distance_of_two_cells_at_random() -> None:
    g = torch.Generator().manual_seed(0)
    fixed, moving = 3 + 2 * torch.rand(5, 6, 7, 8, generator=g), torch.rand(5, 6, 7, 8, generator=g)
    ones = torch.ones(6, 7, 8)
    features = Features(fixed, moving, ones, ones)
    halves = []
    for values in (fixed.flatten(1), moving.flatten(1)):
        apart = (values[:, :, None] - values[:, None, :]).square().sum(dim=0)
        n = len(apart)
        halves.append(float(apart.sum()) / (n * (n - 1)) / 2)
    assert features.contrast() == pytest.approx(sum(halves) / 2, rel=1e-4)
    stretched = Features(3 * fixed, 3 * moving, ones, ones)
    assert stretched.contrast() == pytest.approx(9 * features.contrast(), rel=1e-4)


def test_the_first_fitting_model_is_taken(models: Path) -> None:
    make_model(models, replace(SETTINGS, segments=(("liver",),)), "a")
    digest = make_model(models, name="b")
    make_model(models, name="c")
    fusion = fitting_fusion(problem(), context())
    assert fusion is not None and fusion.model.id == "b" and fusion.model.sha256 == digest


def test_weights_of_another_network_are_refused(models: Path) -> None:
    make_model(models, **{"third.weight": torch.zeros(4, 4)})
    with pytest.raises(InputError, match="'mine'"):
        run(problem(), features="fused")


def test_the_trained_model_knows_the_organs_it_names() -> None:
    shipped = model_cards.find_models(ARCHITECTURE, [model_cards.shipped_folder()])
    assert [m.id for m in shipped] == ["convex-adam-fusion"]
    settings = FusionSettings.from_card(shipped[0].settings)
    ways = [
        ["brainstem", "spinal cord", "right parotid", "left parotid", "oesophagus", "larynx", "mandible"],
        ["Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Esophagus", "Larynx", "Bone_Mandible"],
    ]
    for names in ways:
        assert settings.label_values(dict(enumerate(names, start=1))) == list(range(1, 8))
    training = shipped[0].card["training"]
    assert not set(training["cases"]) & set(training["held_out"]) and len(training["held_out"]) == 10
