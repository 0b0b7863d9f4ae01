"""What every method with a network does around it: which model, which grid and axes, and what is written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.cases import with_axes
from DeepRegistrationLib.core import device
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.spec import parameters_of
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.told import GRID, PLAIN, SPEC, TRUTH, Models, inner, run, shifted

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
    assert "pieces of 32 x 32 x 32 voxels" in " ".join(context.messages)
    assert torch.allclose(result.transform.apply(inner()) - inner(), TRUTH, atol=1e-4)


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
