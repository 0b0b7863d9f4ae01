"""A method's declaration: reading parameters from annotations, converting values, finding methods."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import DeepRegistrationLib
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.registry import Registry
from DeepRegistrationLib.core.spec import (
    Advanced,
    Choice,
    Help,
    MethodSpec,
    Need,
    Preset,
    Range,
    Title,
    Unit,
    parameters_of,
)


@dataclass(frozen=True)
class Settings:
    steps: Annotated[int, Range(1, 500), Title("Steps"), Help("How many.")] = 80
    weight: Annotated[float, Range(0.0, 2.0, 0.1), Unit("mm"), Advanced()] = 0.5
    both_ways: bool = True
    measure: Annotated[str, Choice({"ngf": "Edges", "lncc": "Local correlation"})] = "ngf"
    limit: Annotated[float | None, Range(0.0, 9.0)] = None


def spec(method_id="some-method", **changes):
    arguments = dict(
        title="Some method",
        description="",
        family="",
        paper="",
        doi="",
        parameters=Settings,
        run=lambda problem, parameters, context: None,
        memory=lambda grid, parameters: 0,
        inputs={"fixed": Need.REQUIRED},
        presets=(Preset("fast", "Quick look", {"steps": 5, "measure": "lncc"}),),
    )
    return MethodSpec(id=method_id, **{**arguments, **changes})


def test_parameters_are_read_from_the_annotations():
    steps, weight, both_ways, measure, limit = parameters_of(Settings)
    assert (steps.name, steps.type, steps.default, steps.title, steps.help) == (
        "steps",
        int,
        80,
        "Steps",
        "How many.",
    )
    assert steps.range == Range(1, 500) and not steps.advanced and not steps.optional
    assert (weight.title, weight.unit, weight.advanced, weight.range.step) == ("Weight", "mm", True, 0.1)
    assert (both_ways.title, both_ways.type) == ("Both ways", bool)
    assert list(measure.choice.titles) == ["ngf", "lncc"]
    assert limit.optional and limit.type is float


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("steps", "12", 12),
        ("steps", 12.0, 12),
        ("steps", "1e2", 100),
        ("weight", "0.25", 0.25),
        ("weight", 1, 1.0),
        ("both_ways", "no", False),
        ("both_ways", "True", True),
        ("both_ways", 0, False),
        ("measure", "lncc", "lncc"),
        ("limit", "none", None),
        ("limit", None, None),
        ("limit", "3", 3.0),
    ],
)
def test_values_and_texts_are_converted(name, value, expected):
    got = getattr(spec().make_parameters(values={name: value}), name)
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("steps", "many", ["steps='many'", "whole number"]),
        ("steps", 1.5, ["1.5", "whole number"]),
        ("steps", 0, ["steps=0", "between 1 and 500"]),
        ("steps", 501, ["between 1 and 500"]),
        ("steps", True, ["True"]),
        ("steps", None, ["None"]),
        ("steps", float("inf"), ["inf"]),
        ("weight", "nan", ["nan"]),
        ("weight", 2.01, ["between 0 and 2 mm"]),
        ("both_ways", "perhaps", ["perhaps", "yes or no"]),
        ("both_ways", 2, ["2"]),
        ("measure", "ssd", ["'ssd'", "ngf, lncc"]),
        ("measure", 3, ["3"]),
        ("step", 3, ["'step'", "did you mean 'steps'"]),
        ("xyz", 3, ["'xyz'", "steps, weight"]),
    ],
)
def test_wrong_values_are_quoted(name, value, words):
    with pytest.raises(InputError) as caught:
        spec().make_parameters(values={name: value})
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert text.endswith((".", "?")) and "\n" not in text


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.none(), st.booleans()))
def test_any_value_is_taken_in_range_or_refused_with_a_sentence(value):
    for name in ("steps", "weight"):
        try:
            got = getattr(spec().make_parameters(values={name: value}), name)
        except InputError:
            continue
        allowed = next(p.range for p in parameters_of(Settings) if p.name == name)
        assert allowed.minimum <= got <= allowed.maximum


def test_a_preset_is_overridden_by_values():
    made = spec().make_parameters("fast", {"steps": "7"})
    assert (made.steps, made.measure, made.weight) == (7, "lncc", 0.5)
    with pytest.raises(InputError, match=r"no preset 'slow'.*fast"):
        spec().make_parameters("slow")
    with pytest.raises(InputError, match="presets are none"):
        spec(presets=()).preset("fast")


def test_inputs_that_are_not_named_are_unused():
    assert spec().need("fixed") is Need.REQUIRED
    assert spec().need("landmarks") is Need.UNUSED


def test_registry_finds_by_id_in_order():
    registry = Registry()
    for method_id in ("convex-adam", "ngf-affine"):
        registry.add(spec(method_id))
    assert [s.id for s in registry] == ["convex-adam", "ngf-affine"]
    assert len(registry) == 2 and "ngf-affine" in registry and "other" not in registry
    assert registry["ngf-affine"].id == "ngf-affine"
    with pytest.raises(InputError, match=r"'convex-adm'.*did you mean 'convex-adam'"):
        registry["convex-adm"]
    with pytest.raises(InputError, match="choose one of convex-adam, ngf-affine"):
        registry["zzz"]
    with pytest.raises(ValueError, match="declared twice"):
        registry.add(spec("ngf-affine"))


def test_declaring_a_method_loads_neither_torch_nor_slicer():
    code = (
        "import sys; import DeepRegistrationLib;"
        "import DeepRegistrationLib.core.spec, DeepRegistrationLib.core.registry;"
        "assert not {'torch', 'slicer', 'vtk', 'SimpleITK'} & set(sys.modules)"
    )
    root = Path(DeepRegistrationLib.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
