"""mo-bcpd from label maps and from models, with settings of single segments."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.ops.surface_points import label_surface, spread_points
from DeepRegistrationLib.optim.segment_model import contact_coherence, label_transition
from DeepRegistrationLib.optim.surface_pairs import segment_pairs
from phantoms import PhantomCase

ORGANS = ("Liver", "Spleen", "Right kidney", "Left kidney", "Stomach", "Gallbladder")


@cache
def abdomen() -> PhantomCase:
    fixed = Grid((62, 48, 42), (5.4,) * 3, (-166.0, -127.0, -110.0))
    moving = Grid((60, 44, 40), (5.6, 5.8, 5.7), (-167.0, -129.0, -113.0))
    return phantoms.abdomen(fixed, moving, seed=1, motion_mm=14)


def run(problem: RegistrationProblem, **values: Any) -> RegistrationResult:
    values = {"initialisation": "none", "points": 250, "start": 1.0, **values}
    return register_problem(problem, "mo-bcpd", values=values, context=Context(torch.device("cpu")))


@cache
def solved() -> RegistrationResult:
    return run(abdomen().problem, correspondences=True)


def models(segmentation: Image, count: int = 900) -> PointSet:
    """Clouds without triangles, named as the segments are."""
    points, labels, names = [], [], []
    for value in segmentation.label_values:
        surface = label_surface(segmentation.data[0] == value, segmentation.grid)
        chosen = surface.points[spread_points(surface, count)]
        points.append(chosen)
        # labels of the two sides have nothing to do with each other
        labels += [100 - value] * len(chosen)
        names += [segmentation.names[value]] * len(chosen)
    return PointSet(torch.as_tensor(np.concatenate(points)), torch.tensor(labels), names)


def landmark_error(result: RegistrationResult) -> float:
    moving = result.problem.moving_landmarks
    assert moving is not None
    return float((result.moved_landmarks().points - moving.points).norm(dim=1).mean())


def test_organs_that_move_by_themselves_are_followed() -> None:
    result, case = solved(), abdomen()
    before = float((case.problem.fixed_landmarks.points - case.problem.moving_landmarks.points).norm(dim=1).mean())
    assert before > 6
    assert landmark_error(result) < 0.6 * before
    for organ in ORGANS:
        assert result.tables[f"surface distance after, {organ} (mm)"] < 1.6, organ
        assert (
            result.tables[f"surface distance after, {organ} (mm)"]
            < 0.8 * result.tables[f"surface distance before, {organ} (mm)"]
        )


def test_correspondences_lie_on_the_surfaces_row_by_row() -> None:
    result = solved()
    fixed, moving = (result.points[f"{side}_correspondences"] for side in ("fixed", "moving"))
    assert len(fixed) == len(moving) > 1000
    assert torch.equal(fixed.labels, moving.labels) and list(fixed.names) == list(moving.names)
    assert float((result.transform.apply(fixed.points) - moving.points).norm(dim=1).mean()) < 1.5
    for value, name in enumerate(result.problem.fixed_segmentation.names.values(), start=1):
        mine = fixed.labels == value
        assert all(n.startswith(name) for n, own in zip(fixed.names, mine, strict=True) if own)
        inside = result.problem.fixed_segmentation.at(fixed.points[mine])
        # half of a surface's points fall on a voxel of the segment, half beside it
        assert 0.2 < float((inside == value).double().mean()) < 0.8
    assert not run(abdomen().problem).points


def test_models_do_as_well_as_segmentations() -> None:
    p = abdomen().problem
    if not hasattr(p, "fixed_surfaces"):
        pytest.skip("problems carry no surfaces")
    clouds = {f"{side}_surfaces": models(getattr(p, f"{side}_segmentation")) for side in ("fixed", "moving")}
    bare = replace(p, fixed_segmentation=None, moving_segmentation=None, **clouds)
    assert landmark_error(run(bare)) < 1.3 * landmark_error(solved())
    # models on one side, a segmentation on the other
    mixed = replace(p, fixed_segmentation=None, fixed_surfaces=clouds["fixed_surfaces"])
    assert landmark_error(run(mixed)) < 1.3 * landmark_error(solved())


def test_segments_match_by_name_and_else_by_value() -> None:
    p = abdomen().problem
    swapped = {1: 2, 2: 1}
    data = p.moving_segmentation.data.clone()
    for old, new in swapped.items():
        data[p.moving_segmentation.data == old] = new
    names = {swapped.get(v, v): f" {n.upper()} " for v, n in p.moving_segmentation.names.items()}
    moving = replace(p.moving_segmentation, data=data, names=names)
    pairs = segment_pairs(replace(p, moving_segmentation=moving), 0, [])
    assert [q.name for q in pairs][:2] == ["Liver", "Spleen"]
    for q in pairs[:2]:
        assert np.linalg.norm(q.fixed.points.mean(axis=0) - q.moving.points.mean(axis=0)) < 25
    # without names the values decide
    nameless = segment_pairs(replace(p, moving_segmentation=replace(moving, names={})), 0, [])
    assert np.linalg.norm(nameless[0].fixed.points.mean(axis=0) - nameless[0].moving.points.mean(axis=0)) > 60
    messages: list[str] = []
    fewer = replace(p.moving_segmentation, data=p.moving_segmentation.data * (p.moving_segmentation.data != 2))
    assert len(segment_pairs(replace(p, moving_segmentation=fewer), 0, messages)) == len(pairs) - 1
    assert len(messages) == 1 and "fixed" in messages[0] and "Spleen" in messages[0]
    strangers = replace(p.moving_segmentation, names={v: f"X{v}" for v in range(1, 9)})
    with pytest.raises(InputError, match=r"Liver.*X1"):
        segment_pairs(replace(p, moving_segmentation=strangers), 0, [])


def test_what_is_missing_is_named() -> None:
    p = abdomen().problem
    with pytest.raises(InputError, match="moving segmentation"):
        run(replace(p, moving_segmentation=None))


def test_settings_of_single_segments() -> None:
    p = abdomen().problem
    still = run(p, segments={"Liver": {"magnitude": 0.1}}, motion="none")
    moves = solved().tables["surface distance after, Liver (mm)"]
    assert still.tables["surface distance after, Liver (mm)"] > 2 * moves
    assert still.tables["surface distance after, Spleen (mm)"] < 1.8
    for name in ("segments", "coherence", "confusion"):
        table = {"Livre": {"magnitude": 5.0}} if name == "segments" else {"Livre": {"Spleen": 0.5}}
        with pytest.raises(InputError, match="Liver"):
            run(p, **{name: table})


def test_contradicting_coherences_are_said() -> None:
    p = abdomen().problem
    torn = {"Liver": {"Spleen": 1.0, "Stomach": 1.0}, "Spleen": {"Stomach": 0.0}}
    context = Context(torch.device("cpu"))
    values = {"initialisation": "none", "points": 60, "coherence": torn, "iterations": 3}
    register_problem(p, "mo-bcpd", values=values, context=context)
    assert any("contradict" in m for m in context.messages)


def test_contact_makes_coherence() -> None:
    case = phantoms.brain(motion_mm=0)
    p = replace(case.problem, moving=case.problem.fixed, moving_segmentation=case.problem.fixed_segmentation)
    pairs = segment_pairs(p, 0, [])
    matrix = contact_coherence(pairs, 2.0)
    names = [q.name for q in pairs]
    grey, white, cerebellum = (names.index(n) for n in ("Grey matter", "White matter", "Cerebellum"))
    assert matrix[grey, white] > 0.5 > matrix[white, cerebellum]
    assert np.array_equal(matrix, matrix.T) and np.all(np.diag(matrix) == 1)


def test_label_transition() -> None:
    assert np.allclose(label_transition(np.eye(3)), np.eye(3))
    wrong = np.full((2, 2), 0.1)
    # both right or both wrong: 0.81 + 0.01
    assert np.allclose(label_transition(wrong), [[0.82, 0.18], [0.18, 0.82]])
    odd = np.array([[0.0, 0.2, 0.0], [0.2, 0.0, 0.1], [0.0, 0.1, 0.0]])
    u = label_transition(odd)
    assert np.allclose(u.sum(axis=0), 1) and u[2, 0] == pytest.approx(0.2 * 0.1, rel=0.2)
