"""Maps, series, points and candidates of a result as real nodes: shown as they are, found again, all or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml import alternatives
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs
from DeepRegistrationLib.mrml.map_nodes import range_of
from DeepRegistrationLib.mrml.results import load_result, nodes_of_result, restore_moving
from DeepRegistrationLib.mrml.series import shown_volume

SHAPE = (16, 18, 20)
MATRIX = np.array([[-1.5, 0, 0, 20.0], [0, -1.2, 0.4, 15.0], [0, 0.4, 1.2, -12.0], [0, 0, 0, 1.0]])
PLACED = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
POINTS = np.array([[1.0, 2.0, 3.0], [-4.0, 8.5, 2.0], [0.0, 0.5, -7.0]])
SCORES = [{"similarity": 0.9, "overlap": 0.75}, {"similarity": 0.5}, {"similarity": 0.25, "overlap": 0.5}]


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


def spots(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    out = np.zeros(SHAPE)
    for _ in range(10):
        centre = random.uniform(-0.4, 0.4, 3)[:, None, None, None]
        out += np.exp(-(((grid - centre) / 0.25) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.int16)


def rigid(index: int) -> sitk.AffineTransform:
    turned = sitk.Euler3DTransform((-8.0, -6.0, 2.0), 0.05 * index, -0.04, 0.1 * index, (2.0 * index, -1.5, 1.0))
    return sitk.AffineTransform(np.array(turned.GetMatrix()).tolist(), turned.GetTranslation(), turned.GetCenter())


@pytest.fixture
def pair(scene: Any, make_volume: Any, make_segmentation: Any) -> InputNodes:
    fixed = make_volume(spots(), MATRIX, "CT day 1")
    moving = make_volume(spots(), MATRIX, "CT day 0")
    moving.GetDisplayNode().SetAutoWindowLevel(False)
    moving.GetDisplayNode().SetWindowLevel(700.0, 350.0)
    values = slicer.util.arrayFromVolume(moving)
    segments = make_segmentation(moving, {"organ": values > 500, "rim": (values > 250) & (values <= 500)})
    return InputNodes(fixed, moving, moving_segmentation=segments)


def markups(path: Path, points: np.ndarray) -> None:
    control = [{"label": f"c{k}", "position": p} for k, p in enumerate(points.tolist())]
    content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": control}]}
    path.write_text(json.dumps(content))


def series_file(path: Path, reference: sitk.Image, arrays: list[np.ndarray]) -> None:
    image = sitk.GetImageFromArray(np.stack(arrays, axis=-1).astype(np.float32), isVector=True)
    image.CopyInformation(reference)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def given(pair: InputNodes, tmp_path: Path, fake_worker: Any) -> Any:
    """(folder, data, labels) of a finished job that left everything."""
    exported = export_inputs(pair, tmp_path)
    data = fake_worker(tmp_path, rigid(1), dense=False, segmentation=True)
    fixed = sitk.ReadImage(str(tmp_path / "fixed.nrrd"))
    change = sitk.GetImageFromArray(np.linspace(-40, 10, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    change.CopyInformation(fixed)
    files = data["files"]
    for name in ("intensity_change", "metamorphosed"):
        files[name] = f"{name}.nrrd"
        sitk.WriteImage(change, str(tmp_path / files[name]))
    pictures = [sitk.GetArrayFromImage(fixed) * k for k in (0.0, 0.5, 1.0)]
    files["series.metamorphosis"] = "metamorphosis.seq.nrrd"
    series_file(tmp_path / "metamorphosis.seq.nrrd", fixed, pictures)
    files["series.mask"] = "mask.seq.nrrd"
    series_file(tmp_path / "mask.seq.nrrd", fixed, [np.zeros(SHAPE), np.ones(SHAPE)])
    for side, points in (("fixed", POINTS), ("moving", np.array([rigid(1).TransformPoint(p) for p in POINTS]))):
        files[f"points.{side}_correspondences"] = f"{side}_correspondences.mrk.json"
        markups(tmp_path / f"{side}_correspondences.mrk.json", points)
    for k in (1, 2, 3):
        files[f"alternative.{k}"] = f"alternative-{k}.tfm"
        sitk.WriteTransform(rigid(k), str(tmp_path / f"alternative-{k}.tfm"))
    titles = ["", "upside down", ""]
    told = [{"title": t, "scores": s} for t, s in zip(titles, SCORES, strict=True)]
    data["provenance"] = {"method": "test-method", "alternatives": told, "tables": {"distance": 2.0}}
    return tmp_path, data, exported.labels


@pytest.fixture
def result(pair: InputNodes, given: Any) -> Any:
    folder, data, labels = given
    return load_result(pair, folder, data, labels)


def by_hand(folder: Path, number: int, labels: bool = False) -> np.ndarray:
    """Moving under candidate `number` as SimpleITK resamples it."""
    fixed, moving = (sitk.ReadImage(str(folder / f"{side}.nrrd")) for side in ("fixed", "moving"))
    if labels:
        moving = sitk.ReadImage(str(folder / "moving_segmentation.seg.nrrd"))
    how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    return sitk.GetArrayFromImage(sitk.Resample(moving, fixed, rigid(number), how, 0.0))


def test_maps_lie_on_fixed_in_the_colours_of_their_kind(pair: InputNodes, result: Any) -> None:
    assert set(result.maps) == {"intensity_change", "metamorphosed"}
    change = result.maps["intensity_change"]
    values = slicer.util.arrayFromVolume(change)
    np.testing.assert_allclose(values.ravel()[[0, -1]], [-40, 10], rtol=1e-6)
    low, high = range_of(change)
    assert low == pytest.approx(-high) and 38 < high <= 40  # 0 is in the middle
    colour = [0.0] * 4
    change.GetDisplayNode().GetColorNode().GetColor(127, colour)
    assert max(colour[:3]) < 0.03
    picture = result.maps["metamorphosed"].GetDisplayNode()
    assert (picture.GetWindow(), picture.GetLevel()) == (700.0, 350.0)
    ours, theirs = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    change.GetIJKToRASMatrix(ours)
    pair.fixed.GetIJKToRASMatrix(theirs)
    np.testing.assert_allclose(
        slicer.util.arrayFromVTKMatrix(ours), slicer.util.arrayFromVTKMatrix(theirs), atol=1e-6
    )


def test_a_series_is_a_sequence_that_can_be_played(pair: InputNodes, result: Any) -> None:
    assert set(result.series) == {"metamorphosis", "mask"}
    browser = result.series["metamorphosis"]
    assert browser.IsA("vtkMRMLSequenceBrowserNode") and browser.GetNumberOfItems() == 3
    sequence = browser.GetMasterSequenceNode()
    assert (sequence.GetIndexName(), sequence.GetDataNodeClassName()) == ("step", "vtkMRMLScalarVolumeNode")
    fixed = slicer.util.arrayFromVolume(pair.fixed)
    shown = shown_volume(browser)
    for k, share in enumerate((0.0, 0.5, 1.0)):
        browser.SetSelectedItemNumber(k)
        assert shown_volume(browser) is shown
        np.testing.assert_allclose(slicer.util.arrayFromVolume(shown), share * fixed, atol=1e-3)
        display = shown.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == (700.0, 350.0)
    assert shown.GetName() == "CT day 0 to CT day 1 (test-method) Metamorphosis"
    mask = shown_volume(result.series["mask"]).GetDisplayNode()
    assert (mask.GetWindowLevelMin(), mask.GetWindowLevelMax()) == (0.0, 1.0)
    assert any("sequence browser" in m for m in result.messages)


def test_points_of_moving_lie_under_the_transform(pair: InputNodes, result: Any) -> None:
    fixed, moving = (result.points[f"{side}_correspondences"] for side in ("fixed", "moving"))
    assert fixed.GetNumberOfControlPoints() == 3 and fixed.GetNthControlPointLabel(1) == "c1" and fixed.GetLocked()
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(fixed, world=True), POINTS * (-1, -1, 1))
    # shown where the moving volume is shown, each lies on its partner
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(moving, world=True), POINTS * (-1, -1, 1), atol=1e-4
    )
    restore_moving(result.transform)
    assert moving.GetTransformNodeID() is None and pair.moving.GetTransformNodeID() is None


def test_candidates_are_transforms_with_a_table_in_one_folder(scene: Any, result: Any) -> None:
    assert len(result.alternatives) == 3
    for k, node in enumerate(result.alternatives, 1):
        there = node.GetTransformFromParent().TransformPoint(-1.0, -2.0, 3.0)
        expected = np.array(rigid(k).TransformPoint((1.0, 2.0, 3.0))) * (-1, -1, 1)
        np.testing.assert_allclose(there, expected, atol=1e-6)
        assert node.GetName().endswith(f"candidate {k}")
    table = result.alternatives_table.GetTable()
    assert [table.GetColumnName(k) for k in range(3)] == ["Candidate", "similarity", "overlap"]
    assert [table.GetColumn(0).GetValue(k) for k in range(3)] == ["1", "upside down", "3"]
    assert np.isnan(table.GetColumn(2).GetValue(1)) and table.GetColumn(1).GetValue(2) == 0.25
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = (*result.alternatives, result.alternatives_table)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in nodes}
    assert len(parents) == 1 and "candidates" in hierarchy.GetItemName(parents.pop())
    found = alternatives.candidates_of(result.transform)
    assert [c.title for c in found] == ["", "upside down", ""] and found[0].scores == SCORES[0]


def same_nodes(a: Any, b: Any) -> None:
    for field in ("maps", "series", "points"):
        assert {k: n.GetID() for k, n in getattr(a, field).items()} == {
            k: n.GetID() for k, n in getattr(b, field).items()
        }
    assert [n.GetID() for n in a.alternatives] == [n.GetID() for n in b.alternatives]
    assert a.alternatives_table is b.alternatives_table


def test_they_are_found_on_the_transform(result: Any) -> None:
    again = nodes_of_result(result.transform)
    same_nodes(again, result)
    assert again.provenance["tables"] == {"distance": 2.0}


def test_they_are_found_after_the_scene_was_saved_and_loaded(scene: Any, result: Any, tmp_path: Path) -> None:
    alternatives.choose(result.transform, 2)
    name = result.transform.GetName()
    if scene.GetDataIOManager().GetCacheManager() is None:  # where Slicer unpacks .mrb files
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    counts = {k: len(getattr(result, k)) for k in ("maps", "series", "points", "alternatives")}
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = nodes_of_result(slicer.util.getNode(name))
    assert {k: len(getattr(again, k)) for k in counts} == counts and again.alternatives_table is not None
    browser = again.series["metamorphosis"]
    assert browser.GetNumberOfItems() == 3 and shown_volume(browser) is not None
    assert slicer.util.arrayFromVolume(again.maps["intensity_change"]).min() == pytest.approx(-40)
    assert alternatives.chosen(again.transform) == 2
    alternatives.choose(again.transform, 1)
    assert json.loads(again.transform.GetAttribute("DeepRegistration.metrics")) == {"numbers": 1}


BROKEN = ["intensity_change", "series.mask", "points.moving_correspondences", "alternative.3"]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_failure_half_way_leaves_no_trace(
    scene: Any, pair: InputNodes, given: Any, broken: str, how: str
) -> None:
    folder, data, labels = given
    file = folder / data["files"][broken]
    file.unlink() if how == "gone" else file.write_bytes(b"nothing that can be read")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before, items = ids(scene), hierarchy.GetNumberOfItems()
    with pytest.raises(InputError) as caught:
        load_result(pair, folder, data, labels)
    text = str(caught.value)
    assert data["files"][broken] in text and text.endswith(".") and "\n" not in text
    assert ids(scene) == before and hierarchy.GetNumberOfItems() == items
    assert pair.moving.GetTransformNodeID() is None


# ---------------------------------------------------------------------- another candidate


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


# ---------------------------------------------------------------------- from the command line


def test_a_folder_of_the_command_line_opens_with_everything(
    scene: Any, tmp_path: Path, tiny_method: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from DeepRegistrationLib.cli import main
    from DeepRegistrationLib.core.points import PointSet
    from DeepRegistrationLib.core.result import Alternative, RegistrationResult
    from DeepRegistrationLib.mrml.open_result import open_result_folder
    from DeepRegistrationLib.transforms import Affine
    from methods.tiny import blob

    def run(problem: Any, parameters: Any, context: Any) -> RegistrationResult:
        shifts = [Affine(np.eye(3), [2.0 - 5.0 * k, 0.0, 0.0]) for k in range(2)]
        return RegistrationResult(
            problem,
            shifts[0],
            maps={"intensity_change": problem.fixed},
            tables={"distance between anatomies": 12.5},
            series={"images": [problem.fixed, problem.moving.resampled(problem.fixed.grid)]},
            points={"fixed_correspondences": PointSet([[9.0, 20.0, 10.0]])},
            alternatives=[Alternative(s, {"similarity": 0.5 / k}) for k, s in enumerate(shifts, 1)],
        )

    tiny_method("generous", run=run)
    for name, centre in (("fixed", (10.0, 20.0, 12.0)), ("moving", (12.0, 20.0, 12.0))):
        io.write_image(blob(centre), tmp_path / f"{name}.nii.gz")
    arguments = ["--fixed", f"{tmp_path}/fixed.nii.gz", "--moving", f"{tmp_path}/moving.nii.gz"]
    assert main(["register", *arguments, "--method", "generous", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Distance between anatomies: 12.5" in lines
    assert "Candidate 1: similarity 0.5" in lines and "Candidate 2: similarity 0.25" in lines
    nodes = open_result_folder(tmp_path / "out")
    browser = nodes.series["images"]
    browser.SetSelectedItemNumber(1)
    moving = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "moving.nii.gz")))
    np.testing.assert_allclose(slicer.util.arrayFromVolume(shown_volume(browser)), moving, atol=1e-4)
    assert set(nodes.maps) == {"intensity_change"} and nodes.points["fixed_correspondences"] is not None
    best = slicer.util.arrayFromVolume(nodes.moved).copy()
    alternatives.choose(nodes.transform, 2)
    assert np.abs(slicer.util.arrayFromVolume(nodes.moved) - best).max() > 10
    alternatives.choose(nodes.transform, 1)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(nodes.moved), best, atol=0.01)
