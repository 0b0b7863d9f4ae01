"""The part of the intensities that a method looks at, as the user limits it. Importing this loads no torch."""

from __future__ import annotations

from math import inf
from typing import Annotated, Protocol

from ..core.errors import InputError
from ..core.spec import Advanced, Help, Range, Title

LowestIntensity = Annotated[
    float | None,
    Range(-1e6, 1e6, 10),
    Title("Lowest intensity looked at"),
    Help("Darker voxels count as this value (for CT: HU)."),
    Advanced(),
]
HighestIntensity = Annotated[
    float | None,
    Range(-1e6, 1e6, 10),
    Title("Highest intensity looked at"),
    Help("Brighter voxels count as this value (for CT: HU)."),
    Advanced(),
]


class Limits(Protocol):
    """Parameters of a method that have both."""

    @property
    def intensity_minimum(self) -> float | None: ...

    @property
    def intensity_maximum(self) -> float | None: ...


def chosen_window(parameters: Limits) -> tuple[float, float] | None:
    """(lowest, highest) with infinity where the user gave no limit; None where there is neither.

    Raises InputError where the lowest is not below the highest.
    """
    low, high = parameters.intensity_minimum, parameters.intensity_maximum
    if low is None and high is None:
        return None
    low, high = (-inf if low is None else low), (inf if high is None else high)
    if low >= high:
        raise InputError(
            f"The lowest intensity looked at ({low:g}) must be below the highest ({high:g}); correct one of them."
        )
    return low, high
