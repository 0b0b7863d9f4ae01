"""Pictures taken of the views are what the views show."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.display


@pytest.fixture
def views(scene: Any, slicer_host: Any) -> Iterator[Any]:
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(640, 560)
    manager.viewport().show()
    slicer_host.process_events()
    yield manager
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer_host.process_events()


def decoded(png: bytes) -> np.ndarray:
    """(H, W, 3) pixels by another reader than VTK's."""
    from PySide6 import QtGui

    from host import screenshot

    image = QtGui.QImage.fromData(png, "PNG")
    assert not image.isNull()
    return screenshot.array(image)


@pytest.fixture
def striped(views: Any, make_volume: Any) -> Any:
    import slicer

    k, j, i = np.indices((40, 50, 60))
    volume = make_volume((i * 4 + j * 2 + k).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]), "striped")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def test_every_slice_view_is_taken(views: Any, striped: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from DeepRegistrationLib.mrml.capture import capture_slices
    from host import screenshot

    def no_file(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"a file was opened: {arguments}")

    views.sliceWidget("Red").sliceLogic().SetSliceOffset(20.0)
    monkeypatch.setattr("builtins.open", no_file)
    monkeypatch.setattr(io, "open", no_file)
    pictures = capture_slices("Fade", "CT and MR.", group="Fade")
    monkeypatch.undo()
    assert sorted(p.title for p in pictures) == ["Fade, axial", "Fade, coronal", "Fade, sagittal"]
    assert {p.group for p in pictures} == {"Fade"}
    axial = next(p for p in pictures if p.title == "Fade, axial")
    assert axial.caption == "CT and MR. At 20.0 mm"
    for name, word in (("Red", "axial"), ("Yellow", "sagittal"), ("Green", "coronal")):
        taken = next(p for p in pictures if p.title.endswith(word))
        shown = screenshot.view(views.sliceWidget(name))
        assert taken.size == shown.shape[1::-1]
        assert (decoded(taken.png) == shown).all()
        assert np.ptp(shown) > 100


def test_it_is_taken_as_it_is_now(views: Any, striped: Any, make_volume: Any) -> None:
    from DeepRegistrationLib.mrml.capture import capture_slices
    from DeepRegistrationLib.mrml.comparison import Comparison

    other = make_volume(np.zeros((40, 50, 60)), np.diag([2.0, 2.0, 2.0, 1.0]), "black")
    plain = decoded(capture_slices()[0].png)
    comparison = Comparison(striped, other)
    comparison.show("checkerboard")
    mixed = decoded(capture_slices()[0].png)
    comparison.close()
    changed = (mixed != plain).any(axis=-1)
    assert 0.2 < changed.mean() < 0.6
    assert mixed[changed].max() < mixed[~changed].max()
    assert (decoded(capture_slices()[0].png) == plain).all()


def test_only_the_views_of_the_layout_are_taken(views: Any, striped: Any, slicer_host: Any) -> None:
    import slicer

    from DeepRegistrationLib.mrml.capture import capture_slices, capture_view

    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer_host.process_events()
    (only,) = capture_slices()
    assert only.title == "Axial" and only.caption.startswith("At ")
    views.sliceWidget("Red").mrmlSliceNode().SetSliceToRASByNTP(0.1, 0.3, 1, 1, 0.1, 0, 5, 6, 7, 0)
    assert capture_slices("Now")[0].title == "Now, oblique"
    views.sliceWidget("Red").mrmlSliceNode().SetOrientationToAxial()
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    slicer_host.process_events()
    assert capture_slices() == []
    assert decoded(capture_view(views.threeDWidget(0).threeDView())).shape[2] == 3
