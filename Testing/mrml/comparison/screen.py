"""What the tests of the comparison share: the drawn pictures and where in them the scans lie."""

from __future__ import annotations

from typing import Any

import numpy as np

MODES = ("fade", "checkerboard", "reveal", "flicker", "difference", "side-by-side")
SLICES = ("Red", "Yellow", "Green")
#: the grey of the two volumes of `pair`
FIXED_GREY, MOVED_GREY = 51, 170


def ramp(value: float = 0.0) -> np.ndarray:
    """(40, 60, 80) values that rise by 5 along x from `value`."""
    return np.tile(np.arange(80) * 5.0 + value, (40, 60, 1)).astype(np.float32)


def picture(name: str = "Red") -> np.ndarray:
    """(H, W, 3) what a view shows, first row on top."""
    import slicer

    from host import screenshot

    return screenshot.view(slicer.app.layoutManager().sliceWidget(name)).astype(int)


def composite(name: str = "Red") -> Any:
    import slicer

    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()


def inside(name: str = "Red", margin: int = 3) -> np.ndarray:
    """(H, W) True where the view shows voxels of its background, away from their edge."""
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
    image = logic.GetBackgroundLayer().GetImageData()
    width, height, _ = image.GetDimensions()
    alpha = vtk_to_numpy(image.GetPointData().GetScalars())
    mask = alpha.reshape(height, width, 4)[::-1, :, 3] > 0
    out = mask.copy()
    for shift in range(-margin, margin + 1):
        out &= np.roll(mask, shift, 0) & np.roll(mask, shift, 1)
    return out


def clear(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) True away from the corner where the view writes the names of its layers."""
    out = np.ones(shape, bool)
    out[shape[0] * 3 // 4 :, : shape[1] // 2] = False
    return out


def mouse(name: str, x: int, y: int) -> None:
    """The mouse goes to a pixel of a view, counted from the bottom left."""
    import slicer

    interactor = slicer.app.layoutManager().sliceWidget(name).sliceView().interactor()
    interactor.SetEventInformation(x, y, 0, 0)
    interactor.InvokeEvent("EnterEvent")
    interactor.InvokeEvent("MouseMoveEvent")
