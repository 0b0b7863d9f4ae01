"""What a trained feature fusion has to be fed with: which segments, in which order, at which resolution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..core.errors import InputError


@dataclass(frozen=True)
class FusionSettings:
    """segments  one tuple for each semantic channel: the names it goes by, the proper one first
    spacing   mm of the isotropic grid that MIND is computed on; the network sees blocks of two voxels
    mind_radius, mind_dilation                voxels, see `ops.mind.mind_ssc`
    intensity_minimum, intensity_maximum      what intensities are clamped to before; None: not at all
    hidden, fused                             channels of the network, see `FeatureFusion`
    """

    segments: tuple[tuple[str, ...], ...]
    spacing: float
    mind_radius: int = 1
    mind_dilation: int = 2
    intensity_minimum: float | None = None
    intensity_maximum: float | None = None
    hidden: int = 32
    fused: int = 15

    @classmethod
    def from_card(cls, said: Mapping[str, Any]) -> FusionSettings:
        """Raises InputError where the card's settings are not those of a feature fusion."""
        known = {f.name for f in fields(cls)}
        try:
            segments = tuple(tuple(str(n) for n in names) for names in said["segments"])
            settings = cls(**{**{k: v for k, v in said.items() if k in known}, "segments": segments})
        except (KeyError, TypeError):
            raise InputError(
                "The settings in the model's card are not those of a feature fusion (segments, spacing, ...); "
                "copy the model's folder again."
            ) from None
        if not segments or not all(segments):
            raise InputError("The model's card names no segments for its feature fusion; copy the folder again.")
        return settings

    def as_card(self) -> dict[str, Any]:
        """The same as a JSON-ready dictionary."""
        return {**asdict(self), "segments": [list(names) for names in self.segments]}

    @property
    def titles(self) -> list[str]:
        """The proper names of the segments."""
        return [names[0] for names in self.segments]

    def label_values(self, names: Mapping[int, str]) -> list[int] | None:
        """The label value of each segment by its name in a segmentation (value -> name); None where one is missing.

        Capitals, spaces, hyphens and underscores do not matter.
        """
        values = {_bare(name): value for value, name in reversed(list(names.items()))}
        found = [next((values[n] for n in map(_bare, known) if n in values), None) for known in self.segments]
        return None if None in found else [v for v in found if v is not None]


def _bare(name: str) -> str:
    return re.sub(r"[\s_\-.,]+", "", name).casefold()
