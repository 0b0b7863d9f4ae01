"""Looking at two scans together: fade, checkerboard, reveal, flicker, difference, side by side."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any

import slicer
import vtk

from ..core.errors import InputError
from .difference import DifferencePainter, caution, difference_limit, paired_values
from .kept import KeptNode, modifying, nodes_of
from .reveal import Curtain, slicer_reveal
from .screen_mix import Colours, Painter, ScreenMix, SliceLayers, checkerboard, mix, schedule_render, slice_widget
from .side_by_side import SideBySide
from .views import SavedViews, layout_node, slice_layers
from .volumes import check_volume

#: ids of the ways to look
MODES = ("fade", "checkerboard", "reveal", "flicker", "difference", "side-by-side")
MOST_SQUARES = 100


class Comparison:
    """Two volumes in the slice views, fixed below and moved above it, in one of MODES at a time.

    The first `show` saves the views, `close` puts everything back as it was then; the scene's closing closes it.
    Until then it belongs to whoever made it: without `close` it stays in the views.
    """

    def __init__(
        self, fixed: slicer.vtkMRMLScalarVolumeNode, moved: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        self._fixed, self._moved = KeptNode(fixed), KeptNode(moved)
        self._check()
        self._scene = fixed.GetScene()
        self.mode = ""
        self.note = ""  # why what is seen means little; empty where it means something
        self.fade = 0.5
        self._board = _Board(8)
        self._moved_on_top = False
        self._limit: float | None = None  # the user's choice
        self._saved: SavedViews | None = None
        self._observed: list[tuple[Any, int]] = []
        self._dressed: list[KeptNode] = []
        self._painter: Painter | None = None
        self._mixes: dict[str, ScreenMix] = {}
        self._curtain: Curtain | None = None
        self._reveal: Any = None
        self._sides: SideBySide | None = None

    # ------------------------------------------------------------------ what the user chooses

    def show(self, mode: str) -> str:
        """Look at the two in another way. Returns `note`: a sentence where that way means little for these scans.

        Raises InputError for an unknown mode and where one of the volumes has gone or has nothing to show.
        """
        if mode not in MODES:
            raise InputError(f"There is no comparison {mode!r}; choose one of {', '.join(MODES)}.")
        fixed, moved = self._check()
        if mode == "difference":
            check_volume(fixed, "fixed")
            check_volume(moved, "moved")
        if self._saved is None:
            self._open(fixed, moved)
        self._end_mode()
        self.mode = mode
        self._moved_on_top = False
        if mode == "side-by-side":
            self._sides = SideBySide(fixed, moved)
        elif mode == "checkerboard":
            self._painter = self._board
        elif mode == "difference":
            self.note = self._prepare_difference()
        self._dress()
        if mode == "reveal":
            # After the layers, which Slicer's own reveal looks for at once.
            self._reveal = slicer_reveal()
            if self._reveal is None:
                self._painter = self._curtain = Curtain(self._scene, schedule_render)
                self._dress()
        return self.note

    def set_fade(self, moved: float) -> None:
        """How much of moved is seen in "fade": 0 only fixed, 1 only moved."""
        if not 0 <= moved <= 1:
            raise InputError(f"The share of the moved scan is {moved!r}; give a number from 0 to 1.")
        self.fade = float(moved)
        if self.mode == "fade":
            self._dress()

    @property
    def squares(self) -> int:
        return self._board.squares

    def set_squares(self, count: int) -> None:
        """How many squares of the checkerboard fit along the shorter side of a view."""
        if not 1 <= count <= MOST_SQUARES:
            raise InputError(f"The number of squares is {count!r}; give one from 1 to {MOST_SQUARES}.")
        self._board.squares = int(count)
        self._redraw()

    @property
    def difference_limit(self) -> float | None:
        """Where the colours of "difference" end, on both sides of 0; None in other modes."""
        return self._painter.limit if isinstance(self._painter, DifferencePainter) else None

    def set_difference_limit(self, limit: float | None) -> None:
        """Choose where the colours of "difference" end; None: from the scans."""
        if limit is not None and not 0 < limit < float("inf"):
            raise InputError(f"The end of the colours is {limit!r}; give a number above 0.")
        self._limit = limit
        if self.mode == "difference":
            self.show("difference")

    def step(self) -> str:
        """The next picture of "flicker"; returns what is seen then, "fixed" or "moved"."""
        if self.mode == "flicker":
            self._moved_on_top = not self._moved_on_top
            self._dress()
        return "moved" if self._moved_on_top else "fixed"

    def close(self) -> None:
        """Put the views back as they were before the first `show`; nothing where that is done."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        self._end_mode()
        self._dressed = []
        saved.restore()

    # ------------------------------------------------------------------ what happens

    def _check(self) -> tuple[Any, Any]:
        found = []
        for kept, role in ((self._fixed, "fixed"), (self._moved, "moved")):
            node = kept.node
            if node is None:
                raise InputError(f"The {role} volume is not in the scene; choose it again.")
            if node.GetImageData() is None:
                raise InputError(f"The {role} volume {node.GetName()!r} holds no voxels; load an image into it.")
            found.append(node)
        return found[0], found[1]

    def _open(self, fixed: slicer.vtkMRMLNode, moved: slicer.vtkMRMLNode) -> None:
        self._saved = SavedViews(self._scene, touched=(fixed, moved))
        reference = weakref.ref(self)

        def closing(_caller: Any, _event: str) -> None:
            comparison = reference()
            if comparison is not None:
                comparison.close()

        def rearranged(_caller: Any, _event: str) -> None:
            comparison = reference()
            if comparison is not None and comparison.mode != "side-by-side":
                comparison._dress(only_new=True)

        tag = self._scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, closing)
        self._observed.append((self._scene, tag))
        layout = layout_node(self._scene)
        if layout is not None:
            # After those who make the views of a new layout.
            self._observed.append((layout, layout.AddObserver(vtk.vtkCommand.ModifiedEvent, rearranged, -1.0)))

    def _end_mode(self) -> None:
        for screen_mix in self._mixes.values():
            screen_mix.remove()
        self._mixes, self._painter = {}, None
        if self._curtain is not None:
            self._curtain.remove()
            self._curtain = None
        if self._reveal is not None:
            self._reveal.cleanup()
            self._reveal = None
        if self._sides is not None:
            self._sides.close()
            self._sides = None
        self.mode = self.note = ""

    def _dress(self, only_new: bool = False) -> None:
        """Give every view its layers and its mix; `only_new`: those that came since."""
        fixed, moved = self._fixed.node, self._moved.node
        if self._sides is not None or fixed is None or moved is None:
            return
        opacity = {"fade": self.fade, "flicker": float(self._moved_on_top)}.get(self.mode, 0.0)
        known = [kept.node for kept in self._dressed]
        for composite in slice_layers(self._scene):
            new = not any(composite is node for node in known)
            if new:
                self._dressed.append(KeptNode(composite))
            if new or not only_new:
                _set_layers(composite, fixed, moved, opacity)
        if self._painter is not None:
            self._add_mixes(self._painter)

    def _add_mixes(self, painter: Painter) -> None:
        for node in nodes_of(self._scene, "vtkMRMLSliceNode"):
            name = str(node.GetLayoutName())
            widget = slice_widget(name)
            if widget is not None and name not in self._mixes:
                props = (painter.legend(),) if isinstance(painter, DifferencePainter) else ()
                self._mixes[name] = ScreenMix(widget, painter, props)

    def _prepare_difference(self) -> str:
        fixed, moved = self._check()
        values = paired_values(fixed, moved)
        self._painter = DifferencePainter(self._limit or difference_limit(*values))
        return caution(*values, fixed.GetName(), moved.GetName())

    def _redraw(self) -> None:
        for screen_mix in self._mixes.values():
            screen_mix.redraw()


class _Board:
    """The two scans in squares."""

    def __init__(self, squares: int) -> None:
        self.squares = squares

    def state(self, view: str) -> Hashable:
        return self.squares

    def paint(self, layers: SliceLayers, view: str) -> Colours | None:
        background, foreground = layers.picture(0), layers.picture(1)
        if background is None:
            return None
        height, width = background.shape[:2]
        return mix(background, foreground, checkerboard((height, width), self.squares))


def _set_layers(
    composite: slicer.vtkMRMLSliceCompositeNode,
    background: slicer.vtkMRMLVolumeNode,
    foreground: slicer.vtkMRMLVolumeNode,
    opacity: float,
) -> None:
    with modifying(composite):
        composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(foreground.GetID())
        composite.SetForegroundOpacity(opacity)
        composite.SetCompositing(composite.Alpha)
