"""The answers of a method that gives several, to be stepped through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ..mrml.alternatives import Candidate

# pixels
_HIGHEST, _SCROLL_BAR = 220, 22


class CandidateList:
    """Fills the frame `ui.candidatesFrame`; `picked` is called with the number of the candidate that a user chose."""

    def __init__(self, ui: Any, picked: Callable[[int], None]) -> None:
        self._frame, self._label, self._table = ui.candidatesFrame, ui.candidatesLabel, ui.candidatesTable
        self._picked = picked
        self._shown = 1
        self._quiet = False
        self._table.connect("itemSelectionChanged()", self._selected)
        self.show((), 1)

    def show(self, candidates: Sequence[Candidate], chosen: int, of_best: Sequence[str] = ()) -> None:
        """One row each, that of the chosen one selected; nothing to be seen where there are none.

        of_best  names of the nodes that belong to the best one whichever is chosen
        """
        self._shown = chosen
        self._frame.setVisible(bool(candidates))
        self._quiet = True
        try:
            self._fill(candidates)
            if candidates:
                self._table.selectRow(chosen - 1)
        finally:
            self._quiet = False
        self._label.setText(_sentence(len(candidates), chosen, of_best))

    def _fill(self, candidates: Sequence[Candidate]) -> None:
        scores = list(dict.fromkeys(name for c in candidates for name in c.scores))
        table = self._table
        table.setColumnCount(1 + len(scores))
        table.setHorizontalHeaderLabels([_("Candidate"), *(name[:1].upper() + name[1:] for name in scores)])
        table.setRowCount(len(candidates))
        for r, candidate in enumerate(candidates):
            numbers = [candidate.scores.get(name) for name in scores]
            texts = [candidate.title or str(candidate.number), *("" if v is None else f"{v:.4g}" for v in numbers)]
            for c, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                if c:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(r, c, item)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + _SCROLL_BAR + sum(table.rowHeight(r) for r in range(len(candidates)))
        table.setFixedHeight(min(height, _HIGHEST))

    def _selected(self) -> None:
        # the current row follows only after this
        chosen = self._table.selectedItems()
        if not self._quiet and chosen and chosen[0].row() + 1 != self._shown:
            self._picked(chosen[0].row() + 1)


def _sentence(count: int, chosen: int, of_best: Sequence[str]) -> str:
    if not count:
        return ""
    if chosen == 1:
        said = _("{count} candidates were found; the best one is shown. Choose another to look at it.")
        return said.format(count=count)
    said = _(
        "Candidate {number} of {count} is shown. Nothing was measured of it; the module Deep Registration Review can. "
        "Choose the first one to go back."
    ).format(number=chosen, count=count)
    if of_best:
        said += " " + _("These still belong to the best one: {names}.").format(names=", ".join(of_best))
    return said
