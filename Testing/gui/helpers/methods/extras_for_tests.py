"""A method for tests of the panel that gives everything a method can give, and takes settings by segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from DeepRegistrationLib.core.segment_settings import Column, PerSegment, SegmentMatrix, check_segment_names
from DeepRegistrationLib.core.spec import Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title

KERNELS = PerSegment(
    {
        "bandwidth": Column("Bandwidth", Range(1, 500), 30.0, "mm", "How far motion reaches."),
        "size": Column("Size", Range(0, 10), 1.0),
    }
)
COHERENCE = SegmentMatrix(Range(0, 1), 0.25, 1.0)


@dataclass(frozen=True)
class Parameters:
    initialisation: Annotated[
        str, Choice({"none": "Keep the position", "given": "Given transform"}), Title("Start")
    ] = "none"
    kernels: Annotated[dict | None, KERNELS, Title("Kernels"), Help("Of each segment.")] = None
    coherence: Annotated[dict | None, COHERENCE, Title("Coherence"), Help("Of each pair of segments.")] = None


def run(problem: Any, parameters: Parameters, context: Any) -> Any:
    import numpy as np
    import torch

    from DeepRegistrationLib.core.image import Image
    from DeepRegistrationLib.core.points import PointSet
    from DeepRegistrationLib.core.result import Alternative, RegistrationResult
    from DeepRegistrationLib.transforms import Affine

    names = [] if problem.fixed_segmentation is None else list(problem.fixed_segmentation.names.values())
    if problem.fixed_surfaces is not None:
        names = list(problem.fixed_surfaces.label_names.values())
    check_segment_names("kernels", parameters.kernels, names)
    check_segment_names("coherence", parameters.coherence, names, pairs=True)
    context.progress.update(0.5, "Thinking")
    grid = problem.fixed.grid
    shifts = [4.0, -6.0, 10.0]
    transforms = [Affine(np.eye(3), [shift, 0.0, 0.0]) for shift in shifts]
    points = torch.as_tensor(grid.world_from_index([[3.0, 3, 3], [8, 9, 10], [12, 5, 7]]))
    bandwidths = [KERNELS.value(parameters.kernels, name, "bandwidth") for name in names]
    return RegistrationResult(
        problem,
        transforms[0],
        transforms[0].inverse().transform,
        maps={"intensity_change": Image(torch.linspace(-9, 30, grid.voxels).reshape(1, *grid.shape), grid)},
        tables={"distance between anatomies": 12.5, "sum of bandwidths": float(sum(bandwidths))},
        series={"images": [problem.fixed.with_data(problem.fixed.data.float() * k) for k in (0.25, 0.5, 1.0)]},
        points={
            "fixed_correspondences": PointSet(points),
            "moving_correspondences": PointSet(points).mapped(transforms[0]),
        },
        alternatives=[
            Alternative(t, {"similarity": 1 / (1 + k), "overlap": 0.5}) for k, t in enumerate(transforms)
        ],
    )


SPEC = MethodSpec(
    id="extras-for-tests",
    title="Extras (tests)",
    description="Gives everything.",
    family="tests",
    paper="",
    doi="",
    parameters=Parameters,
    run=run,
    memory=lambda grid, parameters: 1000,
    inputs={"segmentations": Need.OPTIONAL, "surfaces": Need.OPTIONAL},
    capabilities=frozenset({Capability.THREE_D, Capability.LINEAR, Capability.INVERSE}),
    presets=(Preset("abdomen-ct", "Abdomen (CT)", {"kernels": {"liver": {"bandwidth": 60.0}}}),),
)
