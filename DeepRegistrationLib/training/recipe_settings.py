"""Settings that several recipes have, declared once. Importing this loads no torch."""

from __future__ import annotations

from typing import Annotated

from ..core.spec import Advanced, Help, Range, Title, Unit

WorkingSpacing = Annotated[
    float,
    Range(0.1, 20, 0.5),
    Unit("mm"),
    Title("Working resolution"),
    Help("Spacing of the isotropic grid the network works on."),
]
LowestIntensity = Annotated[
    float | None,
    Range(-100_000, 100_000),
    Title("Lowest intensity"),
    Help("What is darker counts as this; the darkest percentile of each scan where it is not set."),
]
HighestIntensity = Annotated[
    float | None,
    Range(-100_000, 100_000),
    Title("Highest intensity"),
    Help("What is brighter counts as this; the brightest percentile of each scan where it is not set."),
]
Levels = Annotated[
    int, Range(1, 4), Title("Levels"), Help("Resolutions, each half as fine as the next."), Advanced()
]
Mirror = Annotated[bool, Title("Mirror"), Help("Half of the samples are mirrored left to right."), Advanced()]
