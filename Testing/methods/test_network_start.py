"""From where a network's answer is refined: from it, around it, what is added to it, or without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import no_tick
from DeepRegistrationLib.core.sampling import crossings, sample_index
from DeepRegistrationLib.methods.network_parameters import NetworkParameters
from DeepRegistrationLib.methods.network_search import searched_around
from DeepRegistrationLib.methods.refinement_parameters import numbers_of
from DeepRegistrationLib.optim.convex_adam import Features, RefinementSettings, mind_features
from DeepRegistrationLib.optim.parametric import Positions
from DeepRegistrationLib.optim.working_pair import prepare
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.told import GRID, LATER, PLAIN, QUICK, Models, error, inner, run, shifted, smooth_noise, texture


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
    """Nearly without steps, whether the answer is added to or the steps begin where the search ends."""
    few = {"coarse_iterations": 3, "iterations": 4, "initialisation": "none", "keep_answer": keep}
    models.add(shift=(1.0, -0.5, 0.6))
    without, searched = run(shifted(), **few), run(shifted(), search_cells=2, **few)
    assert without.provenance is not None and not without.provenance.messages
    assert "stiff" in searched.history and "stiff" not in without.history
    assert error(searched) < 1.0 < error(without)


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_a_search_around_an_answer_composes_with_it(diffeomorphic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """start(x) = r(x) + u(x + r(x)), r being searched between the fixed scan and the moving one pulled back by u."""
    u = smooth_noise(GRID.shape, 1.0)[0]
    given = replace(shifted(), initial_transform=Affine.from_translation([6.0, -3.0, 9.0]))
    r, seen = torch.tensor([2.0, -1.0, 0.5]), []

    def found(features: Features, settings: object, labels: object, tick: object) -> Callable[..., torch.Tensor]:
        seen.append(features)
        return lambda positions: r.reshape(3, 1, 1, 1).expand(3, *map(len, positions))

    monkeypatch.setattr("DeepRegistrationLib.optim.convex_adam.search", found)
    parameters = NetworkParameters(search_cells=2, diffeomorphic=diffeomorphic)
    settings = numbers_of(parameters, RefinementSettings, GRID, 0)

    def value(positions: Positions) -> torch.Tensor:
        return sample_index(u, crossings(positions), outside=None)

    start = searched_around(value, given, GRID, parameters, settings, 4.0, no_tick)
    at = [torch.arange(8.0, n - 8, 3) for n in GRID.shape]
    there = sample_index(u, crossings(at) + r, outside=None)
    off = start(at) - r.reshape(3, 1, 1, 1) - there
    assert float(off.norm(dim=0).mean()) < 0.05 * float(there.norm(dim=0).mean())
    # what was searched between: alike after the pre-alignment, and no longer behind u
    before = mind_features(prepare(given, GRID, given.initial_transform, None), settings)
    unlike = [float((f.fixed - f.moving).square().mean()) for f in (before, *seen)]
    assert len(seen) == 1 and unlike[1] > 3 * unlike[0]


def test_it_is_searched_where_the_answer_was_left_out(models: Models) -> None:
    models.add(shift=(60.0, 0.0, 0.0))
    few = {"coarse_iterations": 3, "iterations": 4, "initialisation": "none"}
    without, searched = run(shifted(), **few), run(shifted(), search_cells=2, **few)
    assert searched.provenance is not None and "less well than" in " ".join(searched.provenance.messages)
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
