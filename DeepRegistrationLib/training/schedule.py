"""How the steps of a training are shared between its stages, and Adam's step size within a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .recipe import Stage

#: part of a stage in which the step size grows from almost nothing, and the most steps of it
WARM_UP, LONGEST_WARM_UP = 0.05, 100
#: the last step size of a stage as part of the largest
LAST = 0.1


def stage_ends(stages: Sequence[Stage], steps: int, begun: int = 0, start: int = 0) -> list[int]:
    """The number of steps done when each of the stages is over; the last is `steps`.

    begun, start  steps at which stage number `begun` began: it and the later ones share the steps after `start`
    """
    whole = sum(s.share for s in stages[begun:])
    done, ends = 0.0, []
    for stage in stages[begun:]:
        done += stage.share
        ends.append(start + round(max(0, steps - start) * done / whole))
    return ends


def cut(ends: Sequence[int], stage: int, step: int) -> list[int]:
    """The ends where `stage` is over at `step`; the later stages keep their numbers of steps."""
    saved = ends[stage] - step
    return [*ends[:stage], *(e - saved for e in ends[stage:])]


def step_size(largest: float, step: int, steps: int) -> float:
    """Adam's step size at `step` (from 0) of the `steps` of a stage: a linear rise, then half a cosine down to LAST."""
    rise = min(LONGEST_WARM_UP, math.ceil(WARM_UP * steps))
    if step < rise:
        return largest * (step + 1) / (rise + 1)
    way = (step - rise) / max(1, steps - rise)
    return largest * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, way))))
