"""A transform drawn into the views by Slicer itself, with sizes that fit the volume and the displacement."""

from __future__ import annotations

import math

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from ..core.errors import InputError
from .colours import ERROR_STOPS, transfer_function
from .direction import LATTICE, STILL_MM, direction_words, lattice, through
from .direction_picture import direction_picture
from .map_nodes import style_legend

__all__ = ["PRESETS", "direction_picture", "direction_words", "show_transform"]

PRESETS = ("off", "grid", "glyph", "contour")

# a display in 3-D samples the fixed volume at so many points at most: each is found by inverting the transform
_MOST_POINTS = 16_000
_MOST_ARROWS = 2_000
_LEVELS = 6



def show_transform(node: slicer.vtkMRMLTransformNode, preset: str, fixed: slicer.vtkMRMLVolumeNode | None) -> None:
    """Draw the transform over the fixed volume, in slices and 3-D, or take it away ("off").

    grid     a regular grid of moving as it is bent
    glyph    arrows from where moving tissue lies to where it goes
    contour  lines and surfaces of equal displacement, mm

    Spacings, sizes and levels are made to fit the volume and the displacement. Raises InputError for an unknown
    preset, and where there is nothing to draw.
    """
    if preset not in PRESETS:
        raise InputError(f"There is no display {preset!r} of a transform; use {', '.join(PRESETS)}.")
    if preset == "off":
        _hide(node)
        return
    if fixed is None or fixed.GetImageData() is None or node.GetScene() is None:
        raise InputError(f"To draw the transform {node.GetName()!r} choose the fixed volume it belongs to.")
    largest = largest_displacement(node, fixed)
    if largest < STILL_MM:
        raise InputError(
            f"The transform {node.GetName()!r} moves nothing inside {fixed.GetName()!r}, so there is nothing to draw."
        )
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    # makes the colours that the next lines change, and adds a node while it does
    display.GetColorMap()
    changing = display.StartModify()
    display.SetColorMap(transfer_function(ERROR_STOPS, 0.0, largest))
    display.SetAndObserveRegionNode(fixed)
    {"grid": _grid, "glyph": _glyph, "contour": _contour}[preset](display, extent_of(fixed), largest)
    display.SetSliceIntersectionThickness(2)
    display.SetVisibility(True)
    display.SetVisibility2D(True)
    display.SetVisibility3D(True)
    display.EndModify(changing)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    style_legend(legend, "Displacement (mm)", (0.0, largest))
    legend.SetVisibility(True)


def _hide(node: slicer.vtkMRMLTransformNode) -> None:
    display = node.GetDisplayNode()
    if display is None:
        return
    display.SetVisibility(False)
    display.SetVisibility2D(False)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetVisibility(False)


def extent_of(volume: slicer.vtkMRMLVolumeNode) -> NDArray[np.float64]:
    """(3) how far the volume reaches along R, A and S, mm."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    return np.maximum(np.array(bounds[1::2]) - np.array(bounds[::2]), 1.0)


def largest_displacement(node: slicer.vtkMRMLTransformNode, fixed: slicer.vtkMRMLVolumeNode) -> float:
    """mm, at points spread over the fixed volume. Raises InputError where the transform is not finite there."""
    places = lattice(fixed, LATTICE)
    back = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(back)
    distances = np.linalg.norm(through(back, places) - places, axis=1)
    if not np.isfinite(distances).all():
        raise InputError(f"The transform {node.GetName()!r} maps points to nowhere, so it cannot be drawn.")
    return float(distances.max())


def _spread(extent: NDArray[np.float64], count: int) -> float:
    """Distance of about `count` points spread over the extent, mm."""
    return float((extent.prod() / count) ** (1 / 3))


def _grid(display: slicer.vtkMRMLTransformDisplayNode, extent: NDArray[np.float64], largest: float) -> None:
    between = nice(_spread(extent, _MOST_POINTS) * 2)
    display.SetVisualizationMode(display.VIS_MODE_GRID)
    display.SetGridSpacingMm(between)
    display.SetGridResolutionMm(between / 2)
    display.SetGridLineDiameterMm(0.06 * between)
    display.SetGridScalePercent(100.0)
    display.SetGridShowNonWarped(False)


def _glyph(display: slicer.vtkMRMLTransformDisplayNode, extent: NDArray[np.float64], largest: float) -> None:
    between = nice(_spread(extent, _MOST_ARROWS))
    display.SetVisualizationMode(display.VIS_MODE_GLYPH)
    display.SetGlyphType(display.GLYPH_TYPE_ARROW)
    display.SetGlyphSpacingMm(between)
    # true lengths where they can be seen and do not run into each other
    true = 0.4 * between <= largest <= 2.0 * between
    display.SetGlyphScalePercent(100.0 if true else 100.0 * nice(between / largest))
    display.SetGlyphDiameterMm(0.18 * between)
    display.SetGlyphDisplayRangeMinMm(0.01 * largest)
    display.SetGlyphDisplayRangeMaxMm(10.0 * largest)


def _contour(display: slicer.vtkMRMLTransformDisplayNode, extent: NDArray[np.float64], largest: float) -> None:
    step = nice(largest / _LEVELS)
    levels = [step * k for k in range(1, math.ceil(largest / step) + 1) if step * k < largest] or [largest / 2]
    display.SetVisualizationMode(display.VIS_MODE_CONTOUR)
    display.SetContourResolutionMm(_spread(extent, _MOST_POINTS))
    display.SetContourLevelsMmFromString(" ".join(f"{level:g}" for level in levels))
    display.SetContourOpacity(0.4)


def nice(value: float) -> float:
    """The nearest of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda m: abs(math.log(m / value)))


