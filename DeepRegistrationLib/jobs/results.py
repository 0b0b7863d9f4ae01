"""A folder of results read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.result import RegistrationResult


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

    def result(self, inputs: Mapping[str, Any] | None = None) -> RegistrationResult:
        """The result with its images, which are read again; `inputs` replaces or adds some of them."""
        from ..core.result import RegistrationResult
        from .loading import load_problem, load_transform

        recorded = dict(self.provenance.get("inputs", {}))
        problem = load_problem({**recorded, **{k: v for k, v in (inputs or {}).items() if v is not None}})
        inverse = load_transform(self.file("inverse"), "inverse") if "inverse" in self.files else None
        return RegistrationResult(
            problem=problem,
            transform=load_transform(self.file("transform"), "transform"),
            inverse=inverse,
            tables=self.provenance.get("tables", {}),
        )

    def _json(self, name: str) -> dict[str, Any]:
        try:
            with open(self.path / name, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{str(self.path / name)!r} cannot be read ({error}); run the registration again."
            ) from None
        return found
