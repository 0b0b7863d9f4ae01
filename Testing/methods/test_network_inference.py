"""What every method with a network does around it: which model, which grid and axes, from where it is refined, and
what is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from contract.cases import with_axes
from DeepRegistrationLib.core import device
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.spec import MethodSpec, parameters_of
from DeepRegistrationLib.io.weights import write_model
from DeepRegistrationLib.methods.network_inference import learned_spec
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.networks import catalogue
from DeepRegistrationLib.networks.catalogue import Prediction
from DeepRegistrationLib.networks.footprint import Footprint
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.transforms import Affine, DisplacementField

GRID = Grid((30, 34, 28), (3.0, 3.0, 3.0), (-45.0, 20.0, 7.0))
PLAIN = {"initialisation": "none", "refine": False}
LATER = {"coarse_iterations": 10, "iterations": 10}
QUICK = {"initialisation": "none", "coarse_iterations": 10, "iterations": 10}


def smooth_noise(shape: Sequence[int], size: float) -> torch.Tensor:
    """(1, 3, Z, Y, X) of that standard deviation, waves of 15 voxels and more; the same on every grid."""
    draws = torch.Generator().manual_seed(5)
    index = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    speeds = 0.4 * (2 * torch.rand(3, 6, 3, generator=draws) - 1)
    turns = torch.einsum("ckd,dzyx->ckzyx", speeds, index) + 6.3 * torch.rand(3, 6, 1, 1, 1, generator=draws)
    return size * turns.cos().mean(dim=1)[None] * 12**0.5


class Told(nn.Module):
    """Answers with a velocity of its weights' choosing, in voxels of its grid, and keeps what it was shown.

    nonsense  voxels, of a smooth field that comes to it
    """

    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]

    def __init__(self, diffeomorphic: bool = False, nonsense: float = 0.0) -> None:
        super().__init__()
        self.nonsense = nonsense
        self.shift = nn.Parameter(torch.zeros(3))
        self.slope = nn.Parameter(torch.zeros(3))
        self.diffeomorphic, self.seen = diffeomorphic, []

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        self.seen.append((fixed, moving, region))
        along_z = torch.linspace(-1, 1, fixed.shape[2]).reshape(1, 1, -1, 1, 1)
        field = self.shift.reshape(1, 3, 1, 1, 1) + self.slope.reshape(1, 3, 1, 1, 1) * along_z
        field = field.expand(1, 3, *fixed.shape[2:]).clone()
        if self.nonsense:
            field += smooth_noise(fixed.shape[2:], self.nonsense)
        return Prediction(field, field.clone() if self.diffeomorphic else None)


SPEC = learned_spec(
    "told", title="Told", description="For tests.", paper="None", doi="", footprint=Footprint(100, 4)
)


class Models:
    """A user's folder of models, and the networks that were made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, []

    def add(self, name: str = "told", *, shift=(0.0, 0.0, 0.0), slope=(0.0, 0.0, 0.0), **settings: Any) -> str:
        working = {"spacing": 3.0, "low": -300.0, "high": 300.0, "multiple": 8, **settings.pop("working", {})}
        card = {
            "id": name, "title": name.capitalize(), "architecture": "told", "results": {},
            "settings": {"network": settings, "working": working},
            "training": {"command": "python x.py", "data": "none", "seed": 0, "steps": 0},
        }  # fmt: skip
        return write_model(
            self.folder / name, {"shift": torch.tensor(shift), "slope": torch.tensor(slope)}, card
        ).sha256

    def build(self, architecture: str, settings: Any) -> nn.Module:
        self.made.append(Told(**settings))
        return self.made[-1]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    from DeepRegistrationLib.io import model_cards

    found = Models(tmp_path / "models")
    monkeypatch.setattr(catalogue, "build", found.build)
    monkeypatch.setenv(model_cards.ENVIRONMENT, str(found.folder))
    monkeypatch.setattr(model_cards, "user_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(model_cards, "shipped_folder", lambda: tmp_path / "shipped")
    return found


def texture(grid: Grid, seed: int) -> Image:
    data = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    data = box_mean(box_mean(data[None], 1), 1)
    return Image(100 * data / data.std(), grid)


@cache
def shifted() -> RegistrationProblem:
    """moving(x + (6, -3, 9) mm) = fixed(x)"""
    moving = texture(GRID, 1)
    return RegistrationProblem(moving.resampled(GRID, Affine.from_translation([6.0, -3.0, 9.0])), moving)


TRUTH = torch.tensor([6.0, -3.0, 9.0], dtype=torch.float64)


def run(problem: RegistrationProblem, spec: MethodSpec = SPEC, **values: Any) -> RegistrationResult:
    return register_problem(problem, spec, values=values, context=Context(torch.device("cpu")))


def inner(grid: Grid = GRID, margin: int = 6) -> torch.Tensor:
    points = grid.world_points(dtype=torch.float64)
    return points[tuple(slice(margin, n - margin) for n in grid.shape)].reshape(-1, grid.dimension)


# ---------------------------------------------------------------------- the network's own answer


def test_voxels_of_the_networks_grid_become_millimetres(models: Models) -> None:
    sha = models.add(shift=(2.0, -1.0, 3.0))
    result = run(shifted(), **PLAIN)
    assert torch.allclose(result.transform.displacement(GRID), TRUTH.float().reshape(3, 1, 1, 1), atol=1e-4)
    assert isinstance(result.transform, DisplacementField) and result.transform.grid == GRID
    assert result.provenance is not None and result.provenance.weights_sha256 == sha


@pytest.mark.parametrize("spacing", [1.9, 3.0, 4.3, None])
def test_the_cards_spacing_is_that_of_the_networks_grid(models: Models, spacing: float | None) -> None:
    models.add(shift=(1.0, 0.0, 0.0), slope=(0.0, 0.0, 2.0), working={"spacing": spacing})
    result = run(shifted(), **PLAIN)
    ((fixed, moving, region),) = models.made[-1].seen
    assert fixed.shape == moving.shape and region is None
    for n, mm in zip(fixed.shape[2:], GRID.extent[::-1], strict=True):
        assert n % 8 == 0 and 0 <= n - round(mm / (spacing or 3)) < 8
    u = result.transform.displacement(GRID)[:, 5:-5]
    step = [e / round(e / (spacing or 3)) for e in GRID.extent]
    assert torch.allclose(u[0], torch.tensor(step[0]), atol=1e-3)
    assert float(u[2, -1].mean() - u[2, 0].mean()) > 1.0 and float(u[2].std()) > 0.3


def test_intensities_and_region_are_as_the_card_says(models: Models) -> None:
    models.add(working={"low": -50.0, "high": 150.0})
    mask = Image((GRID.world_points()[..., 0] < 0).to(torch.uint8)[None], GRID)
    run(replace(shifted(), fixed_mask=mask), **PLAIN)
    ((fixed, _, region),) = models.made[-1].seen
    shape = tuple(slice(0, n) for n in GRID.shape)
    wanted = ((shifted().fixed.data[0] + 50) / 200).clamp(0, 1)
    assert torch.allclose(fixed[(0, 0, *shape)], wanted, atol=1e-5)
    assert region is not None and torch.equal(region[(0, 0, *shape)], mask.data[0].float())


def test_a_network_sees_the_patient_upright_however_the_scan_is_stored(models: Models) -> None:
    models.add(shift=(2.0, -1.0, 3.0), slope=(0.5, 0.2, 0.1))
    problem = shifted()
    plain = run(problem, **PLAIN)
    order, flipped = (2, 0, 1), (True, False, True)
    stored = replace(problem, fixed=with_axes(problem.fixed, order, flipped))
    other = run(stored, **PLAIN)
    first, second = (m.seen[0] for m in models.made[-2:])
    for a, b in zip(first[:2], second[:2], strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert other.transform.grid == stored.fixed.grid
    assert torch.allclose(other.transform.apply(inner()), plain.transform.apply(inner()), atol=1e-4)


def test_the_start_comes_first_and_is_part_of_the_answer(models: Models) -> None:
    """The network sees the moving scan through A, and answers in fixed space."""
    models.add(shift=(0.0, 0.0, 1.0))
    away = Affine.from_translation([6.0, -3.0, 6.0])
    result = run(replace(shifted(), initial_transform=away), initialisation="given", refine=False)
    ((fixed, moving, _),) = models.made[-1].seen
    assert torch.allclose(moving[0, 0, 5:20, 5:20, 5:20], fixed[0, 0, 4:19, 5:20, 5:20], atol=1e-4)
    assert torch.allclose(result.transform.apply(inner()) - inner(), TRUTH, atol=1e-4)


def test_a_velocity_gives_an_inverse_and_never_folds(models: Models) -> None:
    models.add(slope=(0.0, 0.0, -2.5), diffeomorphic=True)
    result = run(shifted(), diffeomorphic=True, **PLAIN)
    assert result.inverse is not None
    assert float(result.jacobian().data.min()) > 0
    back = result.inverse.apply(result.transform.apply(inner()))
    assert float((back - inner()).norm(dim=1).max()) < 0.1
    # the flow of v = -a z (in the middle) is z exp(-a)
    z = inner()[:, 2] - GRID.centre[2]
    near = z.abs() < 12
    per_mm = 2.5 * 3.0 / (32 * 3.0 / 2)
    there = (result.transform.apply(inner())[:, 2] - GRID.centre[2])[near]
    assert float((there - z[near] * np.exp(-per_mm)).abs().std()) < 0.2


def test_a_displacement_is_not_sold_as_one_that_never_folds(models: Models) -> None:
    models.add()
    with pytest.raises(InputError, match="fold"):
        run(shifted(), diffeomorphic=True, **PLAIN)


def test_memory_that_is_short_is_met_with_pieces(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    models.add(shift=(2.0, -1.0, 3.0))
    monkeypatch.setattr(device, "available_memory", lambda where: 4_500_000)
    context = Context(torch.device("cpu"))
    parameters = SPEC.make_parameters(values=PLAIN)
    result = SPEC.run(shifted(), parameters, context)
    assert len(models.made[-1].seen) > 1
    assert "pieces of 32 voxels" in " ".join(context.messages)
    assert torch.allclose(result.transform.apply(inner()) - inner(), TRUTH, atol=1e-4)


# ---------------------------------------------------------------------- refinement


def error(result: RegistrationResult) -> float:
    return float((result.transform.apply(inner()) - inner() - TRUTH).norm(dim=1).mean())


def test_refinement_starts_from_the_networks_answer(models: Models) -> None:
    """A few steps do not go as far as 11 mm from where the scans lie."""
    few = {**QUICK, "coarse_iterations": 3, "iterations": 4}
    models.add("lost")
    alone = error(run(shifted(), model="lost", **few))
    models.add("near", shift=(1.7, -0.8, 2.6))
    helped = run(shifted(), model="near", **few)
    assert helped.provenance is not None and not helped.provenance.messages
    assert error(helped) < 1.0 < 2.0 < alone
    assert set(helped.history) == {"coarse", "fine"} and len(helped.history["fine"]) == 4


def test_a_kept_answer_is_added_to(models: Models) -> None:
    """Without steps it stays; with steps what is added brings it to the truth; however stiff, the answer is kept."""
    models.add(shift=(1.6, -0.7, 2.6), slope=(0.0, 0.0, 0.3))
    alone, stays = run(shifted(), **PLAIN), run(
        shifted(), keep_answer=True, initialisation="none", coarse_iterations=0, iterations=0
    )
    x = inner()
    assert torch.allclose(stays.transform.apply(x), alone.transform.apply(x), atol=1e-3)
    assert error(run(shifted(), keep_answer=True, **QUICK)) < 0.5 * error(alone)
    stiff = {"smoothness": 100.0, **QUICK}
    kept, whole = (run(shifted(), keep_answer=k, **stiff).transform.apply(x) for k in (True, False))
    bent = alone.transform.apply(x) - alone.transform.apply(x).mean(dim=0)
    assert (kept - kept.mean(dim=0) - bent).norm(dim=1).mean() < (whole - whole.mean(dim=0) - bent).norm(dim=1).mean()


@pytest.mark.parametrize("keep", [False, True])
def test_what_the_network_missed_is_searched_around_its_answer(models: Models, keep: bool) -> None:
    """Nearly without steps; an answer that is not kept is where the steps begin, and there is no search."""
    few = {"coarse_iterations": 3, "iterations": 4, "initialisation": "none", "keep_answer": keep}
    models.add(shift=(1.0, -0.5, 0.6))
    without, searched = run(shifted(), **few), run(shifted(), search_cells=2, **few)
    assert without.provenance is not None and not without.provenance.messages
    assert ("stiff" in searched.history) is keep
    assert error(searched) < 1.0 < error(without) if keep else error(searched) == error(without)


@pytest.mark.parametrize(
    ("shift", "said"), [((60.0, 0.0, 0.0), "less well than"), ((0.1, 0.0, 0.1), "hardly better than")]
)
def test_it_is_searched_where_the_answer_was_left_out(models: Models, shift: Any, said: str) -> None:
    models.add(shift=shift)
    few = {"coarse_iterations": 3, "iterations": 4, "initialisation": "none"}
    without, searched = run(shifted(), **few), run(shifted(), search_cells=2, **few)
    assert searched.provenance is not None and said in " ".join(searched.provenance.messages)
    assert error(searched) < 1.0 < 3.0 < error(without)


@pytest.mark.parametrize("velocity", [False, True])
def test_refined_flow_has_an_inverse(models: Models, velocity: bool) -> None:
    models.add(shift=(1.7, -0.8, 2.6), diffeomorphic=velocity)
    result = run(shifted(), diffeomorphic=True, **QUICK)
    assert error(result) < 0.6 and result.inverse is not None
    back = result.inverse.apply(result.transform.apply(inner()))
    assert float((back - inner()).norm(dim=1).max()) < 0.3


def test_an_answer_that_is_worse_than_none_is_not_started_from(models: Models) -> None:
    same = replace(shifted(), moving=shifted().fixed)
    models.add(shift=(4.0, 4.0, -4.0))
    result = run(same, **QUICK)
    moved = (result.transform.apply(inner()) - inner()).norm(dim=1)
    assert float(moved.max()) < 1.0, "the answer was 20 mm off"
    assert result.provenance is not None and "began without it" in " ".join(result.provenance.messages)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_nonsense_is_not_started_from_nor_kept(models: Models, keep: bool, diffeomorphic: bool) -> None:
    """A large smooth field at random, on scans that the pre-alignment brings within a voxel; then it is as if the
    network had said nothing."""
    given = {"initialisation": "given", "keep_answer": keep, "diffeomorphic": diffeomorphic, **LATER}
    near = replace(shifted(), initial_transform=Affine.from_translation([5.0, -2.0, 7.5]))
    models.add("silent")
    silent = run(near, model="silent", **given)
    models.add("wild", nonsense=4.0, diffeomorphic=diffeomorphic)
    wild = run(near, model="wild", **given)
    assert wild.provenance is not None and silent.provenance is not None
    (said,) = wild.provenance.messages
    assert "less well than no deformation" in said and not silent.provenance.messages
    assert error(wild) == pytest.approx(error(silent), abs=0.05) and error(wild) < 1.0


@pytest.mark.parametrize("keep", [False, True])
def test_an_answer_that_is_right_is_used(models: Models, keep: bool) -> None:
    """Also one far from none, that bends, and however stiff the refinement is."""
    bend = smooth_noise(GRID.shape, 1.0)[0]
    moving = texture(GRID, 1)
    wanted = DisplacementField.from_index_displacement(bend, GRID)
    models.add(nonsense=1.0)
    result = run(
        RegistrationProblem(moving.resampled(GRID, wanted), moving), smoothness=50.0, keep_answer=keep, **QUICK
    )
    assert result.provenance is not None and not result.provenance.messages
    if keep:
        off = (result.transform.apply(inner()) - wanted.apply(inner())).norm(dim=1)
        assert float(off.mean()) < 1.0, "of 5 mm"


def test_an_answer_that_leaves_the_scans_is_not_used(models: Models) -> None:
    """Where nothing is seen, nothing is unlike."""
    models.add(shift=(60.0, 0.0, 0.0))
    result = run(shifted(), keep_answer=True, **QUICK)
    assert result.provenance is not None and "began without it" in " ".join(result.provenance.messages)


def test_an_answer_is_judged_at_no_great_cost(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large scans are judged on a coarser grid."""
    from DeepRegistrationLib.methods import network_start
    from DeepRegistrationLib.optim import convex_adam

    judged = []
    energy = convex_adam.coarse_data_energy
    monkeypatch.setattr(convex_adam, "coarse_data_energy", lambda p, *a: judged.append(p.grid.voxels) or energy(p, *a))
    monkeypatch.setattr(network_start, "_VOXELS", 4000)
    models.add(shift=(1.7, -0.8, 2.6))
    result = run(shifted(), **QUICK)
    assert len(judged) == 2 and max(judged) < 4500
    assert result.provenance is not None and not result.provenance.messages


# ---------------------------------------------------------------------- models


def test_without_a_model_the_command_that_makes_one_is_told(models: Models) -> None:
    with pytest.raises(InputError, match="python -m DeepRegistrationLib train told"):
        run(shifted(), **PLAIN)


def test_choice_of_the_model(models: Models) -> None:
    models.add("first", shift=(1.0, 0.0, 0.0))
    models.add("second", shift=(2.0, 0.0, 0.0))
    models.add("told", shift=(3.0, 0.0, 0.0))
    choice = next(p for p in parameters_of(SPEC.parameters) if p.name == "model").choice
    assert choice is not None
    assert list(choice.titles) == ["automatic", "first", "second", "told"] and choice.titles["second"] == "Second"
    for model, voxels in (("automatic", 3.0), ("second", 2.0)):
        u = run(shifted(), model=model, **PLAIN).transform.displacement(GRID)
        assert float(u[0].mean()) == pytest.approx(3 * voxels, abs=1e-4)
    with pytest.raises(InputError, match=r"model='third' is not one of automatic, first"):
        run(shifted(), model="third", **PLAIN)


def test_weights_of_something_else_are_refused(models: Models) -> None:
    models.add()
    file = models.folder / "told" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="SHA-256"):
        run(shifted(), **PLAIN)
    models.add(shift=(1.0, 2.0, 3.0, 4.0))
    with pytest.raises(InputError, match="do not fit the architecture told"):
        run(shifted(), **PLAIN)
    models.add(shift=(float("nan"), 0.0, 0.0))
    with pytest.raises(InputError, match="not finite"):
        run(shifted(), **PLAIN)
