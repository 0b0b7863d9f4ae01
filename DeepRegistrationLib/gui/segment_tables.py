"""Tables in which a user sets a number for every segment, or for every pair of segments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ..core.errors import InputError
from ..core.segment_settings import PerSegment, SegmentMatrix
from ..core.spec import Parameter

_HIGHEST = 260  # pixels
_FIXED = "#808080"


def segment_control(parameter: Parameter, changed: Callable[[], None]) -> SegmentControl:
    """The table that fits the declaration; see controls.make_control."""
    if isinstance(parameter.segments, SegmentMatrix):
        return _MatrixControl(parameter, changed)
    return _RowsControl(parameter, changed)


class SegmentControl(ABC):
    """A table with a row for every segment, and a button that brings the defaults back.

    Only what differs from the defaults is a value; a cell that was emptied is a default. What is no number or out of
    range is not taken: the cell shows again what it showed.
    """

    def __init__(self, parameter: Parameter, changed: Callable[[], None]) -> None:
        self._parameter = parameter
        self._changed = changed
        self._value: dict[str, dict[str, float]] | None = None
        self._names: tuple[str, ...] = ()
        self._quiet = False
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.hint = qt.QLabel(_("Choose segmentations under 'Help the alignment' to set this for their segments."))
        self.hint.setWordWrap(True)
        self.table = qt.QTableWidget()
        self.defaults = qt.QPushButton(_("Defaults"))
        self.defaults.setToolTip(_("Forget what was set in this table."))
        for part in (self.hint, self.table, self.defaults):
            layout.addWidget(part)
        self.table.connect("cellChanged(int,int)", self._edited)
        self.defaults.connect("clicked(bool)", lambda _on: self._forget())
        self._build()

    def read(self) -> dict[str, dict[str, float]] | None:
        return self._value

    def write(self, value: Any) -> None:
        self._value = value or None
        self._fill()

    def set_segments(self, names: Sequence[str]) -> None:
        """The segments that have rows now."""
        if tuple(names) != self._names:
            self._names = tuple(names)
            self._build()

    # ------------------------------------------------------------------ inner workings

    @abstractmethod
    def _columns(self) -> list[tuple[str, str, str]]:
        """(key, title, tool tip) of every column."""

    @abstractmethod
    def _shown(self, segment: str, key: str) -> float:
        """The number in a cell."""

    @abstractmethod
    def _default(self, segment: str, key: str) -> float:
        """The number in a cell that nobody changed."""

    @abstractmethod
    def _with(self, segment: str, key: str, number: str | None) -> dict[str, dict[str, Any]]:
        """The value with another number in one place; None takes it out."""

    def _fixed(self, segment: str, key: str) -> bool:
        return False

    def _edited(self, row: int, column: int) -> None:
        if self._quiet:
            return
        segment, key = self._names[row], self._columns()[column][0]
        text = self.table.item(row, column).text().strip().replace(",", ".")
        before = self._value
        try:
            if text and float(text) == self._default(segment, key):
                text = ""
            self._value = self._parameter.parse(self._with(segment, key, text or None))
        except (InputError, ValueError):
            self._value = before
        self._fill()
        if self._value != before:
            self._changed()

    def _forget(self) -> None:
        if self._value is not None:
            self._value = None
            self._fill()
            self._changed()

    def _build(self) -> None:
        """Rows and columns for the segments there are."""
        columns = self._columns()
        self._quiet = True
        try:
            self.table.setRowCount(len(self._names))
            self.table.setColumnCount(len(columns))
            self.table.setVerticalHeaderLabels(list(self._names))
            self.table.setHorizontalHeaderLabels([title for _key, title, _tip in columns])
            for c, (key, _title, tip) in enumerate(columns):
                self.table.horizontalHeaderItem(c).setToolTip(tip)
                for r, segment in enumerate(self._names):
                    self.table.setItem(r, c, self._cell(segment, key))
        finally:
            self._quiet = False
        there = bool(self._names)
        self.hint.setVisible(not there)
        self.table.setVisible(there)
        self.defaults.setVisible(there)
        self._fill()

    def _fill(self) -> None:
        """The numbers; those that differ from the default are bold. The cells stay: one of them may be in use."""
        self._quiet = True
        try:
            for c, (key, _title, _tip) in enumerate(self._columns()):
                for r, segment in enumerate(self._names):
                    item, number = self.table.item(r, c), self._shown(segment, key)
                    item.setText(f"{number:g}")
                    font = item.font()
                    font.setBold(number != self._default(segment, key))
                    item.setFont(font)
            self.table.resizeColumnsToContents()
            height = self.table.horizontalHeader().height + 24
            height += sum(self.table.rowHeight(r) for r in range(len(self._names)))
            self.table.setFixedHeight(min(height, _HIGHEST))
        finally:
            self._quiet = False
        self.defaults.setEnabled(self._value is not None)

    def _cell(self, segment: str, key: str) -> qt.QTableWidgetItem:
        item = qt.QTableWidgetItem("")
        item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        if self._fixed(segment, key):
            item.setFlags(qt.Qt.ItemIsEnabled)
            item.setForeground(qt.QBrush(qt.QColor(_FIXED)))
        return item


class _RowsControl(SegmentControl):
    """One column a number that every segment has."""

    @property
    def _kind(self) -> PerSegment:
        assert isinstance(self._parameter.segments, PerSegment)
        return self._parameter.segments

    def _columns(self) -> list[tuple[str, str, str]]:
        found = []
        for key, column in self._kind.columns.items():
            unit = f" ({column.unit})" if column.unit else ""
            limits = f"{column.range.minimum:g} to {column.range.maximum:g}{' ' + column.unit if column.unit else ''}."
            found.append((key, f"{column.title}{unit}", f"{column.help} {limits} ({key})".strip()))
        return found

    def _shown(self, segment: str, key: str) -> float:
        return self._kind.value(self._value, segment, key)

    def _default(self, segment: str, key: str) -> float:
        return float(self._kind.columns[key].default)

    def _with(self, segment: str, key: str, number: str | None) -> dict[str, dict[str, Any]]:
        return _changed_row(self._value, segment, key, number)


class _MatrixControl(SegmentControl):
    """One column a segment; both halves are the same and the diagonal stays."""

    @property
    def _kind(self) -> SegmentMatrix:
        assert isinstance(self._parameter.segments, SegmentMatrix)
        return self._parameter.segments

    def _columns(self) -> list[tuple[str, str, str]]:
        limits = f"{self._kind.range.minimum:g} to {self._kind.range.maximum:g}."
        return [(name, name, f"{name}: {limits}") for name in self._names]

    def _shown(self, segment: str, key: str) -> float:
        return self._kind.value(self._value, segment, key)

    def _default(self, segment: str, key: str) -> float:
        return float(self._kind.diagonal if segment == key else self._kind.default)

    def _fixed(self, segment: str, key: str) -> bool:
        return segment == key

    def _with(self, segment: str, key: str, number: str | None) -> dict[str, dict[str, Any]]:
        return _changed_row(_changed_row(self._value, key, segment, None), segment, key, number)


def _changed_row(
    value: Mapping[str, Mapping[str, Any]] | None, segment: str, key: str, number: str | None
) -> dict[str, dict[str, Any]]:
    changed = {name: dict(row) for name, row in (value or {}).items()}
    changed.setdefault(segment, {}).pop(key, None)
    if number is not None:
        changed[segment][key] = number
    return changed
