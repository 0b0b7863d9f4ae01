"""What is wrong with a problem before anything is computed: one sentence that quotes what came and says
what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .errors import InputError
from .grid import Grid
from .image import Image
from .overlap import fields_overlap
from .points import PointSet
from .problem import RegistrationProblem
from .spec import Capability, MethodSpec, Need

#: fewest voxels along an axis: below that there is no gradient, no neighbourhood and no pyramid
MINIMUM_VOXELS = 4
#: mm; no scanner or microscope steps further, so the header is in other units
MAXIMUM_SPACING = 100.0
#: landmarks an affine or rigid start needs
_MINIMUM_LANDMARKS = 3
#: voxels of a mask looked at, evenly spread, to find out whether it touches its image
_MASK_SAMPLES = 200_000

_INPUTS = (
    "fixed_mask",
    "moving_mask",
    "fixed_segmentation",
    "moving_segmentation",
    "fixed_landmarks",
    "moving_landmarks",
    "fixed_surfaces",
    "moving_surfaces",
)


def check_problem(problem: RegistrationProblem, spec: MethodSpec, parameters: Any) -> list[str]:
    """Sentences the user should read before a run that can go ahead.

    Raises InputError where it cannot: the first thing that is wrong, in one sentence.
    """
    for name, image in problem.images():
        _check_shape(name, image)
    _check_dimensions(problem, spec)
    for name in ("fixed", "moving"):
        _check_values(name, getattr(problem, name))
    for side in ("fixed", "moving"):
        image = getattr(problem, side)
        for what in ("mask", "segmentation"):
            _check_touches(f"{side}_{what}", getattr(problem, f"{side}_{what}"), image)
        _check_surfaces_touch(side, getattr(problem, f"{side}_surfaces"), image)
    _check_landmarks(problem)
    _check_needs(problem, spec)
    warnings = [*_unused(problem, spec), *_landmarks_outside(problem)]
    return warnings + _check_start(problem, getattr(parameters, "initialisation", None))


def words(name: str) -> str:
    """`fixed_mask` as a person says it: "fixed mask"; images get the word "image"."""
    return f"{name} image" if name in ("fixed", "moving") else name.replace("_", " ")


def _check_shape(name: str, image: Image) -> None:
    grid = image.grid
    if image.channels != 1:
        raise InputError(
            f"The {words(name)} has {image.channels} values a voxel (colours, vectors or a time series) "
            f"where one is wanted; convert colours to grey, or extract one {grid.dimension}-D volume first."
        )
    if grid.dimension == 3 and min(grid.size) == 1:
        raise InputError(
            f"The {words(name)} has a single slice ({grid}); give a volume with at least {MINIMUM_VOXELS} "
            "slices, or "
            "save it as a 2-D image and align it with a method for 2-D."
        )
    if name in ("fixed", "moving") and min(grid.size) < MINIMUM_VOXELS:
        raise InputError(
            f"The {words(name)} is too small to be aligned ({grid}); it needs at least {MINIMUM_VOXELS} "
            "voxels "
            "along each axis."
        )
    if max(grid.spacing) > MAXIMUM_SPACING:
        raise InputError(
            f"The {words(name)} has a spacing of {max(grid.spacing):g} mm ({grid}), more than "
            f"{MAXIMUM_SPACING:g} mm; "
            "the header seems to be in other units, so correct it."
        )


def _check_dimensions(problem: RegistrationProblem, spec: MethodSpec) -> None:
    d = problem.dimension
    for name, other in _everything(problem):
        if other.dimension != d:
            raise InputError(
                f"The fixed image is {d}-D but the {words(name)} is {other.dimension}-D; both must have the "
                "same "
                "number of axes."
            )
    wanted = Capability.TWO_D if d == 2 else Capability.THREE_D
    if wanted not in spec.capabilities:
        able = " and ".join(c.value for c in (Capability.TWO_D, Capability.THREE_D) if c in spec.capabilities)
        raise InputError(
            f"Method {spec.id} works on {able or 'no'} images but these are {d}-D; choose another method."
        )


def _everything(problem: RegistrationProblem) -> Iterator[tuple[str, Any]]:
    yield from problem.images()
    for name in (
        "fixed_landmarks", "moving_landmarks", "fixed_surfaces", "moving_surfaces", "initial_transform",
    ):  # fmt: skip
        value = getattr(problem, name)
        if value is not None:
            yield name, value


def _check_values(name: str, image: Image) -> None:
    # aminmax passes NaN and infinity on, so one walk over the voxels answers both questions
    low, high = (float(v) for v in torch.aminmax(image.data))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        bad = int((~torch.isfinite(image.data)).sum())
        raise InputError(
            f"The {words(name)} has {bad} of {image.grid.voxels} voxels that are not finite numbers (NaN or "
            "infinite); "
            "replace them, for example by the background value, and try again."
        )
    if low == high:
        raise InputError(
            f"The {words(name)} is constant (every voxel is {low:g}), so there is nothing to align; "
            "choose another volume or check that it was loaded in full."
        )


def _check_touches(name: str, labels: Image | None, image: Image) -> None:
    if labels is None:
        return
    inside = labels.data[0] != 0
    index = inside.nonzero()
    if len(index) == 0:
        raise InputError(
            f"The {words(name)} is empty (all {labels.grid.voxels} voxels are 0); draw it or leave it out."
        )
    step = max(1, len(index) // _MASK_SAMPLES)
    world = labels.grid.world_from_index(index[::step].flip(-1).cpu().numpy())
    at = image.grid.index_from_world(world)
    if not ((at >= -0.5) & (at < [n - 0.5 for n in image.grid.size])).all(axis=-1).any():
        side = name.split("_")[0]
        raise InputError(
            f"The {words(name)} does not touch the {side} image: the {words(name)} lies {_box(labels.grid)} "
            "and the "
            f"image {_box(image.grid)}; choose the one that was drawn on this image."
        )


def _check_surfaces_touch(side: str, surfaces: PointSet | None, image: Image) -> None:
    if surfaces is None:
        return
    if len(surfaces) == 0:
        raise InputError(f"The {side} surfaces have 0 points; choose models that are not empty, or leave them out.")
    at = image.grid.index_from_world(surfaces.points.cpu().numpy())
    if not ((at >= -0.5) & (at < [n - 0.5 for n in image.grid.size])).all(axis=-1).any():
        low, high = (", ".join(f"{v:.0f}" for v in c) for c in (surfaces.points.amin(0), surfaces.points.amax(0)))
        raise InputError(
            f"The {side} surfaces do not touch the {side} image: they lie from ({low}) to ({high}) mm and the image "
            f"{_box(image.grid)}; check that they belong to it and are in LPS millimetres."
        )


def _box(grid: Grid) -> str:
    low, high = grid.corners.min(axis=0), grid.corners.max(axis=0)
    return (
        "from ("
        + ", ".join(f"{v:.0f}" for v in low)
        + ") to ("
        + ", ".join(f"{v:.0f}" for v in high)
        + ") mm"
    )


def _check_landmarks(problem: RegistrationProblem) -> None:
    fixed, moving = problem.fixed_landmarks, problem.moving_landmarks
    if fixed is None and moving is None:
        return
    if fixed is None or moving is None:
        there, absent = ("fixed", "moving") if moving is None else ("moving", "fixed")
        raise InputError(
            f"There are {there} landmarks but no {absent} landmarks; give both lists, point by point, or "
            "neither."
        )
    if len(fixed) != len(moving):
        raise InputError(
            f"There are {len(fixed)} fixed landmarks but {len(moving)} moving landmarks; "
            "row i of one list must match row i of the other."
        )
    if len(fixed) == 0:
        raise InputError("The lists of landmarks have 0 points; place some or leave them out.")


def _check_needs(problem: RegistrationProblem, spec: MethodSpec) -> None:
    for name in _INPUTS:
        if _need(spec, name) is Need.REQUIRED and getattr(problem, name) is None:
            raise InputError(
                f"Method {spec.id} needs the {words(name)}, but none came; add it or choose another method."
            )


def _need(spec: MethodSpec, name: str) -> Need:
    """A spec may name one side (`fixed_mask`) or both at once (`masks`, `landmarks`)."""
    kind = name.split("_")[1]
    for key in (name, kind, f"{kind}s"):
        if key in spec.inputs:
            return spec.inputs[key]
    return Need.UNUSED


def _unused(problem: RegistrationProblem, spec: MethodSpec) -> Iterator[str]:
    for name in _INPUTS:
        # segmentations and landmarks are moved and measured in any case, so only the others can be in vain
        in_vain = name.endswith(("mask", "surfaces")) and _need(spec, name) is Need.UNUSED
        if in_vain and getattr(problem, name) is not None:
            have = "have" if name.endswith("surfaces") else "has"
            it = "they" if name.endswith("surfaces") else "it"
            yield f"{spec.title} does not use the {words(name)}; {it} {have} no influence on the result."


def _landmarks_outside(problem: RegistrationProblem) -> Iterator[str]:
    for side in ("fixed", "moving"):
        points, image = getattr(problem, f"{side}_landmarks"), getattr(problem, side)
        if points is None:
            continue
        at = image.grid.index_from_world(points.points.cpu().numpy())
        outside = int((~((at >= -0.5) & (at < [n - 0.5 for n in image.grid.size])).all(axis=-1)).sum())
        if outside:
            yield (
                f"{outside} of {len(points)} {side} landmarks lie outside the {side} image; "
                "check that they belong to it and are in LPS millimetres."
            )


def _check_start(problem: RegistrationProblem, how: str | None) -> list[str]:
    """Whether the chosen start can work; without overlap of the images it must bring them together.

    how  None for a method without a choice: it starts from the initial transform where there is one
    """
    if how is None:
        how = "none" if problem.initial_transform is None else "given"
    if how == "given" and problem.initial_transform is None:
        raise InputError(
            "initialisation='given' needs an initial transform, but none came; give one or choose centres."
        )
    if how == "landmarks":
        count = 0 if problem.fixed_landmarks is None else len(problem.fixed_landmarks)
        if count < _MINIMUM_LANDMARKS:
            raise InputError(
                f"initialisation='landmarks' needs at least {_MINIMUM_LANDMARKS} pairs of landmarks, but "
                f"{count} came; "
                "add some or choose centres."
            )
    said = []
    if how != "given" and problem.initial_transform is not None:
        said.append(f"The initial transform is not used, because initialisation is {how!r} and not 'given'.")
    start = problem.initial_transform if how == "given" else None
    if fields_overlap(problem.fixed.grid, problem.moving.grid, start):
        return said
    apart = float(((problem.fixed.grid.centre - problem.moving.grid.centre) ** 2).sum() ** 0.5)
    where = (
        f"the fixed image lies {_box(problem.fixed.grid)} and the moving image {_box(problem.moving.grid)}"
    )
    if how == "given":
        raise InputError(
            f"The fields of view do not overlap after the initial transform ({where}); "
            "check its direction (fixed to moving) or choose initialisation centres."
        )
    if how == "none":
        raise InputError(
            f"The fields of view do not overlap ({where}); choose initialisation centres, rigid or affine."
        )
    said.append(
        f"The fields of view do not overlap (their centres are {apart:.0f} mm apart), so the alignment "
        "starts "
        f"from initialisation {how!r}."
    )
    return said
