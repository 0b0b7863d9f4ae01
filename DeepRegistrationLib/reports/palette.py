"""The colours of maps, in one place for pictures, pages and Slicer's colour tables. Needs neither torch nor Slicer.

A stop is (position, (red, green, blue)): position 0 is the low and 1 the high end of the range shown, colours are
0 to 1, and between stops they run straight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..metrics.map_kinds import map_kind

Colour = tuple[float, float, float]
Stop = tuple[float, Colour]

#: where the deformation folds; on none of the scales below
FOLDED: Colour = (1.0, 0.0, 1.0)

# blue below the centre, black at it, orange above. Laid over a scan, black dims it but leaves its contrast; white
# would wash it out.
DIVERGING: tuple[Stop, ...] = (
    (0.00, (0.55, 0.95, 1.00)),
    (0.25, (0.05, 0.50, 1.00)),
    (0.40, (0.02, 0.22, 0.62)),
    (0.50, (0.00, 0.00, 0.00)),
    (0.60, (0.62, 0.18, 0.02)),
    (0.75, (1.00, 0.42, 0.05)),
    (1.00, (1.00, 0.92, 0.55)),
)
# lightness rises evenly from black, so that more looks like more, in grey print too
SEQUENTIAL: tuple[Stop, ...] = (
    (0.00, (0.00, 0.00, 0.02)),
    (0.25, (0.26, 0.11, 0.42)),
    (0.50, (0.66, 0.19, 0.39)),
    (0.75, (0.96, 0.48, 0.17)),
    (1.00, (1.00, 0.93, 0.60)),
)

#: map id -> stops; for ids that are missing see `stops_of`
STOPS: Mapping[str, tuple[Stop, ...]] = {
    "jacobian": DIVERGING,
    "log-jacobian": DIVERGING,
    "displacement": SEQUENTIAL,
    "inverse-consistency": SEQUENTIAL,
    "uncertainty": SEQUENTIAL,
}


def stops_of(map_id: str) -> tuple[Stop, ...]:
    """The stops of a map, as its kind asks for; those of a sequential one where the id is not known."""
    return STOPS.get(map_id) or (DIVERGING if map_kind(map_id).diverging else SEQUENTIAL)


def colours(values: ArrayLike, stops: Sequence[Stop], low: float, high: float) -> NDArray[np.float64]:
    """(..., 3) colours 0 to 1 of `values`; beyond `low` and `high` those of the ends."""
    position = (np.asarray(values, dtype=np.float64) - low) / ((high - low) or 1.0)
    places = [place for place, _ in stops]
    return np.stack([np.interp(position, places, [colour[k] for _, colour in stops]) for k in range(3)], axis=-1)


def css(colour: Colour) -> str:
    """ "#ff00ff" """
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
