"""Many results in one table, outliers first; a double click opens one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..reports.batch import BatchCase, collect
from .sorted_table import Column, SortedTable


def _columns() -> list[Column]:
    return [
        Column(_("Case"), lambda c: c.name, None),
        Column(_("Stands out by"), lambda c: c.error or c.reason, None),
        Column(_("Dice before"), lambda c: c.dice_before, 3),
        Column(_("after"), lambda c: c.dice_after, 3, _("Mean Dice after")),
        Column(_("TRE before"), lambda c: c.tre_before, 2, _("Mean landmark error before, mm")),
        Column(_("after"), lambda c: c.tre_after, 2, _("Mean landmark error after, mm")),
        Column(_("Folding %"), lambda c: c.folding_percent, 3),
        Column(_("Smallest J"), lambda c: c.jacobian_min, 2, _("Smallest Jacobian determinant")),
        Column(_("Inverse"), lambda c: c.inverse_p95, 2, _("95 % of the points come back closer than this, mm")),
        Column(_("Outlier"), lambda c: c.outlier, 1, _("How far it lies from the other cases")),
    ]


class BatchSection:
    """`open_case` is called with the folder of the case that was double-clicked."""

    def __init__(self, ui: Any, open_case: Callable[[Path], None]) -> None:
        self._ui, self._open_case = ui, open_case
        self.table = SortedTable(ui.batchTable, _columns(), opened=self._opened)
        ui.batchTable.hide()
        ui.batchLabel.setText(_("Choose the folder under which the results lie."))
        ui.batchFolder.connect("directorySelected(QString)", self.read)

    def read(self, folder: str) -> None:
        """Show every result below `folder`."""
        try:
            cases = collect(Path(folder))
        except DeepRegistrationError as error:
            self._fill([], str(error))
            return
        if cases:
            self._fill(cases, _("{count} results; those that stand out come first.").format(count=len(cases)))
        else:
            self._fill([], _("No result of a registration lies below {folder}.").format(folder=folder))

    def _fill(self, cases: list[BatchCase], text: str) -> None:
        self.table.fill(cases)
        self._ui.batchTable.setVisible(bool(cases))
        self._ui.batchLabel.setText(text)

    def _opened(self, case: BatchCase) -> None:
        self._open_case(Path(case.path))
