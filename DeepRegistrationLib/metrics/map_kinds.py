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
    range         values the colours span; None: from 0 to the map's own 99th percentile, or where they part as far to
                  either side of the centre as the 99th percentile of the distance from it
    folded_below  values at or below it are folding and get a colour of their own; None: there is no such value
    help          what it says, in a sentence or two
    like_moving   True: intensities of the moving scan, which look as that does and not like a measure of something
    """

    id: str
    title: str
    unit: str
    diverging: bool
    centre: float | None
    range: tuple[float, float] | None
    folded_below: float | None
    help: str
    like_moving: bool = False


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

def _of_method(
    map_id: str, title: str, help_: str, range_: tuple[float, float] | None = None, centre: float | None = None
) -> MapKind:
    return MapKind(map_id, title, "", centre is not None, centre, range_, None, help_)


def _picture(map_id: str, title: str, help_: str) -> MapKind:
    return MapKind(map_id, title, "", False, None, None, None, help_, like_moving=True)


_OF_METHODS = (
    _of_method(
        "intensity_change",
        "Intensity change",
        "What was added to the moved scan beside the deformation, in the units of the scan: 0 changes nothing.",
        centre=0.0,
    ),
    _picture(
        "metamorphosed",
        "Moved scan with its intensity change",
        "The moving scan, deformed and with its change of intensity, which is to look like the fixed scan.",
    ),
    _picture(
        "metamorphosis",
        "Metamorphosis",
        "The moving scan on its way to the fixed one, step by step.",
    ),
    _picture("path", "Along the path", "The moving scan after each piece of the way to the fixed one."),
    _picture("images", "Intermediate images", "The moving scan on its way to the fixed one, step by step."),
    _of_method("mask", "Lesion mask", "Where intensities may change: 0 nowhere, 1 fully.", (0.0, 1.0)),
    _of_method("mask_start", "Lesion mask at the start", "Where intensities may change at first.", (0.0, 1.0)),
    _of_method("mask_end", "Lesion mask at the end", "Where intensities may change at last.", (0.0, 1.0)),
    _of_method(
        "divergence",
        "Divergence of the displacement",
        "Where the displacement spreads (above 0) or gathers (below 0); 0 keeps the volume to first order.",
        centre=0.0,
    ),
    _of_method(
        "curl",
        "Curl of the displacement",
        "How much the displacement turns here: twice the angle of the local rotation to first order, in radians.",
    ),
    _of_method(
        "non_correspondence",
        "Non-correspondence",
        "How likely a place has no partner in the other scan: 0 has one, 1 has none.",
        (0.0, 1.0),
    ),
)

#: id -> kind of the maps of a review, in the order in which they are offered
MAP_KINDS: Mapping[str, MapKind] = MappingProxyType({kind.id: kind for kind in _KINDS})


#: id -> kind of every map or series that has its own words, also of those that only some methods give
KNOWN_KINDS: Mapping[str, MapKind] = MappingProxyType({kind.id: kind for kind in (*_KINDS, *_OF_METHODS)})


def map_kind(map_id: str) -> MapKind:
    """The kind of a map or of a series; one that is not listed is sequential, titled by its id."""
    known = KNOWN_KINDS.get(map_id)
    if known is not None:
        return known
    title = map_id.replace("-", " ").replace("_", " ").strip().capitalize() or "Map"
    return MapKind(map_id, title, "", False, None, None, None, "A map made by the registration method.")
