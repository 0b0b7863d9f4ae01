"""Settings a segment and settings a pair of segments: reading, refusing, writing down, looking up."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.segment_settings import (
    Column,
    PerSegment,
    SegmentMatrix,
    check_segment_names,
    only_known,
)
from DeepRegistrationLib.core.spec import Help, MethodSpec, Preset, Range, Title, parameters_of

TABLE = PerSegment(
    {"bandwidth": Column("Bandwidth", Range(1, 500), 30.0, "mm"), "size": Column("Size", Range(0, 10), 1.0)}
)
MATRIX = SegmentMatrix(Range(0, 1), 0.25, 1.0)


@dataclass(frozen=True)
class Settings:
    kernels: Annotated[dict | None, TABLE, Title("Kernels"), Help("Of each segment.")] = None
    coherence: Annotated[dict | None, MATRIX, Title("Coherence"), Help("Of each pair.")] = None


SPEC = MethodSpec(
    id="segments",
    title="Segments",
    description="",
    family="",
    paper="",
    doi="",
    parameters=Settings,
    run=lambda problem, parameters, context: None,  # type: ignore[arg-type, return-value]
    memory=lambda grid, parameters: 0,
    presets=(Preset("fast", "Quick look", {"kernels": {"liver": {"bandwidth": 12.0}}}),),
)


def made(**values):
    return SPEC.make_parameters(values=values)


def test_the_declaration_is_read():
    kernels, coherence = parameters_of(Settings)
    assert (kernels.type, kernels.segments, kernels.optional, kernels.default) == (dict, TABLE, True, None)
    assert coherence.segments is MATRIX and coherence.title == "Coherence"


@pytest.mark.parametrize("nothing", [None, {}, "", "none", "None", "null", "{}", {"liver": {}}])
def test_nothing_said_is_none(nothing):
    assert made(kernels=nothing, coherence=nothing) == Settings()


@pytest.mark.parametrize("form", [lambda v: v, json.dumps, str])
def test_a_mapping_json_and_what_python_prints_are_the_same(form):
    table = {"liver": {"bandwidth": 30, "size": 2.5}, "left kidney": {"size": 0}}
    pairs = {"spleen": {"liver": 0.5}, "liver": {"left kidney": 0}}
    read = made(kernels=form(table), coherence=form(pairs))
    assert read.kernels == table
    assert all(type(v) is float for row in read.kernels.values() for v in row.values())
    assert read.coherence == {"liver": {"spleen": 0.5}, "left kidney": {"liver": 0.0}}


def test_it_survives_being_written_down():
    read = made(kernels={"liver": {"size": 3}}, coherence={"b": {"a": 0.125}, "c": {"a": 1}})
    written = json.loads(json.dumps(dataclasses.asdict(read), allow_nan=False))
    assert SPEC.make_parameters(values=written) == read
    assert SPEC.make_parameters(values={name: str(value) for name, value in written.items()}) == read
    assert SPEC.make_parameters("fast").kernels == {"liver": {"bandwidth": 12.0}}


def test_values_are_the_users_or_the_default():
    settings = made(kernels={"liver": {"size": 3}}).kernels
    assert TABLE.value(settings, "liver", "size") == 3.0
    assert TABLE.value(settings, "liver", "bandwidth") == 30.0
    assert TABLE.value(settings, "spleen", "size") == 1.0 == TABLE.value(None, "spleen", "size")


def test_the_matrix_is_symmetric_whatever_order_was_used():
    settings = made(coherence={"spleen": {"liver": 0.75}, "kidney": {"spleen": 0}}).coherence
    names = ["liver", "kidney", "spleen"]
    expected = [[1, 0.25, 0.75], [0.25, 1, 0], [0.75, 0, 1]]
    np.testing.assert_array_equal(MATRIX.array(settings, names), expected)
    np.testing.assert_array_equal(MATRIX.array(None, names[:2]), [[1, 0.25], [0.25, 1]])
    both = made(coherence={"a": {"b": 0.5, "a": 1.0}, "b": {"a": 0.5}}).coherence
    assert both == {"a": {"b": 0.5}}


@pytest.mark.parametrize(
    "values, words",
    [
        ({"kernels": {"liver": {"bandwith": 3}}}, ["kernels", "'bandwith'", "bandwidth, size"]),
        ({"kernels": {"liver": {"bandwidth": 0.5}}}, ["bandwidth of 'liver'", "0.5", "between 1 and 500 mm"]),
        ({"kernels": {"liver": {"size": float("nan")}}}, ["not a number"]),
        ({"kernels": {"liver": {"size": True}}}, ["True", "not a number"]),
        ({"kernels": {"liver": {"size": "big"}}}, ["'big'"]),
        ({"kernels": {"liver": 3}}, ["'liver'", "3", "for example"]),
        ({"kernels": "liver=3"}, ["liver=3", "for example"]),
        ({"kernels": [1]}, ["[1]", "for example"]),
        ({"kernels": 3}, ["3", "for example"]),
        ({"kernels": {3: {"size": 1}}}, ["for example"]),
        ({"coherence": {"a": {"b": 2}}}, ["'a' with 'b'", "between 0 and 1"]),
        ({"coherence": {"a": {"b": 0.5}, "b": {"a": 0.25}}}, ["'a' with 'b'", "0.5", "0.25", "same pair"]),
        ({"coherence": {"a": {"a": 0.5}}}, ["'a' with itself", "always 1"]),
    ],
)
def test_what_is_wrong_is_one_sentence(values, words):
    with pytest.raises(InputError) as caught:
        made(**values)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert text.endswith((".", "'.")) and "\n" not in text


def test_unknown_segments_are_named_with_the_nearest():
    check_segment_names("kernels", None, [])
    check_segment_names("kernels", {"liver": {"size": 1.0}}, ["liver", "spleen"])
    with pytest.raises(InputError, match=r"kernels: there is no segment 'livr'; did you mean 'liver'\?"):
        check_segment_names("kernels", {"livr": {"size": 1.0}}, ["liver", "spleen"])
    with pytest.raises(InputError, match="no segment 'xyz'; the segments are liver, spleen"):
        check_segment_names("coherence", {"liver": {"xyz": 1.0}}, ["liver", "spleen"], pairs=True)


def test_settings_of_other_segments_can_be_left_out():
    table = {"liver": {"size": 1.0}, "gone": {"size": 2.0}}
    assert only_known(table, ["liver"]) == {"liver": {"size": 1.0}}
    pairs = {"liver": {"gone": 0.5, "spleen": 0.1}, "gone": {"spleen": 0.2}}
    assert only_known(pairs, ["liver", "spleen"], pairs=True) == {"liver": {"spleen": 0.1}}
    assert only_known({"gone": {"size": 2.0}}, ["liver"]) is None


def test_it_is_described():
    from DeepRegistrationLib.descriptions import method_dict, method_text

    text = method_text(SPEC)
    assert "bandwidth 1 to 500 mm, else 30" in text and "0 to 1, else 0.25" in text
    told = json.loads(json.dumps(method_dict(SPEC)))["parameters"]
    assert told[0]["segments"]["columns"]["bandwidth"]["default"] == 30.0
    assert told[1]["segments"]["kind"] == "matrix" and told[1]["type"] == "dict"
