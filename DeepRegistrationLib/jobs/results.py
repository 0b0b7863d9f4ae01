"""A folder of results read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .extras import is_extra, read_extras
from .loading import INPUTS

if TYPE_CHECKING:
    from ..core.result import Provenance, RegistrationResult

#: outputs that are computed from a result; every other image in a folder is a map that came with it
COMPUTED = (
    "moved",
    "segmentation",
    "jacobian",
    "log-jacobian",
    "displacement",
    "inverse-consistency",
)
_NO_MAPS = (*COMPUTED, "transform", "inverse", "metrics", "provenance")


def is_map(name: str) -> bool:
    """True for the name of an output that is a map which came with the result, neither computed from it nor one of
    extras.py."""
    return name not in _NO_MAPS and not is_extra(name)


class ResultFolder:
    """What `write_outputs` left in `path`. Reading numbers and file names needs no torch; `result()` does.

    Raises InputError where the folder holds no result.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.expanduser(os.fspath(path)))
        if not self.path.is_dir():
            raise InputError(
                f"There is no folder {str(path)!r}; give the folder a registration was written to."
            )
        if not (self.path / "provenance.json").is_file():
            raise InputError(
                f"The folder {str(path)!r} holds no finished result (provenance.json is missing); "
                "give the folder a registration was written to."
            )

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return self._json("provenance.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The numbers; empty where the result was not measured."""
        return self._json("metrics.json") if (self.path / "metrics.json").is_file() else {}

    @property
    def files(self) -> dict[str, str]:
        """Output name -> file name."""
        return dict(self.provenance.get("files", {}))

    def file(self, name: str) -> Path:
        """Full path of an output. Raises InputError where this result has none of that name."""
        if name not in self.files or not (self.path / self.files[name]).is_file():
            there = ", ".join(sorted(self.files)) or "nothing"
            raise InputError(f"The result in {str(self.path)!r} has no {name}; it has {there}.")
        return self.path / self.files[name]

    @property
    def maps(self) -> dict[str, Path]:
        """Id -> file of the maps that came with the result (uncertainty ...), not those computed from it."""
        there = {name: self.path / file for name, file in self.files.items() if is_map(name)}
        return {name: path for name, path in there.items() if path.is_file()}

    @property
    def inputs(self) -> dict[str, str]:
        """Everything needed to review the result again: input name -> path (see loading.load_result)."""
        found = dict(self.provenance.get("inputs", {}))
        here = {**self.provenance.get("kept", {}), **self.files}
        for name in (*INPUTS, "transform", "inverse"):
            if name in here and (self.path / here[name]).is_file():
                found[name] = str(self.path / here[name])
        if "uncertainty" in self.maps:
            found["uncertainty"] = str(self.maps["uncertainty"])
        return found

    def result(self, inputs: Mapping[str, Any] | None = None) -> RegistrationResult:
        """The result with its images, maps, series, points and alternatives, which are read again; `inputs` replaces
        or adds some of its inputs."""
        from .loading import load_map, load_result

        given = {name: value for name, value in (inputs or {}).items() if value is not None}
        if "transform" not in self.inputs:
            self.file("transform")  # says what is missing
        result = load_result({**self.inputs, **given})
        others = {name: path for name, path in self.maps.items() if name != "uncertainty"}
        return replace(
            result,
            maps={**result.maps, **{n: load_map(path, n, result.grid) for n, path in others.items()}},
            tables=self.provenance.get("tables", {}),
            provenance=self._made(),
            **read_extras(self, result),
        )

    def _made(self) -> Provenance | None:
        """How the transform came about, where that is known in full."""
        from ..core.result import Provenance

        known = {f.name: self.provenance[f.name] for f in fields(Provenance) if f.name in self.provenance}
        try:
            return Provenance(**known)
        except TypeError:
            return None

    def _json(self, name: str) -> dict[str, Any]:
        try:
            with open(self.path / name, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{str(self.path / name)!r} cannot be read ({error}); run the registration again."
            ) from None
        return found
