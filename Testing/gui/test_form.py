"""The form of settings that is made from a declaration."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from DeepRegistrationLib.core.spec import Advanced, Choice, Help, Parameter, Preset, Range, Title, Unit


@dataclass(frozen=True)
class Settings:
    steps: Annotated[int, Range(1, 500), Title("Steps"), Help("How many.")] = 80
    weight: Annotated[float, Range(0, 20, 0.25), Unit("mm")] = 1.5
    tiny: Annotated[float, Range(0, 1)] = 0.001
    way: Annotated[str, Choice({"a": "The first", "b": "The second"})] = "b"
    flag: Annotated[bool, Advanced()] = True
    limit: Annotated[float | None, Range(0, 5), Advanced()] = None


SPEC: Any = SimpleNamespace(
    id="x", parameters=Settings, preset=lambda name: Preset(name, name, {"steps": 10, "flag": False})
)


@pytest.fixture
def form(slicer_host: Any) -> Any:
    import qt

    from DeepRegistrationLib.gui.form import ParameterForm

    edits: list[int] = []
    made = ParameterForm(qt.QWidget(), lambda: edits.append(1))
    made.show(SPEC)
    made.edits = edits
    return made


def test_shows_the_defaults(form: Any) -> None:
    assert form.values() == {
        "steps": 80,
        "weight": 1.5,
        "tiny": 0.001,
        "way": "b",
        "flag": True,
        "limit": None,
    }
    assert form.overrides() == {} and form.edits == []


def test_widgets_follow_the_declaration(form: Any) -> None:
    steps, weight, way = (form.controls[n].widget for n in ("steps", "weight", "way"))
    assert (steps.minimum, steps.maximum) == (1, 500)
    assert weight.suffix == " mm" and weight.singleStep == 0.25 and weight.decimals == 2
    assert [way.itemText(k) for k in range(way.count)] == ["The first", "The second"]
    assert "How many." in steps.toolTip and "(steps)" in steps.toolTip


def test_edits_are_overrides_and_told(form: Any) -> None:
    form.controls["steps"].widget.setValue(90)
    form.controls["way"].widget.setCurrentIndex(0)
    assert form.overrides() == {"steps": 90, "way": "a"}
    assert len(form.edits) == 2


def test_preset_is_the_new_base(form: Any) -> None:
    form.controls["weight"].widget.setValue(3.0)
    form.set_base(SPEC, "lung")
    assert form.values()["steps"] == 10 and form.values()["flag"] is False
    assert form.overrides() == {}
    form.set_overrides({"steps": 20, "gone": 1, "weight": 1000})
    assert form.overrides() == {"steps": 20}  # an unknown name and a value out of range are passed over


def test_optional_value(form: Any) -> None:
    edit = form.controls["limit"].widget
    for text, value in [("2.5", 2.5), ("7", 2.5), ("word", 2.5), ("", None)]:
        edit.setText(text)
        edit.editingFinished.emit()
        assert form.values()["limit"] == value
        assert edit.text == ("" if value is None else "2.5")


@pytest.mark.parametrize(
    ("range_", "default", "decimals"),
    [(Range(0, 1), 0.0, 3), (Range(0, 100), 20.0, 1), (Range(0, 2, 0.05), 0.5, 2), (Range(0, 1), 1e-4, 4)],
)
def test_decimals(slicer_host: Any, range_: Range, default: float, decimals: int) -> None:
    from DeepRegistrationLib.gui.controls import decimals_for

    parameter = Parameter("p", float, default, "P", range=range_)
    assert decimals_for(parameter) == decimals
