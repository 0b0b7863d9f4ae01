"""Read a result, whoever made it, map it, measure it, write: one review, the same for command line and worker."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .loading import check_coverage, check_finite, load_result
from .outputs import all_or_nothing, output_folder, record, write_images
from .perform import Outcome, paths_of, using_threads

if TYPE_CHECKING:
    from ..core.progress import Progress
    from ..core.result import RegistrationResult

#: shares of the progress bar, without and with an ensemble, and where the measuring ends
_READ, _READ_BESIDE_ENSEMBLE, _ENSEMBLE, _MEASURED = 0.15, 0.02, 0.9, 0.85


@dataclass(frozen=True)
class EnsembleRequest:
    """Perturbed runs of a method whose disagreement is the uncertainty; see methods.ensemble."""

    method: str
    preset: str | None = None
    values: Mapping[str, Any] | None = None
    members: int = 5
    seed: int = 0


@dataclass(frozen=True)
class ReviewRequest:
    """One review as a user orders it.

    inputs      input name -> path or object: transform, inverse, uncertainty (see loading.load_result) and
                those of a problem; initial_transform is where the runs of an ensemble start
    maps        ids of metrics.map_kinds; None: all that can be had
    ensemble    None: no estimate of uncertainty beyond what the inputs have
    provenance  how the transform was made, as far as known
    """

    inputs: Mapping[str, Any]
    maps: Sequence[str] | None = None
    ensemble: EnsembleRequest | None = None
    device: str = "auto"
    threads: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def request_of(problem: Mapping[str, Any], inputs: Mapping[str, str]) -> ReviewRequest:
    """The review that problem.json of a job orders; inputs: name -> full path. Raises InputError."""
    order = problem.get("ensemble")
    if order is not None and (not isinstance(order, Mapping) or not order.get("method")):
        raise InputError("An ensemble needs a method to run; choose one, or review without it.")
    return ReviewRequest(
        inputs=inputs,
        maps=problem.get("maps"),
        ensemble=None
        if order is None
        else EnsembleRequest(
            method=order["method"],
            preset=order.get("preset"),
            values=order.get("values"),
            members=int(order.get("members") or EnsembleRequest.members),
            seed=int(order.get("seed") or 0),
        ),
        device=problem.get("device") or "auto",
        threads=problem.get("threads"),
        provenance=problem.get("provenance") or {},
    )


def load_for_review(inputs: Mapping[str, Any]) -> RegistrationResult:
    """A result from inputs of any origin. Raises InputError where transform and images do not belong together."""
    result = load_result(inputs)
    check_finite(result.problem)
    check_coverage(result)
    return result


def perform_review(
    request: ReviewRequest,
    folder: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    compressed: bool = True,
) -> Outcome:
    """Map and measure a result and leave moved image, labels, every map, metrics.json and provenance.json in
    `folder`, a folder that ResultFolder reads.

    Raises InputError, OutputError, DeviceMemoryError, Cancelled; nothing half-written is left then.
    """
    from ..core.progress import Progress
    from ..metrics.review import review

    progress = progress or Progress()
    begun = time.perf_counter()
    with using_threads(request.threads), output_folder(folder):
        progress.update(0.0, "Reading the images")
        result = load_for_review(request.inputs)
        progress.update(_READ_BESIDE_ENSEMBLE if request.ensemble else _READ)
        result, said = _with_ensemble(result, request, progress)
        start, end = (_ENSEMBLE, 0.98) if request.ensemble else (_READ, _MEASURED)
        seen = review(result, _wanted(request), progress.part(start, end))
        progress.update(end, "Writing")
        with all_or_nothing(folder) as (staging, files):
            files |= write_images(
                result,
                seen.maps,
                staging,
                moved=seen.moved,
                moved_segmentation=seen.moved_segmentation,
                compressed=compressed,
            )
            record(
                result,
                seen.evaluation,
                staging,
                files,
                inputs=paths_of(request.inputs),
                made=_made(request, said, time.perf_counter() - begun),
            )
    progress.update(1.0, "Finished")
    return Outcome(result, seen.evaluation, files, said)


def _wanted(request: ReviewRequest) -> list[str] | None:
    if request.maps is None:
        return None
    extra = ["uncertainty"] if request.ensemble is not None and "uncertainty" not in request.maps else []
    return [*request.maps, *extra]


def _with_ensemble(
    result: RegistrationResult, request: ReviewRequest, progress: Progress
) -> tuple[RegistrationResult, list[str]]:
    """The result with its uncertainty estimated, and what there is to say about that."""
    order = request.ensemble
    if order is None:
        return result, []
    from ..core.context import Context
    from ..core.device import choose_device
    from ..methods import registry
    from ..methods.ensemble import uncertainty_by_disagreement

    part = progress.part(_READ_BESIDE_ENSEMBLE, _ENSEMBLE)
    context = Context(device=choose_device(request.device), progress=part, seed=order.seed)
    uncertainty = uncertainty_by_disagreement(
        result.problem,
        registry()[order.method],
        preset=order.preset or None,
        values=order.values,
        context=context,
        members=order.members,
    )
    maps = {**result.maps, "uncertainty": uncertainty}
    return replace(result, maps=maps), context.messages


def _made(request: ReviewRequest, said: Sequence[str], seconds: float) -> dict[str, Any]:
    """The provenance of the transform, with what the review has added."""
    from ..methods.versions import versions

    earlier = request.provenance.get("messages") or ()
    ensemble = request.ensemble
    return {
        **request.provenance,
        "messages": list(dict.fromkeys([*earlier, *said])),
        "review": {
            "seconds": seconds,
            "versions": versions(),
            "ensemble": None if ensemble is None else {**vars(ensemble), "values": dict(ensemble.values or {})},
        },
    }
