"""Pictures of Slicer's own views: before, after, change of volume, checkerboard, and the whole window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from .scene import CaseNodes
from .sheets import sheet

VIEWS = ("Red", "Green", "Yellow")
#: pixels of the window: the views of it are what pictures are made of
WINDOW = (1720, 1020)
_PANEL = 470
#: mm of a field of the checkerboard, as a share of the longest side
_FIELDS = 7


class Pictures:
    """Draws into `folder`; every picture shows the same slices."""

    def __init__(self, host: Any, nodes: CaseNodes, folder: Path) -> None:
        self._host, self._folder = host, folder
        self._fixed, self._moving = nodes.volumes["fixed"], nodes.volumes["moving"]
        self._layout = slicer.app.layoutManager()
        self._layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        host.main_window().resize(*WINDOW)
        host.process_events(0.1)
        self.files: list[Path] = []

    @property
    def moving(self) -> Any:
        """Moving as pictures before the alignment show it: a copy whose lowest value is 0, because that is
        what Slicer draws beyond the edge of a volume. Remove it after use.
        """
        copy = slicer.modules.volumes.logic().CloneVolume(self._moving, "copy")
        copy.SetName(self._moving.GetName())
        values = slicer.util.arrayFromVolume(self._moving).astype(np.float32)
        slicer.util.updateVolumeFromArray(copy, values - values.min())
        shown, display = self._moving.GetDisplayNode(), copy.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(shown.GetWindow(), shown.GetLevel() - float(values.min()))
        return copy

    def frame(self, focus: np.ndarray | None = None) -> None:
        """Fit the slices to fixed; through `focus` (RAS mm), or through the middle of fixed."""
        self._layers(self._fixed, None)
        self._host.process_events()
        self._layout.resetSliceViews()
        for name in VIEWS:
            node = self._layout.sliceWidget(name).mrmlSliceNode()
            if focus is not None:
                node.JumpSliceByOffsetting(*focus.tolist())
            field = node.GetFieldOfView()
            node.SetFieldOfView(field[0] * 0.98, field[1] * 0.98, field[2])

    def pair(self, moving: Any) -> list[Any]:
        """The three views with fixed in green and `moving` in magenta: grey where they agree."""
        with self._colours({self._fixed: "Green", moving: "Magenta"}):
            self._layers(self._fixed, moving, 1.0, add=True)
            images = self._views()
        self._layers(self._fixed, None)
        return images

    def jacobian(self, segmentation: Any) -> None:
        """`jacobian.png` and `panel.png`, once the panel has been told to show the change of volume."""
        caption = "Local change of volume (Jacobian determinant) on fixed"
        self.save("jacobian.png", {caption: self._views()})
        self.solid(segmentation)
        self.window("panel.png")

    def checkerboard(self, moving: Any) -> list[Any]:
        """The three views with fields of fixed and of `moving` by turns, each windowed as it is shown."""
        logic = slicer.modules.volumes.logic()
        on_fixed = logic.ResampleVolumeToReferenceVolume(moving, self._fixed)
        board = logic.CloneVolume(self._fixed, "checkerboard")
        arrays = [_windowed(self._fixed), _windowed(on_fixed, moving)]
        fields = _fields(arrays[0].shape, self._fixed.GetSpacing()[::-1])
        slicer.util.updateVolumeFromArray(board, np.where(fields, *arrays).astype(np.float32))
        board.GetDisplayNode().SetAutoWindowLevel(False)
        board.GetDisplayNode().SetWindowLevel(255.0, 127.5)
        self._layers(board, None)
        images = self._views()
        self._layers(self._fixed, None)
        for node in (board, on_fixed):
            slicer.mrmlScene.RemoveNode(node)
        return images

    def save(self, name: str, rows: dict[str, list[Any]]) -> Path:
        """A sheet of rows of pictures, each with its caption."""
        self.files.append(sheet(rows, self._folder / name))
        return self.files[-1]

    def window(self, name: str) -> Path:
        """The whole window: panel, three slice views, 3-D view."""
        self.files.append(self._host.screenshot(self._folder / name, WINDOW, _PANEL))
        return self.files[-1]

    @staticmethod
    def hide(segmentation: Any) -> None:
        """Segments would cover what the slices are to show."""
        if segmentation is not None:
            segmentation.GetDisplayNode().SetVisibility(False)

    def solid(self, segmentation: Any) -> None:
        """Show segments as surfaces in the 3-D view, seen from the front, while the slices stay free of
        them; the slices themselves where there are no segments.
        """
        view = self._layout.threeDWidget(0).threeDView()
        view.mrmlViewNode().SetBoxVisible(False)
        view.mrmlViewNode().SetAxisLabelsVisible(False)
        if segmentation is not None and segmentation.CreateClosedSurfaceRepresentation():
            display = segmentation.GetDisplayNode()
            display.SetVisibility(True)
            display.SetVisibility3D(True)
            display.SetAllSegmentsVisibility2DFill(False)
            display.SetAllSegmentsVisibility2DOutline(False)
            view.rotateToViewAxis(3)
        else:
            for name in VIEWS:
                self._layout.sliceWidget(name).mrmlSliceNode().SetSliceVisible(True)
            view.cameraNode().GetCamera().SetPosition(350.0, 600.0, 300.0)
            view.cameraNode().GetCamera().SetViewUp(0.0, 0.0, 1.0)
        self._host.process_events()
        view.resetFocalPoint()
        view.resetCamera(False, True, True)
        view.cameraNode().GetCamera().Zoom(1.3)

    # ------------------------------------------------------------------ layers

    @staticmethod
    def _layers(background: Any, foreground: Any, opacity: float = 0.0, *, add: bool = False) -> None:
        kind = slicer.vtkMRMLSliceCompositeNode
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            node.SetBackgroundVolumeID(background.GetID())
            node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            node.SetForegroundOpacity(opacity)
            node.SetCompositing(kind.Add if add else kind.Alpha)

    @staticmethod
    @contextmanager
    def _colours(tables: dict[Any, str]) -> Iterator[None]:
        displays = {volume.GetDisplayNode(): table for volume, table in tables.items()}
        before = {display: display.GetColorNodeID() for display in displays}
        for display, table in displays.items():
            display.SetAndObserveColorNodeID(f"vtkMRMLColorTableNode{table}")
        yield
        for display, table in before.items():
            display.SetAndObserveColorNodeID(table)

    def _views(self) -> list[Any]:
        self._host.process_events()
        images = []
        for name in VIEWS:
            view = self._layout.sliceWidget(name).sliceView()
            view.forceRender()
            images.append(view.grab().toImage())
        return images


def _windowed(volume: Any, like: Any = None) -> np.ndarray:
    """Grey values 0 to 255 as a volume's window and level (or those of `like`) show them."""
    display = (like or volume).GetDisplayNode()
    low = display.GetLevel() - display.GetWindow() / 2
    values = slicer.util.arrayFromVolume(volume).astype(np.float32)
    return np.clip((values - low) * (255.0 / display.GetWindow()), 0, 255)


def _fields(shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """True and False by turns in cubes, equally long in mm along all axes."""
    edge = max(n * s for n, s in zip(shape, spacing, strict=True)) / _FIELDS
    index = np.indices(shape, sparse=True)
    numbers = [(i * s // edge).astype(int) for i, s in zip(index, spacing, strict=True)]
    return np.asarray((numbers[0] + numbers[1] + numbers[2]) % 2 == 0)
