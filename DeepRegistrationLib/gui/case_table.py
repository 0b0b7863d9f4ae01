"""The table of the cases of a training: image, segmentation, what it is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from ..mrml.training_cases import LEAVE_OUT, TRAIN, VALIDATE, CaseRow

#: pixels
_HIGHEST, _LOWEST = 260, 90


def _roles() -> list[tuple[str, str]]:
    return [(TRAIN, _("Learn from")), (VALIDATE, _("Validate on")), (LEAVE_OUT, _("Leave out"))]


class CaseTable:
    """Fills `table`; `changed` is called with all rows after the user has changed one."""

    def __init__(self, table: qt.QTableWidget, changed: Callable[[list[CaseRow]], None]) -> None:
        self._table, self._changed = table, changed
        self._rows: list[CaseRow] = []
        self._segmentations: list[Any] = []
        self._built: tuple[Any, ...] | None = None
        self._quiet = False
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Image"), _("Segmentation"), _("Role")])
        tips = (
            _("The scans, numbered as the training tells of them."),
            _("Structures with the same names in all cases; they guide the training and are measured."),
            _("A case that is validated on is never learned from: it shows what the model does with new ones."),
        )
        for k, tip in enumerate(tips):
            table.horizontalHeaderItem(k).setToolTip(tip)

    def show(self, rows: Sequence[CaseRow], segmentations: Sequence[Any]) -> None:
        """Show `rows`; `segmentations` are the nodes that can be chosen. What is shown already stays as it is."""
        self._rows, self._segmentations = list(rows), list(segmentations)
        key = (
            tuple((_key(r.image), r.name, _key(r.segmentation), r.role) for r in rows),
            tuple((s.GetID(), s.GetName()) for s in segmentations),
        )
        if key == self._built:
            return
        self._built = key
        self._quiet = True
        try:
            self._build()
        finally:
            self._quiet = False

    def _build(self) -> None:
        table = self._table
        table.setRowCount(len(self._rows))
        for r, row in enumerate(self._rows):
            item = qt.QTableWidgetItem(row.name)
            item.setFlags(qt.Qt.ItemIsEnabled)
            item.setToolTip(row.image if row.is_file else row.name)
            table.setItem(r, 0, item)
            table.setCellWidget(r, 1, self._segmentation_box(r, row))
            table.setCellWidget(r, 2, self._role_box(r, row))
        header = table.horizontalHeader()
        for column, mode in enumerate(("Stretch", "Stretch", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(qt.QHeaderView, mode))
        table.resizeRowsToContents()
        height = header.height + 4 + sum(table.rowHeight(r) for r in range(len(self._rows)))
        table.setFixedHeight(max(_LOWEST, min(height, _HIGHEST)))

    def _segmentation_box(self, r: int, row: CaseRow) -> qt.QComboBox:
        box = _narrow_box()
        if row.is_file:
            box.addItem(row.segmentation.replace("\\", "/").rsplit("/", 1)[-1] if row.segmentation else _("(none)"))
            box.setToolTip(row.segmentation or _("There is none beside the image."))
            return box
        nodes = [None, *self._segmentations]
        for node in nodes:
            box.addItem(node.GetName() if node is not None else _("(none)"))
        at = next((k for k, n in enumerate(nodes) if n is not None and n is row.segmentation), 0)
        box.setCurrentIndex(at)
        box.setToolTip(box.currentText)
        box.connect("currentIndexChanged(int)", lambda k: self._change(r, segmentation=nodes[k]))
        return box

    def _role_box(self, r: int, row: CaseRow) -> qt.QComboBox:
        box = qt.QComboBox()
        values = [value for value, _title in _roles()]
        for _value, title in _roles():
            box.addItem(title)
        box.setCurrentIndex(values.index(row.role) if row.role in values else 0)
        box.connect("currentIndexChanged(int)", lambda k: self._change(r, role=values[k]))
        return box

    def _change(self, r: int, **values: Any) -> None:
        if self._quiet:
            return
        self._rows[r] = replace(self._rows[r], **values)
        self._built = None
        self._changed(list(self._rows))


def _narrow_box() -> qt.QComboBox:
    """As narrow as its column, whatever the names."""
    box = qt.QComboBox()
    box.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(6)
    return box


def _key(value: Any) -> Any:
    return value.GetID() if hasattr(value, "GetID") else value
