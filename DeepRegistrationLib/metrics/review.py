"""All maps and numbers of one result, whatever the method, each quantity computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.image import Image, ImageKind
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..core.result import RegistrationResult
from .concerns import concerns
from .consistency import consistency_at, inside_grid, inverse_error_map, sample_points
from .deformation import jacobian_of, measured_region, statistics_of
from .evaluation import Evaluation
from .landmarks import LandmarkErrors, landmark_errors
from .likeness import similarity
from .map_kinds import MAP_KINDS, map_kind
from .maps import MapSummary, as_map, displacement_length, log_jacobian, summarise
from .moving import pulled_back
from .overlap import label_array
from .segments import segment_scores

#: shares of the progress bar
_MOVED, _DEFORMED, _INVERTED, _SEGMENTED, _COMPARED = 0.2, 0.4, 0.6, 0.8, 0.95

Region = NDArray[np.bool_]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Review:
    """maps: id -> float32 image of one channel on the fixed grid, in the order of MAP_KINDS, then the method's
    own; moved and moved_segmentation: moving(T(x)), None where there is nothing to move."""

    evaluation: Evaluation
    maps: Mapping[str, Image]
    moved: Image | None
    moved_segmentation: Image | None


def review(
    result: RegistrationResult,
    maps: Iterable[str] | None = None,
    progress: Progress | None = None,
    *,
    moved: Image | None = None,
    moved_segmentation: Image | None = None,
) -> Review:
    """Measure and map a result with everything its problem offers; computed on the CPU.

    maps  ids of those wanted, None for all that can be had:
          jacobian             det dT/dx
          log-jacobian         its logarithm; the lowest value where it has none (folding)
          displacement         |T(x) - x| mm
          inverse-consistency  |S(T(x)) - x| mm, where there is an inverse S; 0 where T(x) leaves the moving image
          and everything in `result.maps` ("uncertainty", ...)
          What the result lacks the inputs for is left out.
    moved, moved_segmentation  the result's own, where the caller has computed them already

    Raises InputError for an unknown map, where landmarks do not pair up or where the fixed mask misses the
    fixed image; Cancelled.
    """
    wanted = _wanted(result, maps)
    return _Work(_on_cpu(result), wanted, progress or Progress()).done(moved, moved_segmentation)


def evaluate(
    result: RegistrationResult,
    *,
    moved: Image | None = None,
    moved_segmentation: Image | None = None,
) -> Evaluation:
    """The numbers of `review`, which see."""
    return review(result, (), moved=moved, moved_segmentation=moved_segmentation).evaluation


class _Work:
    """One review on its way."""

    def __init__(self, result: RegistrationResult, wanted: list[str], progress: Progress) -> None:
        self.result, self.wanted, self.progress = result, wanted, progress
        self.region = measured_region(result.grid, result.problem.fixed_mask)
        self.maps: dict[str, Image] = {}
        self.summaries: dict[str, MapSummary | None] = {}

    def done(self, moved: Image | None, labels: Image | None) -> Review:
        result, problem, grid = self.result, self.result.problem, self.result.grid
        self.progress.update(0.0, "Moving the images")
        moved, labels = _moved(result, moved, labels)
        self.progress.update(_MOVED, "Measuring the deformation")
        displacement = result.transform.displacement(grid)
        jacobian = jacobian_of(result.transform, grid, displacement)
        length = self._lengths(displacement)
        deformation = statistics_of(jacobian, length, self.region)
        self._jacobian_maps(jacobian)
        self.progress.update(_DEFORMED, "Measuring the inverse")
        self._inverse_map(displacement)
        del displacement
        self.progress.update(_INVERTED, "Measuring the segments")
        uncertainty = self._own_maps()
        segments = segment_scores(result, jacobian, labels, uncertainty)
        self.progress.update(_SEGMENTED, "Comparing the images")
        x = sample_points(grid, self.region)
        y = result.transform.apply(x)
        inverse, moving, masked = result.inverse, problem.moving.grid, _inside_mask(problem)
        evaluation = Evaluation(
            region="fixed image" if problem.fixed_mask is None else "fixed mask",
            deformation=deformation,
            outside_percent=100.0 * float((~inside_grid(y, moving)).double().mean()),
            outside_percent_before=100.0 * float((~inside_grid(x, moving)).double().mean()),
            landmarks=_landmarks(result),
            segments=segments,
            volume_unit="ml" if grid.dimension == 3 else "mm^2",
            inverse_consistency=None if inverse is None else consistency_at(x, y, inverse, moving),
            maps=_in_order(self.summaries),
            similarity_before=similarity(problem.fixed, problem.moving.resampled(grid), masked),
            similarity_after=similarity(problem.fixed, moved, masked),
        )
        self.progress.update(_COMPARED)
        evaluation = replace(evaluation, concerns=tuple(concerns(evaluation, grid)))
        self.progress.update(1.0)
        return Review(evaluation, _in_order(self.maps), moved, labels)

    def _keep(self, map_id: str, values: Values, region: Region | None = None) -> None:
        self._keep_summarised(map_id, values, summarise(values[self.region if region is None else region]))

    def _keep_summarised(self, map_id: str, values: Values, summary: MapSummary | None) -> None:
        self.summaries[map_id] = summary
        if map_id in self.wanted:
            data = torch.from_numpy(np.ascontiguousarray(values))[None]
            own = self.result.maps.get(map_id)
            unit = map_kind(map_id).unit or (own.unit if own is not None else None)
            self.maps[map_id] = Image(data, self.result.grid, ImageKind.INTENSITY, unit=unit)

    def _lengths(self, displacement: torch.Tensor) -> MapSummary:
        values = displacement_length(displacement, self.result.grid)
        summary = summarise(values[self.region])
        if summary is None:
            raise InputError("The transform holds no finite displacement over the fixed image; give another.")
        if "displacement" in self.wanted:
            self._keep_summarised("displacement", values, summary)
        return summary

    def _jacobian_maps(self, jacobian: Values) -> None:
        if "jacobian" in self.wanted:
            self._keep("jacobian", jacobian)
        if "log-jacobian" in self.wanted:
            self._keep("log-jacobian", log_jacobian(jacobian), self.region & (jacobian > 0))

    def _inverse_map(self, displacement: torch.Tensor) -> None:
        inverse, map_id = self.result.inverse, "inverse-consistency"
        if inverse is None or map_id not in self.wanted:
            return
        error, known = inverse_error_map(
            displacement, inverse, self.result.grid, self.result.problem.moving.grid
        )
        self._keep(map_id, error, known & self.region)

    def _own_maps(self) -> Values | None:
        """The method's own maps are summarised in any case; returns the uncertainty."""
        uncertainty = None
        for map_id, image in self.result.maps.items():
            values = as_map(image, self.result.grid)
            self._keep(map_id, values)
            if map_id == "uncertainty":
                uncertainty = values
        return uncertainty


def _wanted(result: RegistrationResult, maps: Iterable[str] | None) -> list[str]:
    known = [*MAP_KINDS, *(name for name in result.maps if name not in MAP_KINDS)]
    if maps is None:
        return known
    wanted = list(maps)
    for map_id in wanted:
        if map_id not in known:
            raise InputError(f"There is no map {map_id!r} for this result; it can have {', '.join(known)}.")
    return wanted


def _in_order(found: dict[str, Any]) -> dict[str, Any]:
    order = [*MAP_KINDS, *found]
    return {name: found[name] for name in sorted(found, key=order.index)}


def _moved(result: RegistrationResult, moved: Image | None, labels: Image | None) -> tuple[Image, Image | None]:
    """moving(T(x)) of image and segmentation where not known already, T being evaluated once for both."""
    problem, wanted = result.problem, {}
    if moved is None:
        wanted["moved"] = problem.moving
    if labels is None and problem.moving_segmentation is not None:
        wanted["labels"] = problem.moving_segmentation
    made = dict(zip(wanted, pulled_back(list(wanted.values()), result.grid, result.transform), strict=True))
    return moved or made["moved"], labels or made.get("labels")


def _landmarks(result: RegistrationResult) -> LandmarkErrors | None:
    fixed, moving = result.problem.fixed_landmarks, result.problem.moving_landmarks
    if fixed is None or moving is None:
        return None
    return landmark_errors(result.transform, fixed, moving)


def _inside_mask(problem: RegistrationProblem) -> Region | None:
    """Where grey values are compared: at the border of the grid too, unlike derivatives."""
    if problem.fixed_mask is None:
        return None
    return label_array(problem.fixed_mask.resampled(problem.fixed.grid)) != 0


def _on_cpu(result: RegistrationResult) -> RegistrationResult:
    cpu = torch.device("cpu")
    return replace(
        result,
        problem=result.problem.to(cpu),
        transform=result.transform.to(cpu),
        inverse=None if result.inverse is None else result.inverse.to(cpu),
        maps={name: image.to(cpu) for name, image in result.maps.items()},
    )
