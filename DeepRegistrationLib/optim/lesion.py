"""Where the lesion of a problem is: from its segmentations, by name or value, or from its masks."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.image import Image, ImageKind
from ..core.problem import RegistrationProblem
from ..core.transform import Transform
from ..ops.pyramid import pooled

#: a segment is a lesion where its name holds one of these
LESION_WORDS = (
    "lesion", "tumour", "tumor", "oedema", "edema", "necro", "metasta", "glioma", "infarct", "haemorrhage",
    "hemorrhage", "haematoma", "hematoma", "resection", "cavity", "enhancing",
)  # fmt: skip

#: lesion of the fixed and of the moving scan
Lesions = tuple[Image | None, Image | None]


def lesions(problem: RegistrationProblem, source: str, value: int | None) -> Lesions:
    """The lesion of the fixed and of the moving scan as 0/1 images on their own grids; None where there is none.

    source  "automatic": segments of either scan whose name sounds like a lesion; "fixed-segmentation",
            "moving-segmentation", "segmentations": of that scan or both; "fixed-mask", "moving-mask", "masks"
    value   label of the segment; None: those whose name sounds like a lesion, or all of them where a segmentation that
            was chosen has no such name

    Raises InputError where what was chosen is not there or empty.
    """
    automatic = source == "automatic"
    kind = "mask" if source.endswith(("mask", "masks")) else "segmentation"
    sides = ("fixed", "moving") if automatic or source.endswith("s") else (source.split("-")[0],)
    found: dict[str, Image | None] = {"fixed": None, "moving": None}
    for side in sides:
        labels: Image | None = getattr(problem, f"{side}_{kind}")
        if labels is not None:
            found[side] = _of(labels, value if kind == "segmentation" else None, by_name_only=automatic)
    if not automatic and found["fixed"] is None and found["moving"] is None:
        where = " or ".join(f"{side} {kind}" for side in sides)
        raise InputError(
            f"The lesion was to be taken from the {where}"
            + (f", segment {value}" if value is not None and kind == "segmentation" else "")
            + ", but there is nothing in it; choose another source of the lesion or draw it."
        )
    if automatic and value is not None and found["fixed"] is None and found["moving"] is None:
        raise InputError(
            f"Segment {value} was to be the lesion, but neither segmentation has it; correct the number."
        )
    return found["fixed"], found["moving"]


def share_on(lesion: Image | None, grid: Grid, transform: Transform | None = None) -> torch.Tensor | None:
    """Share 0..1 of each voxel of `grid` that the lesion takes up, ([Z,] Y, X): lesion(T(x)); None where it is none
    of it."""
    if lesion is None:
        return None
    coarse = pooled(lesion, min(grid.spacing))
    share = coarse.resampled(grid, transform, outside=0.0).data[0]
    return share if float(share.max()) > 0 else None


def _of(labels: Image, value: int | None, by_name_only: bool) -> Image | None:
    if value is not None:
        wanted = [value]
    else:
        wanted = [v for v, name in labels.names.items() if any(w in name.lower() for w in LESION_WORDS)]
    inside = torch.isin(labels.data, torch.tensor(wanted, device=labels.data.device, dtype=labels.data.dtype))
    if value is None and not by_name_only and not bool(inside.any()):
        inside = labels.data != 0
    if not bool(inside.any()):
        return None
    return replace(labels, data=inside.to(torch.float32), kind=ImageKind.INTENSITY, names={})
