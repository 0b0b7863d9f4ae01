"""Tables in which a user sets numbers of segments and of pairs of segments."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from DeepRegistrationLib.core.segment_settings import Column, PerSegment, SegmentMatrix
from DeepRegistrationLib.core.spec import Help, Preset, Range, Title

NAMES = ("liver", "left kidney", "spleen")


@dataclass(frozen=True)
class Settings:
    kernels: Annotated[
        dict | None,
        PerSegment(
            {"bandwidth": Column("Bandwidth", Range(1, 500), 30.0, "mm"), "size": Column("Size", Range(0, 10), 1.0)}
        ),
        Title("Kernels"),
        Help("Of each segment."),
    ] = None
    coherence: Annotated[
        dict | None, SegmentMatrix(Range(0, 1), 0.25, 1.0), Title("Coherence"), Help("Of each pair.")
    ] = None


SPEC: Any = SimpleNamespace(
    id="x",
    parameters=Settings,
    preset=lambda name: Preset(name, name, {"kernels": {"liver": {"bandwidth": 60.0}}}),
)


@pytest.fixture
def form(slicer_host: Any) -> Any:
    import qt

    from DeepRegistrationLib.gui.form import ParameterForm

    edits: list[int] = []
    made = ParameterForm(qt.QWidget(), lambda: edits.append(1))
    made.show(SPEC)
    made.set_segments(NAMES)
    made.edits = edits
    return made


def texts(control: Any) -> list[list[str]]:
    table = control.table
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def write(control: Any, row: int, column: int, text: str) -> None:
    """As a user does: the text of the cell becomes another."""
    control.table.item(row, column).setText(text)


def test_a_row_a_segment_with_the_defaults(form: Any) -> None:
    kernels, coherence = form.controls["kernels"], form.controls["coherence"]
    assert texts(kernels) == [["30", "1"]] * 3
    heads = [kernels.table.horizontalHeaderItem(c).text() for c in range(2)]
    assert heads == ["Bandwidth (mm)", "Size"]
    assert [kernels.table.verticalHeaderItem(r).text() for r in range(3)] == list(NAMES)
    assert "1 to 500 mm" in kernels.table.horizontalHeaderItem(0).toolTip()
    assert texts(coherence) == [["1", "0.25", "0.25"], ["0.25", "1", "0.25"], ["0.25", "0.25", "1"]]
    assert form.values() == {"kernels": None, "coherence": None}
    assert form.overrides() == {} and form.edits == []
    assert not kernels.defaults.enabled


def test_an_edit_is_a_value_and_is_told_once(form: Any) -> None:
    kernels, coherence = form.controls["kernels"], form.controls["coherence"]
    write(kernels, 1, 0, "12.5")
    assert form.overrides() == {"kernels": {"left kidney": {"bandwidth": 12.5}}} and len(form.edits) == 1
    assert kernels.table.item(1, 0).font().bold() and not kernels.table.item(0, 0).font().bold()
    write(coherence, 2, 0, "0,5")
    assert form.overrides()["coherence"] == {"liver": {"spleen": 0.5}} and len(form.edits) == 2
    assert texts(coherence) == [["1", "0.25", "0.5"], ["0.25", "1", "0.25"], ["0.5", "0.25", "1"]]
    write(coherence, 0, 2, "0.75")
    assert form.overrides()["coherence"] == {"liver": {"spleen": 0.75}}
    assert texts(coherence)[2][0] == "0.75"


@pytest.mark.parametrize("text", ["0.5", "501", "nan", "inf", "many"])
def test_what_is_out_of_range_or_no_number_is_not_taken(form: Any, text: str) -> None:
    kernels = form.controls["kernels"]
    write(kernels, 0, 0, "20")
    told = len(form.edits)
    write(kernels, 0, 0, text)
    assert texts(kernels)[0][0] == "20" and len(form.edits) == told
    assert form.overrides() == {"kernels": {"liver": {"bandwidth": 20.0}}}


def test_the_diagonal_cannot_be_edited(form: Any) -> None:
    import qt

    item = form.controls["coherence"].table.item(1, 1)
    assert not item.flags() & qt.Qt.ItemIsEditable
    assert form.controls["coherence"].table.item(1, 0).flags() & qt.Qt.ItemIsEditable


def test_back_to_the_default_by_emptying_by_value_and_by_the_button(form: Any) -> None:
    kernels = form.controls["kernels"]
    for text in ("", "30"):
        write(kernels, 0, 0, "20")
        write(kernels, 0, 0, text)
        assert form.overrides() == {} and texts(kernels)[0][0] == "30"
    write(kernels, 0, 0, "20")
    write(kernels, 2, 1, "3")
    told = len(form.edits)
    assert kernels.defaults.enabled
    kernels.defaults.click()
    assert form.overrides() == {} and texts(kernels) == [["30", "1"]] * 3 and len(form.edits) == told + 1


def test_settings_of_segments_that_went_come_back_with_them(form: Any) -> None:
    kernels = form.controls["kernels"]
    write(kernels, 2, 0, "99")
    told = len(form.edits)
    form.set_segments(("liver",))
    assert texts(kernels) == [["30", "1"]] and form.overrides() == {"kernels": {"spleen": {"bandwidth": 99.0}}}
    form.set_segments(NAMES)
    assert texts(kernels)[2] == ["99", "1"] and len(form.edits) == told
    form.set_segments(())
    assert kernels.hint.isVisibleTo(kernels.widget) and not kernels.table.isVisibleTo(kernels.widget)


def test_a_preset_and_what_was_saved(form: Any) -> None:
    kernels = form.controls["kernels"]
    form.set_base(SPEC, "abdomen")
    assert texts(kernels)[0] == ["60", "1"] and form.overrides() == {}
    form.set_overrides({"kernels": {"spleen": {"size": 2.0}}, "coherence": {"spleen": {"liver": 1.0}}})
    assert texts(kernels) == [["30", "1"], ["30", "1"], ["30", "2"]]
    assert form.overrides()["coherence"] == {"liver": {"spleen": 1.0}}
    form.set_overrides({"kernels": {"spleen": {"size": 200.0}}})  # of another version, out of range
    assert form.overrides() == {}
