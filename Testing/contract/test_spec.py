"""What a method declares is complete, consistent and survives being written down."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.spec import Capability, MethodSpec, parameters_of
from DeepRegistrationLib.methods import registry

PRESETS = {
    "lung-ct": "Lungs (CT)",
    "brain-mr": "Brain (MR)",
    "abdomen-ct": "Abdomen (CT)",
    "head-neck-ct": "Head and neck (CT)",
    "multimodal": "Different kinds of scan (CT/MR/PET)",
    "fast": "Quick look",
}
INPUT_NAMES = re.compile(
    r"(fixed|moving)(_(mask|segmentation|landmarks|surfaces))?|masks|segmentations|landmarks|surfaces|dose|initial_transform"
)


def test_there_are_methods_to_test() -> None:
    assert len(registry()) > 0


def test_listing_methods_loads_neither_torch_nor_slicer() -> None:
    code = (
        "import sys; from DeepRegistrationLib.methods import registry; list(registry());"
        "print([m for m in ('torch', 'slicer', 'vtk', 'SimpleITK') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_words(spec: MethodSpec) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", spec.id)
    assert spec.title and spec.family and spec.paper
    assert spec.description.endswith(".") and "\n" not in spec.description
    assert spec.doi == "" or re.fullmatch(r"10\.\d{4,}/\S+", spec.doi)


def test_capabilities_and_inputs(spec: MethodSpec) -> None:
    assert spec.capabilities & {Capability.TWO_D, Capability.THREE_D}
    assert (Capability.LINEAR in spec.capabilities) != (Capability.DEFORMABLE in spec.capabilities)
    for name in spec.inputs:
        assert INPUT_NAMES.fullmatch(name), name


def test_parameters_are_frozen_and_described(spec: MethodSpec) -> None:
    assert dataclasses.is_dataclass(spec.parameters)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(spec.parameters(), parameters_of(spec.parameters)[0].name, None)
    for parameter in parameters_of(spec.parameters):
        assert parameter.type in (int, float, bool, str, dict), parameter.name
        assert parameter.title and parameter.help, parameter.name
        assert parameter.type is not dict or parameter.segments is not None, f"{parameter.name} needs its columns"
        assert parameter.type in (bool, str, dict) or parameter.range is not None, f"{parameter.name} needs a range"
        assert parameter.type is not str or parameter.choice is not None, (
            f"{parameter.name} needs its choices"
        )


def test_defaults_are_in_range(spec: MethodSpec) -> None:
    for parameter in parameters_of(spec.parameters):
        assert parameter.parse(parameter.default) == parameter.default, parameter.name


def test_every_method_can_be_started_in_the_same_ways(spec: MethodSpec) -> None:
    start = next(p for p in parameters_of(spec.parameters) if p.name == "initialisation")
    assert start.choice is not None
    assert {"none", "centres", "rigid", "affine", "landmarks", "given"} <= set(start.choice.titles) or (
        Capability.LINEAR in spec.capabilities
        and {"none", "centres", "landmarks", "given"} <= set(start.choice.titles)
    )


def test_presets_are_valid(spec: MethodSpec) -> None:
    assert len({p.id for p in spec.presets}) == len(spec.presets)
    for preset in spec.presets:
        assert PRESETS.get(preset.id) == preset.title, preset.id
        made = spec.make_parameters(preset.id)
        for name, value in preset.values.items():
            assert getattr(made, name) == value
    with pytest.raises(InputError, match="no-such-preset"):
        spec.make_parameters("no-such-preset")


def test_parameters_survive_json_and_text(spec: MethodSpec) -> None:
    for preset in (None, *(p.id for p in spec.presets)):
        made = spec.make_parameters(preset)
        written = json.loads(json.dumps(dataclasses.asdict(made), allow_nan=False))
        assert spec.make_parameters(values=written) == made
        # as a command line hands them over
        texts = {name: str(value) for name, value in written.items()}
        assert spec.make_parameters(values=texts) == made


def test_memory_estimate_grows_with_the_image(spec: MethodSpec) -> None:
    parameters = spec.make_parameters()
    small, large = (spec.memory(Grid((n, n, n)), parameters) for n in (64, 256))
    assert 0 < small < large
    assert isinstance(small, int)
    # no image of 256^3 is kept without its own 64 MB
    assert large > 4 * 256**3
