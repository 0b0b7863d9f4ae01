"""Whether the panel can start, and if not, why."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..core.errors import InputError
from ..core.spec import MethodSpec, Need
from ..mrml.inputs import ROLES, InputNodes
from .choices import need_of

_OPTIONAL = tuple(name for name in ROLES if name.endswith(("mask", "segmentation", "landmarks", "surfaces")))

#: input name -> name of the widget that chooses it
SELECTORS = {
    "fixed_mask": "fixedMaskSelector",
    "moving_mask": "movingMaskSelector",
    "fixed_segmentation": "fixedSegmentationSelector",
    "moving_segmentation": "movingSegmentationSelector",
    "fixed_landmarks": "fixedLandmarksSelector",
    "moving_landmarks": "movingLandmarksSelector",
    "fixed_surfaces": "fixedModelsSelector",
    "moving_surfaces": "movingModelsSelector",
}


def sentence(nodes: InputNodes) -> str:
    """What Apply would do, in words."""
    if nodes.fixed is None or nodes.moving is None:
        return _("Choose the volume that stays (fixed) and the one that is moved onto it (moving).")
    return _("Moves {moving} onto {fixed}.").format(
        moving=nodes.moving.GetName(), fixed=nodes.fixed.GetName()
    )


def reason_against(nodes: InputNodes, spec: MethodSpec) -> str:
    """Why the alignment cannot start; empty where it can."""
    try:
        nodes.check()
    except InputError as error:
        return str(error)
    for name in _OPTIONAL:
        if need_of(spec, name) is Need.REQUIRED and not getattr(nodes, name):
            return _("{method} needs the {input}; choose it under 'Help the alignment'.").format(
                method=spec.title, input=ROLES[name]
            )
    if (nodes.fixed_landmarks is None) != (nodes.moving_landmarks is None):
        return _("Choose landmarks of both volumes, or of none.")
    return ""


def mark_unused(ui: Any, spec: MethodSpec) -> None:
    """Grey out the masks and models that the method would not look at; their tool tip says so."""
    for name, selector in SELECTORS.items():
        # segmentations and landmarks are moved and measured in any case
        unused = name.endswith(("mask", "surfaces")) and need_of(spec, name) is Need.UNUSED
        widget = getattr(ui, selector)
        widget.setEnabled(not unused)
        what = _("models") if name.endswith("surfaces") else _("masks")
        tip = _("{method} does not use {input}.").format(method=spec.title, input=what) if unused else ""
        widget.setToolTip(tip or _TIPS[name.split("_")[1]]())


_TIPS = {
    "mask": lambda: _("Only what lies inside is compared. A segmentation or a label map."),
    "segmentation": lambda: _(
        "Structures with the same name on both sides are compared; those of moving are moved along."
    ),
    "landmarks": lambda: _("Point lists in the same order on both sides."),
    "surfaces": lambda: _("Models of structures, with the same name on both sides; they count before segmentations."),
}
