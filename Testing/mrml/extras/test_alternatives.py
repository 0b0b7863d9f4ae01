"""Another candidate in the place of the best one, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml import alternatives
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs
from DeepRegistrationLib.mrml.results import load_result, restore_moving
from mrml.extras.made import PLACED, by_hand, rigid, same_nodes


@pytest.mark.parametrize("placed", [False, True])
def test_another_candidate_takes_the_place_of_the_best(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, request: Any, placed: bool
) -> None:
    if placed:  # the volumes and their segments lie under a transform of their own
        mine = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "mine")
        mine.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(PLACED))
        for node in (pair.fixed, pair.moving, pair.moving_segmentation):
            node.SetAndObserveTransformNodeID(mine.GetID())
    folder, data, labels = request.getfixturevalue("given")
    result = load_result(pair, folder, data, labels)
    best = slicer.util.arrayFromVolume(result.moved).copy()
    np.testing.assert_array_equal(best, by_hand(folder, 1))
    for number in (3, 2, 1):
        changed = alternatives.choose(result.transform, number)
        assert alternatives.chosen(result.transform) == number
        place = result.transform.GetTransformFromParent().TransformPoint(-1.0, -2.0, 3.0)
        np.testing.assert_allclose(place, np.array(rigid(number).TransformPoint((1.0, 2.0, 3.0))) * (-1, -1, 1))
        moved, expected = slicer.util.arrayFromVolume(result.moved), by_hand(folder, number)
        assert moved.dtype == best.dtype and np.abs(moved.astype(float) - expected).max() <= 2
        shown = slicer.modules.volumes.logic().ResampleVolumeToReferenceVolume(pair.moving, result.moved)
        assert np.abs(slicer.util.arrayFromVolume(shown).astype(float) - expected).max() <= 2
        scene.RemoveNode(shown)
        truth = by_hand(folder, number, labels=True)
        for k, name in enumerate(("organ", "rim"), 1):
            key = f"id-{k - 1}"
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, key, result.moved)
            assert ((mask > 0) != (truth == labels[name])).mean() < 2e-3, name
            assert result.segmentation.GetSegmentation().GetSegment(key).GetName() == name
        np.testing.assert_allclose(slicer.util.arrayFromVolume(result.jacobian), 1.0, atol=1e-5)
        assert changed.metrics == ({"numbers": 1} if number == 1 else {})
        assert changed.provenance.get("chosen_alternative") == (None if number == 1 else number)
        same_nodes(changed, result)
    assert np.abs(slicer.util.arrayFromVolume(result.moved).astype(int) - best).max() <= 1
    # a candidate's own node is not the output transform: it stays as it came
    assert result.alternatives[0].GetName().endswith("candidate 1")


def test_moving_that_was_put_back_comes_under_it_again(pair: InputNodes, result: Any, given: Any) -> None:
    restore_moving(result.transform)
    assert pair.moving.GetTransformNodeID() is None
    alternatives.choose(result.transform, 2)
    assert pair.moving.GetParentTransformNode() is result.transform
    moved = slicer.util.arrayFromVolume(result.moved)
    assert np.abs(moved.astype(float) - by_hand(given[0], 2)).max() <= 2


def test_the_inverse_and_the_jacobian_follow(
    scene: Any, pair: InputNodes, given: Any, known_transform: Any
) -> None:
    """A candidate that bends, in a result with an inverse."""
    folder, data, labels = given
    reference = sitk.ReadImage(str(folder / "fixed.nrrd"))
    centre = reference.TransformContinuousIndexToPhysicalPoint([n / 2 for n in reference.GetSize()])
    bent = known_transform(centre, bent=True)
    to_field = sitk.TransformToDisplacementFieldFilter()
    to_field.SetReferenceImage(reference)
    to_field.SetOutputPixelType(sitk.sitkVectorFloat32)
    field = to_field.Execute(bent)
    sitk.WriteImage(field, str(folder / "alternative-2.nrrd"))
    data["files"]["alternative.2"] = "alternative-2.nrrd"
    sitk.WriteTransform(rigid(1).GetInverse(), str(folder / "inverse.tfm"))
    data["files"]["inverse"] = "inverse.tfm"
    result = load_result(pair, folder, data, labels)
    alternatives.choose(result.transform, 2)
    transform = io.read_transform(folder / "alternative-2.nrrd")
    truth = transform.jacobian_determinant(transform.grid).numpy()
    inside = tuple(slice(2, -2) for _ in range(3))
    found = slicer.util.arrayFromVolume(result.jacobian)
    np.testing.assert_allclose(found[inside], truth[inside], atol=0.02)
    assert np.ptp(found) > 0.05
    start = np.array(centre) * (-1, -1, 1)
    there = result.transform.GetTransformFromParent().TransformPoint(*start)
    back = result.inverse.GetTransformFromParent().TransformPoint(*there)
    np.testing.assert_allclose(back, start, atol=0.05)
    alternatives.choose(result.transform, 1)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(result.jacobian), 1.0, atol=1e-5)
    there = result.transform.GetTransformFromParent().TransformPoint(*start)
    np.testing.assert_allclose(result.inverse.GetTransformFromParent().TransformPoint(*there), start, atol=1e-6)


def test_a_candidate_that_cannot_be_shown_changes_nothing(scene: Any, pair: InputNodes, result: Any) -> None:
    moved = slicer.util.arrayFromVolume(result.moved).copy()
    with pytest.raises(InputError, match="Candidate 4 was chosen, but this result has 3"):
        alternatives.choose(result.transform, 4)
    scene.RemoveNode(pair.moving_segmentation)
    with pytest.raises(InputError, match="segmentation of the moving volume was removed"):
        alternatives.choose(result.transform, 2)
    scene.RemoveNode(pair.moving)
    with pytest.raises(InputError, match="moving volume was removed"):
        alternatives.choose(result.transform, 2)
    assert alternatives.chosen(result.transform) == 1
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result.moved), moved)


def test_a_plain_result_has_none_of_it(pair: InputNodes, tmp_path: Path, fake_worker: Any) -> None:
    exported = export_inputs(pair, tmp_path)
    data = fake_worker(tmp_path, rigid(1), dense=False, segmentation=True)
    result = load_result(pair, tmp_path, data, exported.labels)
    assert (result.maps, result.series, result.points, result.alternatives) == ({}, {}, {}, ())
    assert alternatives.candidates_of(result.transform) == () and alternatives.chosen(result.transform) == 1


def test_a_review_of_the_former_candidate_goes(scene: Any, result: Any) -> None:
    from DeepRegistrationLib.mrml.review_results import outputs_of

    def reviewed() -> Any:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", "measured of the former")
        result.transform.SetAttribute("DeepRegistration.review", json.dumps({"metrics": {"a": 1}, "maps": []}))
        result.transform.SetNodeReferenceID("DeepRegistration.review.segments_table", table.GetID())
        result.transform.AddNodeReferenceID("DeepRegistration.review.all", table.GetID())
        return table

    table = reviewed()
    alternatives.choose(result.transform, 1)  # it is the one already
    assert outputs_of(result.transform).segments_table is table
    alternatives.choose(result.transform, 3)
    assert outputs_of(result.transform) is None and table.GetScene() is None
    again = reviewed()
    alternatives.choose(result.transform, 1)
    assert outputs_of(result.transform) is None and again.GetScene() is None
