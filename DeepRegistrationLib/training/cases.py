"""Real cases to learn from: a scan each, with its segmentation where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ..core.errors import InputError
from ..core.image import Image


class Role(Enum):
    TRAIN = "train"
    VALIDATE = "validate"


@dataclass(frozen=True)
class Case:
    """One scan; its world is its own, cases need not lie in one. `labels` names its segments."""

    name: str
    scan: Image
    labels: Image | None = None
    role: Role = Role.TRAIN


@dataclass(frozen=True)
class TrainingCases:
    """pairs  (fixed, moving) names that belong together (one patient twice); none: every case with every other."""

    cases: Sequence[Case]
    pairs: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def of(self, role: Role) -> list[Case]:
        return [c for c in self.cases if c.role is role]

    def segments(self) -> list[str]:
        """The names of the segments that every case with a segmentation has, in the order of the first one.

        Raises InputError where two have segmentations without a name in common.
        """
        named = [list(c.labels.names.values()) for c in self.cases if c.labels is not None]
        if not named:
            return []
        common = [n for n in named[0] if all(n in other for other in named[1:])]
        if not common:
            raise InputError(
                "The cases' segmentations have no segment name in common; name the segments alike, or leave them out."
            )
        return common
