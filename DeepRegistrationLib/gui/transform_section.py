"""What the transform does: in words, as a small picture, and drawn into the views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..mrml.direction import direction_words
from ..mrml.direction_picture import direction_picture
from ..mrml.review_inputs import ReviewNodes
from ..mrml.transform_display import show_transform
from .choices import ChoiceList


def _presets() -> list[tuple[str, str]]:
    return [
        ("off", _("Nothing")),
        ("grid", _("Grid that is bent along")),
        ("glyph", _("Arrows")),
        ("contour", _("Lines of equal displacement")),
    ]


class TransformSection:
    """`taking_views` is called before the transform is drawn."""

    def __init__(self, ui: Any, taking_views: Callable[[], None]) -> None:
        self._ui, self._taking = ui, taking_views
        self._node: slicer.vtkMRMLTransformNode | None = None
        self._fixed: slicer.vtkMRMLVolumeNode | None = None
        self.presets = ChoiceList(ui.transformBox, self._picked)
        self.presets.fill(_presets())

    def show(self, nodes: ReviewNodes | None) -> None:
        """Describe this transform, or none."""
        self.close()
        if nodes is not None and None in (nodes.transform, nodes.fixed, nodes.moving):
            nodes = None
        self._node = nodes.transform if nodes is not None else None
        self._fixed = nodes.fixed if nodes is not None else None
        ui = self._ui
        ui.transformBox.setEnabled(nodes is not None)
        words, picture = "", None
        if nodes is not None:
            try:
                words, picture = direction_words(nodes), direction_picture(nodes)
            except DeepRegistrationError as error:
                words = str(error)
        ui.directionLabel.setText(words or _("Choose a transform, and the two volumes it is about."))
        ui.directionPicture.setVisible(picture is not None)
        if picture is not None:
            ui.directionPicture.setPixmap(_pixmap(picture))

    def close(self) -> None:
        """Take the drawing out of the views."""
        if self._node is not None and self._node.GetScene() is not None and self.presets.value != "off":
            show_transform(self._node, "off", self._fixed)
        self.presets.select("off")
        self._say("")

    def _picked(self, preset: str) -> None:
        if self._node is None:
            return
        self._say("")
        try:
            if preset != "off":
                self._taking()
            show_transform(self._node, preset, self._fixed)
        except DeepRegistrationError as error:
            self.presets.select("off")
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._ui.transformLabel.setText(text)
        self._ui.transformLabel.setVisible(bool(text))


def _pixmap(picture: np.ndarray) -> qt.QPixmap:
    """(H, W, 3) bytes as a pixmap, by way of a PNG: PythonQt shares no memory with numpy."""
    from ..reports.png import encode_png

    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(encode_png(np.ascontiguousarray(picture))), "PNG")
    return pixmap
