"""Fixed and moved volume beside or over each other: the part of the panel that compares images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..mrml.comparison import Comparison
from .choices import ChoiceList

_SLIDERS = {"fade": "fadeSlider", "checkerboard": "squaresSlider", "flicker": "flickerSlider"}


def _modes() -> list[tuple[str, str]]:
    return [
        ("", _("Not now")),
        ("fade", _("Fade from one to the other")),
        ("checkerboard", _("Checkerboard")),
        ("reveal", _("Reveal at the mouse")),
        ("flicker", _("Flicker")),
        ("difference", _("Difference (fixed minus moved)")),
        ("side-by-side", _("Side by side, linked")),
    ]


class CompareSection:
    """`taking_views` is called before the views are touched, `leaving` after they are let go of."""

    def __init__(self, ui: Any, taking_views: Callable[[], None], leaving: Callable[[], None]) -> None:
        self._ui, self._taking, self._leaving = ui, taking_views, leaving
        self._volumes: tuple[Any, Any] | None = None
        self._comparison: Comparison | None = None
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._flick)
        self.modes = ChoiceList(ui.compareBox, self.pick)
        self.modes.fill(_modes())
        ui.fadeSlider.connect("valueChanged(double)", self._faded)
        ui.squaresSlider.connect("valueChanged(double)", self._squared)
        ui.flickerSlider.connect("valueChanged(double)", lambda seconds: self._timer.setInterval(_ms(seconds)))
        self._show_controls("")

    def show(self, fixed: slicer.vtkMRMLVolumeNode | None, moved: slicer.vtkMRMLVolumeNode | None) -> None:
        """Compare these from now on; None ends a comparison that is shown."""
        self.close()
        self._volumes = (fixed, moved) if fixed is not None and moved is not None else None
        self._ui.compareBox.setEnabled(self._volumes is not None)
        self._say("" if self._volumes else _("Measure first: the moved volume is made then."))

    def close(self) -> None:
        """Take away what the comparison put into the views."""
        self._timer.stop()
        if self._comparison is not None:
            self._comparison.close()
            self._comparison = None
        self.modes.select("")
        self._show_controls("")

    def pick(self, mode: str) -> None:
        """Compare in this way; empty: not at all."""
        self.modes.select(mode)
        if self._volumes is None:
            return
        self._say("")
        if not mode:
            self.close()
            self._leaving()
            return
        self._taking()
        try:
            if self._comparison is None:
                self._comparison = Comparison(*self._volumes)
            self._comparison.set_fade(self._ui.fadeSlider.value)
            self._comparison.set_squares(round(self._ui.squaresSlider.value))
            note = self._comparison.show(mode)
        except DeepRegistrationError as error:
            self.close()
            self._say(str(error))
            return
        self._show_controls(mode)
        self._timer.setInterval(_ms(self._ui.flickerSlider.value))
        if mode == "flicker":
            self._timer.start()
        else:
            self._timer.stop()
        self._say(note)

    def _faded(self, share: float) -> None:
        if self._comparison is not None:
            self._comparison.set_fade(share)

    def _squared(self, count: float) -> None:
        if self._comparison is not None:
            self._comparison.set_squares(round(count))

    def _flick(self) -> None:
        if self._comparison is not None:
            self._comparison.step()

    def _show_controls(self, mode: str) -> None:
        for name, slider in _SLIDERS.items():
            getattr(self._ui, slider).setVisible(name == mode)
            getattr(self._ui, f"{slider}Label").setVisible(name == mode)

    def _say(self, text: str) -> None:
        self._ui.compareLabel.setText(text)
        self._ui.compareLabel.setVisible(bool(text))


def _ms(seconds: float) -> int:
    return max(50, round(1000 * seconds))
