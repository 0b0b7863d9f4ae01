"""What the maps of a review mean and how they want to be shown. Importing this loads nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class MapKind:
    """One kind of map on the fixed grid.

    id            name of its file and of its key in `Review.maps` and metrics.json ("jacobian")
    title         as a user reads it, without the unit
    unit          "mm", or "" for a number without one
    diverging     True: colours part at `centre`; False: they rise from the low end of the range
    range         values the colours span; None: from 0 to the map's own 99th percentile
    folded_below  values at or below it are folding and get a colour of their own; None: there is no such value
    help          what it says, in a sentence or two
    """

    id: str
    title: str
    unit: str
    diverging: bool
    centre: float | None
    range: tuple[float, float] | None
    folded_below: float | None
    help: str


_KINDS = (
    MapKind(
        id="jacobian",
        title="Jacobian determinant",
        unit="",
        diverging=True,
        centre=1.0,
        range=(0.0, 2.0),
        folded_below=0.0,
        help="Local volume in the moving image for each unit of volume in the fixed image: 1 keeps the volume, "
        "2 doubles it, 0.5 halves it. At or below 0 the deformation folds and cannot be right.",
    ),
    MapKind(
        id="log-jacobian",
        title="Logarithm of the Jacobian determinant",
        unit="",
        diverging=True,
        centre=0.0,
        range=(-1.0, 1.0),
        folded_below=None,
        help="Growth and shrinkage on one scale: 0 keeps the volume, 0.69 doubles it, -0.69 halves it. "
        "Folding, which has no logarithm, gets the lowest value.",
    ),
    MapKind(
        id="displacement",
        title="Displacement",
        unit="mm",
        diverging=False,
        centre=None,
        range=None,
        folded_below=None,
        help="How far each point of the fixed image lies from the place it is mapped to in the moving image.",
    ),
    MapKind(
        id="inverse-consistency",
        title="Inverse-consistency error",
        unit="mm",
        diverging=False,
        centre=None,
        range=None,
        folded_below=None,
        help="How far a point ends from where it began when it is mapped to the moving image and back. "
        "It tests the inverse, not whether the alignment is right.",
    ),
    MapKind(
        id="uncertainty",
        title="Uncertainty",
        unit="mm",
        diverging=False,
        centre=None,
        range=None,
        folded_below=None,
        help="How far the result might be off here by the method's own estimate or by the disagreement of perturbed "
        "runs. It is not a probability, and a small value does not prove that the result is right.",
    ),
)

#: id -> kind, in the order in which they are offered
MAP_KINDS: Mapping[str, MapKind] = MappingProxyType({kind.id: kind for kind in _KINDS})


def map_kind(map_id: str) -> MapKind:
    """The kind of a map; one that is not listed ("non-correspondence") is sequential, titled by its id."""
    known = MAP_KINDS.get(map_id)
    if known is not None:
        return known
    title = map_id.replace("-", " ").replace("_", " ").strip().capitalize() or "Map"
    return MapKind(map_id, title, "", False, None, None, None, "A map made by the registration method.")
