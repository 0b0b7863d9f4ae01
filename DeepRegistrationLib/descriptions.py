"""Methods in words: text for the console, a table for the README, data for programs; all from the specs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, asdict
from typing import Any

from .core.segment_settings import PerSegment, SegmentMatrix
from .core.spec import Capability, MethodSpec, Need, Parameter, Preset, parameters_of
from .training.recipe import Recipe


def method_text(spec: MethodSpec) -> str:
    """Everything a user needs to call a method."""
    lines = [f"{spec.id}: {spec.title}", spec.description, f"Paper: {spec.paper}"]
    if spec.doi:
        lines[-1] += f" doi:{spec.doi}"
    lines.append(f"Can do: {_capabilities(spec)}")
    for need in (Need.REQUIRED, Need.OPTIONAL):
        names = [name.replace("_", " ") for name, n in spec.inputs.items() if n is need]
        if names:
            lines.append(f"Inputs {need.value}: {', '.join(names)}")
    if spec.presets:
        lines += ["", "Presets"]
        lines += [f"  {preset.id:<14} {preset.title}{_preset_values(preset)}" for preset in spec.presets]
    return "\n".join([*lines, *_settings_lines(spec.parameters)])


def _settings_lines(declaration: type) -> list[str]:
    lines: list[str] = []
    for title, advanced in (("Parameters", False), ("Advanced parameters", True)):
        chosen = [p for p in parameters_of(declaration) if p.advanced is advanced]
        if chosen:
            lines += ["", title, *(line for p in chosen for line in _parameter_lines(p))]
    return lines


def recipe_text(recipe: Recipe) -> str:
    """Everything a user needs to train a model."""
    lines = [f"{recipe.id}: {recipe.title}", recipe.description, f"Paper: {recipe.paper}"]
    if recipe.doi:
        lines[-1] += f" doi:{recipe.doi}"
    stages = [stage.name for stage in recipe.stages(recipe.settings())]
    lines.append(f"Learns from {'real cases' if recipe.needs_cases else 'synthetic scans, or real cases'}")
    lines.append(f"Takes {recipe.steps} steps of {recipe.batch}: {', '.join(stages)}")
    return "\n".join([*lines, *_settings_lines(recipe.settings)])


def method_dict(spec: MethodSpec) -> dict[str, Any]:
    """The same as data for JSON."""
    return {
        "id": spec.id,
        "title": spec.title,
        "description": spec.description,
        "family": spec.family,
        "paper": spec.paper,
        "doi": spec.doi,
        "capabilities": [c.value for c in Capability if c in spec.capabilities],
        "inputs": {name: need.value for name, need in spec.inputs.items()},
        "presets": [{"id": p.id, "title": p.title, "values": dict(p.values)} for p in spec.presets],
        "parameters": [_parameter_dict(p) for p in parameters_of(spec.parameters)],
    }


def methods_table(specs: Iterable[MethodSpec]) -> str:
    """Markdown for the README."""
    rows = ["| Method | What it does | Can do | Paper |", "| --- | --- | --- | --- |"]
    for spec in specs:
        paper = f"[{spec.paper}](https://doi.org/{spec.doi})" if spec.doi else spec.paper
        cells = (f"`{spec.id}`<br>{spec.title}", spec.description, _capabilities(spec), paper)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows)


def methods_text(specs: Iterable[MethodSpec]) -> str:
    """One line a method."""
    specs = list(specs)
    width = max((len(spec.id) for spec in specs), default=0)
    return "\n".join(f"{spec.id:<{width}}  {spec.title}. {spec.description}" for spec in specs)


def allowed(parameter: Parameter) -> str:
    """What values a parameter takes: "1 to 500 mm", "a, b or c", "yes or no"."""
    if parameter.choice is not None:
        return " | ".join(parameter.choice.titles)
    if parameter.segments is not None:
        return _allowed_for_segments(parameter.segments)
    if parameter.type is bool:
        return "yes | no"
    unit = f" {parameter.unit}" if parameter.unit else ""
    text = (
        f"{parameter.range.minimum:g} to {parameter.range.maximum:g}{unit}"
        if parameter.range
        else unit.strip()
    )
    return f"{text} or none" if parameter.optional and text else text


def _allowed_for_segments(settings: PerSegment | SegmentMatrix) -> str:
    if isinstance(settings, SegmentMatrix):
        limits = f"{settings.range.minimum:g} to {settings.range.maximum:g}"
        return f"JSON {{segment: {{segment: number}}}}, {limits}, else {settings.default:g}"
    columns = [
        f"{key} {column.range.minimum:g} to {column.range.maximum:g}{' ' + column.unit if column.unit else ''}, "
        f"else {column.default:g}"
        for key, column in settings.columns.items()
    ]
    return f"JSON {{segment: {{...}}}} with {'; '.join(columns)}"


def default_text(parameter: Parameter) -> str:
    if parameter.default is MISSING:
        return "no default"
    if isinstance(parameter.default, bool):
        return "yes" if parameter.default else "no"
    return "none" if parameter.default is None else str(parameter.default)


def _preset_values(preset: Preset) -> str:
    values = ", ".join(f"{name}={value}" for name, value in preset.values.items())
    return f"   ({values})" if values else ""


def _parameter_lines(parameter: Parameter) -> list[str]:
    values = allowed(parameter)
    head = f"  {parameter.name} = {default_text(parameter)}" + (f"   ({values})" if values else "")
    return [head, f"      {parameter.title}. {parameter.help}".rstrip()]


def _parameter_dict(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "type": parameter.type.__name__,
        "default": None if parameter.default is MISSING else parameter.default,
        "title": parameter.title,
        "help": parameter.help,
        "unit": parameter.unit,
        "minimum": parameter.range.minimum if parameter.range else None,
        "maximum": parameter.range.maximum if parameter.range else None,
        "choices": dict(parameter.choice.titles) if parameter.choice else None,
        "advanced": parameter.advanced,
        "optional": parameter.optional,
        "segments": None if parameter.segments is None else _segments_dict(parameter.segments),
    }


def _segments_dict(settings: PerSegment | SegmentMatrix) -> dict[str, Any]:
    if isinstance(settings, SegmentMatrix):
        return {"kind": "matrix", **asdict(settings)}
    return {"kind": "table", "columns": {key: asdict(column) for key, column in settings.columns.items()}}


def _capabilities(spec: MethodSpec) -> str:
    return ", ".join(c.value for c in Capability if c in spec.capabilities)
