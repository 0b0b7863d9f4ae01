"""A table that sorts by its numbers when a head is clicked, and says which row the user means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qt


@dataclass(frozen=True)
class Column:
    """One column. digits: of numbers; None for texts. tip: of the head."""

    title: str
    value: Callable[[Any], Any]
    digits: int | None = 2
    tip: str = ""


class SortedTable:
    """Shows one row an item; what is not known is empty and stays at the end, however it is sorted.

    picked, opened  called with the item that was clicked, double-clicked
    """

    def __init__(
        self,
        table: qt.QTableWidget,
        columns: Sequence[Column],
        picked: Callable[[Any], None] | None = None,
        opened: Callable[[Any], None] | None = None,
    ) -> None:
        self._table, self._columns = table, columns
        self._items: list[Any] = []
        self._by: int | None = None
        self._falling = True
        table.setColumnCount(len(columns))
        table.setHorizontalHeaderLabels([c.title for c in columns])
        for k, column in enumerate(columns):
            table.horizontalHeaderItem(k).setToolTip(column.tip or column.title)
        table.horizontalHeader().connect("sectionClicked(int)", self._sort_by)
        if picked is not None:
            table.connect("cellClicked(int,int)", lambda row, _column: picked(self._items[row]))
        if opened is not None:
            table.connect("cellDoubleClicked(int,int)", lambda row, _column: opened(self._items[row]))

    @property
    def items(self) -> list[Any]:
        """In the order that is shown."""
        return list(self._items)

    def fill(self, items: Sequence[Any]) -> None:
        """Show `items` in their own order, until a head is clicked."""
        self._items, self._by = list(items), None
        self._table.horizontalHeader().setSortIndicatorShown(False)
        self._write()

    def _sort_by(self, column: int) -> None:
        self._falling = not self._falling if column == self._by else self._columns[column].digits is not None
        self._by = column
        value = self._columns[column].value
        known = [item for item in self._items if value(item) is not None]
        unknown = [item for item in self._items if value(item) is None]
        self._items = sorted(known, key=value, reverse=self._falling) + unknown
        header = self._table.horizontalHeader()
        header.setSortIndicatorShown(True)
        header.setSortIndicator(column, qt.Qt.DescendingOrder if self._falling else qt.Qt.AscendingOrder)
        self._write()

    def _write(self) -> None:
        table = self._table
        table.setRowCount(len(self._items))
        for r, item in enumerate(self._items):
            for c, column in enumerate(self._columns):
                cell = qt.QTableWidgetItem(_text(column.value(item), column.digits))
                cell.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                if column.digits is not None:
                    cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(r, c, cell)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + 6 + sum(table.rowHeight(r) for r in range(len(self._items)))
        table.setFixedHeight(min(max(height, 60), 260))


def _text(value: Any, digits: int | None) -> str:
    if value is None:
        return ""
    return str(value) if digits is None else f"{float(value):.{digits}f}"
