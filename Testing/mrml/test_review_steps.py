"""A large review never keeps the application waiting for long: every step, from nodes to files and back."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util

from DeepRegistrationLib.jobs import JobFolder
from DeepRegistrationLib.mrml.review_inputs import ReviewNodes, export_review
from DeepRegistrationLib.mrml.review_results import load_review
from DeepRegistrationLib.mrml.slabs import finish, write_array
from mrml.test_review_inputs import linear, thin_plate
from mrml.test_review_transforms import grid_node

N = 256
MATRIX = np.array([[-1.0, 0, 0, 120], [0, -1.0, 0, 130], [0, 0, 1.2, -150], [0, 0, 0, 1]])
#: s. Measured on two busy cores: 0.04 to export, 0.06 to load; other processes may take the rest away.
LONGEST = 0.5


def driven(steps: Generator[str, None, Any], told: dict[str, float]) -> Any:
    """What the steps return; `told` learns the longest time by word."""
    while True:
        started = time.perf_counter()
        try:
            word = next(steps)
        except StopIteration as stop:
            value, word = stop.value, "the last step"
        told[word] = max(told.get(word, 0.0), time.perf_counter() - started)
        if word == "the last step":
            return value


@pytest.fixture
def nodes(scene: Any) -> ReviewNodes:
    """int16 and float32 of 256^3, a field of the same size, segmentations of 10 and a mask."""
    ramp = np.arange(N, dtype=np.int16)
    array = (ramp[:, None, None] % 97) * 5 + (ramp[:, None] % 31) * 7 + ramp % 13
    volumes = []
    for name, dtype in (("F", np.int16), ("M", np.float32)):
        matrix = slicer.util.vtkMatrixFromArray(MATRIX)
        volume = slicer.util.addVolumeFromArray(array.astype(dtype), matrix, name)
        volume.CreateDefaultDisplayNodes()
        volumes.append(volume)
    cells = ((ramp[:, None, None] // 32 + ramp[:, None] // 32 + ramp // 32) % 11).astype(np.int16)
    label_map = slicer.util.addVolumeFromArray(cells, matrix, "L", "vtkMRMLLabelMapVolumeNode")
    label_map.CreateDefaultDisplayNodes()
    segmentations = []
    for name in ("FS", "MS"):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(label_map, node)
        segmentations.append(node)
    field = np.empty((N, N, N, 3), np.float32)
    field[...] = 3 * np.sin(ramp / 20)[:, None, None, None]
    return ReviewNodes(
        grid_node(scene, field, MATRIX),
        *volumes,
        fixed_mask=label_map,
        fixed_segmentation=segmentations[0],
        moving_segmentation=segmentations[1],
    )


def results(folder: Path) -> dict[str, str]:
    """Five maps, moved and segments, as the worker would leave them for 256^3."""
    import SimpleITK as sitk

    values = np.broadcast_to(1 + 0.3 * np.sin(np.arange(N, dtype=np.float32) / 9), (N, N, N))
    files = {}
    for name in ("jacobian", "log-jacobian", "displacement", "inverse-consistency", "uncertainty"):
        files[name] = str(folder / f"{name}.nrrd")
        finish(write_array(values, Path(files[name]), MATRIX, dtype=np.float32))
    files["moved"] = str(folder / "moving.nrrd")
    labels = sitk.ReadImage(str(folder / "moving_segmentation.seg.nrrd"))
    files["segmentation"] = str(folder / "segmentation.nrrd")
    sitk.WriteImage(labels, files["segmentation"], True)
    return files


def test_steps_of_a_large_review_are_short(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    told: dict[str, float] = {}
    exported = driven(export_review(nodes, JobFolder(tmp_path)), told)
    assert (tmp_path / "transform.nrrd").stat().st_size > 3 * 4 * N**3
    data = {"files": results(tmp_path), "metrics": {}, "provenance": {}}
    outputs = driven(load_review(nodes, data, exported.labels), told)
    assert len(outputs.maps) == 5 and outputs.segmentation.GetSegmentation().GetNumberOfSegments() == 10
    slow = {word: round(seconds, 3) for word, seconds in told.items() if seconds > LONGEST}
    assert not slow, slow


def test_steps_where_everything_is_resampled_are_short(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    """An inverse below a parent has to be sampled, a sheared volume resampled, labels with it."""
    parent = linear(scene, np.array([[1.0, 0.1, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    for node in (nodes.transform, nodes.moving, nodes.moving_segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    told: dict[str, float] = {}
    exported = driven(export_review(nodes.replaced(use_inverse=True), JobFolder(tmp_path)), told)
    assert "was resampled" in exported.messages[0]
    assert (tmp_path / "transform.nrrd").stat().st_size < 3 * 4 * 2.2e6
    slow = {word: round(seconds, 3) for word, seconds in told.items() if seconds > LONGEST}
    assert not slow, slow


def test_the_first_step_of_a_slow_transform_is_short(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    """Nobody knows beforehand what a point costs; only the first steps are taken here, the rest takes a minute."""
    parent = thin_plate(scene)
    nodes.fixed.SetAndObserveTransformNodeID(parent.GetID())
    told: dict[str, float] = {}
    steps = export_review(nodes, JobFolder(tmp_path))
    for _ in range(25):
        started = time.perf_counter()
        word = next(steps)
        told[word] = max(told.get(word, 0.0), time.perf_counter() - started)
    steps.close()
    assert "Resampling F" in told
    slow = {word: round(seconds, 3) for word, seconds in told.items() if seconds > LONGEST}
    assert not slow, slow
