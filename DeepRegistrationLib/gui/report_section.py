"""The report of a review: drawn view by view while the application stays alive, then written in one go."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..mrml.capture import capture_slices
from ..mrml.report_pictures import report_pictures
from ..mrml.review_results import ReviewOutputs
from .steps import Steps


class ReportSection:
    """`lend_views` takes overlays out of the views and gives back what puts them in again."""

    def __init__(self, ui: Any, lend_views: Callable[[], Callable[[], None]]) -> None:
        self._ui, self._lend = ui, lend_views
        self._outputs: ReviewOutputs | None = None
        self._fixed: slicer.vtkMRMLVolumeNode | None = None
        self._steps: Steps | None = None
        self._give_back: Callable[[], None] | None = None
        ui.writeReportButton.connect("clicked(bool)", lambda _on: self._write())

    @property
    def running(self) -> bool:
        return self._steps is not None

    def show(self, outputs: ReviewOutputs | None, fixed: slicer.vtkMRMLVolumeNode | None) -> None:
        """Report this from now on; None: there is nothing to report."""
        self.abandon()
        self._outputs, self._fixed = outputs, fixed
        self._ui.writeReportButton.setEnabled(outputs is not None and fixed is not None)

    def abandon(self) -> None:
        """End a report that is being drawn; nothing is written."""
        steps, self._steps, self._give_back = self._steps, None, None
        if steps is not None:
            steps.abandon()
            self._ui.reportLabel.setText("")
            self._ui.writeReportButton.setEnabled(True)

    def _write(self) -> None:
        if self._outputs is None or self._steps is not None:
            return
        self._ui.writeReportButton.setEnabled(False)
        work = self._work(self._outputs, Path(self._ui.reportFolder.directory))
        self._steps = Steps(work, self._ui.reportLabel.setText, self._written, self._failed)

    def _work(self, outputs: ReviewOutputs, folder: Path) -> Generator[str, None, list[Path]]:
        from ..reports import write_measured

        yield _("Drawing the views")
        pictures = capture_slices(group=_("As on the screen"))
        self._give_back = self._lend()
        pictures += yield from report_pictures(outputs, self._fixed)
        yield _("Writing")
        return write_measured(folder, outputs.metrics, outputs.provenance, pictures=pictures)

    def _written(self, paths: list[Path]) -> None:
        link = paths[0].resolve().as_uri()
        self._end(_("Written: {link}").format(link=f"<a href='{link}'>{paths[0].name}</a>"))

    def _failed(self, error: Exception) -> None:
        if isinstance(error, DeepRegistrationError):
            self._end(str(error))
            return
        self._end(_("The report could not be drawn ({error}); try again.").format(error=error))

    def _end(self, text: str) -> None:
        give_back, self._steps, self._give_back = self._give_back, None, None
        self._ui.reportLabel.setText(text)
        self._ui.writeReportButton.setEnabled(True)
        if give_back is not None:
            give_back()
