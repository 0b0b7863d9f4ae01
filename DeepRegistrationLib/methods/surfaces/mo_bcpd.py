"""Multi-organ Bayesian coherent point drift (MO-BCPD): surfaces of segments onto each other, then the whole volume.

    T(x) = rho(A(x) + v(A(x))),   rho(p) = s R p + t,   v ~ GP(0, L_a L_b S_ab exp(-|p - q|^2 / (2 B_a B_b)))

A is the pre-alignment, v the displacement of a point of segment a. Each segment has a bandwidth B (how far its points
move alike) and a magnitude L (how far they may move), both mm; S_ab says how far segments a and b move together. The
matching is soft, allows for wrong labels (transition U) and for points that belong to nothing (outliers). The segments'
own displacements give one transform of the volume (optim/segment_field.py). Intensities play no part after A.

Point sets are pushed from source to target. T maps fixed to moving, so the FIXED surface is the source y and the MOVING
one the target x: T comes out without an inversion. `inverse` inverts it numerically.

Joutard et al., A multi-organ point cloud registration algorithm for abdominal CT registration, WBIR 2022,
doi:10.1007/978-3-031-11203-4_9. Hirose, A Bayesian formulation of coherent point drift, IEEE TPAMI 43(7), 2021,
doi:10.1109/TPAMI.2020.2971687.

Defaults of the paper: B 30 mm, L 10 mm, S the identity (its best form), U the identity, kappa without end.
Differs from the paper: a pre-alignment; S is not 0 for segments that share much of their surface, such as white and
grey matter or a tumour and its organ, which cannot move apart there (0 where up to a tenth of the smaller surface
touches the other segment, 1 from a half on, unless it is set); covariances between different bandwidths
(ops/segment_kernel.py); voxels outside the segments; large segments get more points; the first sigma (gamma 1 in the
paper) is as wide as the segment that lies farthest off is; stops in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated

from ...core.segment_settings import Column, PerSegment, SegmentMatrix, check_segment_names
from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..initialisation import INITIALISATIONS

if TYPE_CHECKING:
    import torch

    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.points import PointSet
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult
    from ...core.transform import Transform
    from ...ops.segment_kernel import SegmentKernel
    from ...optim.bcpd import Drift, Settings
    from ...optim.surface_pairs import SegmentPair

KERNELS = PerSegment(
    {
        "bandwidth": Column("Bandwidth", Range(1, 500), 30.0, "mm", "How far apart points still move alike."),
        "magnitude": Column("Magnitude", Range(0.1, 200), 10.0, "mm", "How far points are expected to move."),
    }
)
COHERENCE = SegmentMatrix(Range(0, 1), 0.0, 1.0)
CONFUSION = SegmentMatrix(Range(0, 0.5), 0.0, 1.0)

_MOTIONS = Choice(
    {
        "none": "None",
        "translation": "Move",
        "rigid": "Move and turn",
        "similarity": "Move, turn and one scale",
    }
)
#: surface points of all segments together
_MOST_POINTS = 12_000
#: points of a surface that its distance to another one is measured from
_MEASURED = 2000


@dataclass(frozen=True)
class Parameters:
    """Settings of mo-bcpd."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    points: Annotated[
        int,
        Range(20, 5000, 50),
        Title("Points a segment"),
        Help("Evenly spread surface points a segment, on average: large segments get more. More is finer, slower."),
    ] = 800
    segments: Annotated[
        dict | None,
        KERNELS,
        Title("Segments"),
        Help("Bandwidth and magnitude of the motion of each segment: a larger bandwidth makes it stiffer."),
    ] = None
    coherence: Annotated[
        dict | None,
        COHERENCE,
        Title("Coherence"),
        Help("How far two segments move together: 0 not at all, 1 as one. Pairs that are set replace the automatic."),
    ] = None
    touching: Annotated[
        bool,
        Title("Touching segments move together"),
        Help("Segments that share much surface are coherent; off, only what is set above counts."),
    ] = True
    correspondences: Annotated[
        bool,
        Title("Also give point pairs"),
        Help("Surface points of the fixed scan and where each lies in the moving scan, as two lists of points."),
    ] = False
    inverse: Annotated[
        bool, Title("Also give the inverse"), Help("Invert the deformation numerically; its residual is reported.")
    ] = False
    mislabelled: Annotated[
        float,
        Range(0, 0.4, 0.01),
        Title("Share of wrong labels"),
        Help("How much of a surface carries the label of another segment by mistake, in either segmentation."),
    ] = 0.0
    confusion: Annotated[
        dict | None,
        CONFUSION,
        Title("Label confusion"),
        Help("Probability that a point of one segment is labelled as another; replaces the share of wrong labels."),
        Advanced(),
    ] = None
    outliers: Annotated[
        float,
        Range(0, 0.9, 0.01),
        Title("Outliers"),
        Help("Share of the moving surfaces that belongs to nothing in the fixed scan, such as over-segmentation."),
    ] = 0.0
    motion: Annotated[
        str, _MOTIONS, Title("Common motion"), Help("What all segments do together besides deforming."), Advanced()
    ] = "similarity"
    mixing: Annotated[
        float | None,
        Range(1e-3, 1e12),
        Title("Evenness (kappa)"),
        Help("The larger, the more alike all surface points count; without a number they are all alike."),
        Advanced(),
    ] = None
    start: Annotated[
        float | None,
        Range(1e-3, 10, 0.1),
        Title("First width (gamma)"),
        Help("Scales how far apart points are matched at first (1: over whole segments); from the distance of the "
             "segments where it is not set."),
        Advanced(),
    ] = None
    iterations: Annotated[int, Range(1, 1000, 10), Title("Iterations"), Help("At most so many."), Advanced()] = 150
    tolerance: Annotated[
        float,
        Range(1e-5, 10, 0.01),
        Unit("mm"),
        Title("Stop at"),
        Help("Ends when the points move less than this in an iteration, on average."),
        Advanced(),
    ] = 0.05
    left_out: Annotated[
        float,
        Range(0, 0.5, 1e-4),
        Title("Left out of the covariance"),
        Help("Share of the motion's variance the low-rank form may leave out; 0 keeps all, which is slow."),
        Advanced(),
    ] = 1e-4


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it.

    Raises InputError where a side has neither a segmentation nor models, no segment is on both sides, or a setting
    names a segment that is not there.
    """
    from ...core.result import RegistrationResult
    from ...optim.segment_field import dense_transform
    from ...optim.surface_pairs import segment_pairs

    progress, initial = context.progress, problem.initial_transform
    progress.update(0.0, "Finding the surfaces")
    pairs = segment_pairs(problem, context.seed, context.messages, progress.part(0.0, 0.15))
    names = [p.name for p in pairs]
    _check_settings(parameters, names)
    progress.update(0.15, "Choosing surface points")
    kernel = _kernel(pairs, parameters, _reach(problem), context)
    found, source = _matched(pairs, kernel, parameters, initial, context)
    if not found.converged:
        context.messages.append(
            f"The surfaces were still moving after {parameters.iterations} iterations; allow more, or a larger "
            "movement to stop at."
        )
    surfaces = [p.fixed for p in pairs]
    grid = problem.fixed.grid
    transform = dense_transform(grid, found, kernel, surfaces, initial, progress.part(0.75, 0.93))
    progress.update(0.93, "Measuring the surfaces")
    tables = _distances(pairs, transform)
    tables["match width (mm)"] = found.sigma
    points = _correspondences(pairs, source, transform) if parameters.correspondences else {}
    inverse = None
    if parameters.inverse:
        progress.update(0.95, "Inverting")
        inverse, tables["inverse residual (mm)"] = transform.inverse(progress.tick)
    progress.update(1.0)
    history = {"match width (mm)": found.history}
    return RegistrationResult(problem, transform, inverse, tables=tables, history=history, points=points)


def _check_settings(parameters: Parameters, names: list[str]) -> None:
    check_segment_names("segments", parameters.segments, names)
    check_segment_names("coherence", parameters.coherence, names, pairs=True)
    check_segment_names("confusion", parameters.confusion, names, pairs=True)


def _reach(problem: RegistrationProblem) -> float:
    """mm: how near surfaces lie that touch; a voxel of the label map, as both are drawn between voxels."""
    labels = problem.fixed_segmentation or problem.fixed
    return max(1.0, float(prod(labels.grid.spacing) ** (1 / problem.dimension)))


def _kernel(pairs: list[SegmentPair], parameters: Parameters, reach: float, context: Context) -> SegmentKernel:
    import numpy as np
    import torch

    from ...core.segment_settings import segments_named
    from ...ops.segment_kernel import SegmentKernel, nearest_coherence
    from ...optim.segment_model import contact_coherence

    names = [p.name for p in pairs]
    matrix = COHERENCE.array(parameters.coherence, names)
    if parameters.touching:
        said = {(a, b) for a, row in (parameters.coherence or {}).items() for b in row}
        contact = contact_coherence(pairs, reach)
        free = np.array([[(a, b) not in said and (b, a) not in said for b in names] for a in names])
        matrix = np.where(free, contact, matrix)
    coherence = nearest_coherence(matrix)
    if segments_named(parameters.coherence, pairs=True) and float(np.abs(coherence - matrix).max()) > 0.05:
        context.messages.append(
            "The coherences contradict each other (no motion can have them all), so the nearest ones that do not were "
            "used."
        )

    def column(name: str) -> torch.Tensor:
        values = [KERNELS.value(parameters.segments, n, name) for n in names]
        return torch.tensor(values, dtype=torch.float64, device=context.device)

    return SegmentKernel(column("bandwidth"), column("magnitude"), torch.as_tensor(coherence, device=context.device))


def _transition(parameters: Parameters, names: list[str], device: torch.device) -> torch.Tensor:
    import numpy as np
    import torch

    from ...optim.segment_model import label_transition

    if parameters.confusion is not None:
        wrong = CONFUSION.array(parameters.confusion, names)
    else:
        wrong = np.full((len(names),) * 2, parameters.mislabelled / max(1, len(names) - 1))
    return torch.as_tensor(label_transition(wrong), device=device)


def _matched(
    pairs: list[SegmentPair],
    kernel: SegmentKernel,
    parameters: Parameters,
    initial: Transform | None,
    context: Context,
) -> tuple[Drift, tuple[torch.Tensor, torch.Tensor]]:
    """The drift, and the fixed points with their labels that it moved."""
    from ...optim.bcpd import drift
    from ...optim.segment_model import samples, shared_out

    count = min(parameters.points, max(20, _MOST_POINTS // len(pairs)))
    if count < parameters.points:
        context.messages.append(f"With {len(pairs)} segments, {count} points were taken of each on average.")
    counts = shared_out([p.fixed for p in pairs], count)
    sides = [
        samples([getattr(p, side) for p in pairs], counts, context.seed, context.progress.part(begin, begin + 0.05))
        for side, begin in (("fixed", 0.15), ("moving", 0.2))
    ]
    fixed, moving = (s.to(context.device) for s in sides)
    start = fixed.points if initial is None else initial.to(context.device).apply(fixed.points)
    transition = _transition(parameters, [p.name for p in pairs], context.device)
    found = drift(
        start, fixed.labels, moving.points, moving.labels, kernel, transition, _settings(parameters),
        context.progress.part(0.25, 0.75),
    )  # fmt: skip
    return found, (fixed.points, fixed.labels)


def _settings(parameters: Parameters) -> Settings:
    from ...optim.bcpd import Settings

    return Settings(
        motion=parameters.motion,
        outliers=parameters.outliers,
        mixing=parameters.mixing,
        start=parameters.start,
        iterations=parameters.iterations,
        tolerance=parameters.tolerance,
        left_out=parameters.left_out or None,
    )


def _distances(pairs: list[SegmentPair], transform: Transform) -> dict[str, float]:
    """Mean distance of the surfaces as the scans came and after T, mm, by segment."""
    import torch

    from ...ops.surface_points import mean_distance

    tables = {}
    for pair in pairs:
        fixed, moving = pair.fixed.points, pair.moving.points
        moved = transform.apply(torch.as_tensor(fixed, device=transform.device)).cpu().numpy()
        tables[f"surface distance before, {pair.name} (mm)"] = mean_distance(fixed, moving, _MEASURED)
        tables[f"surface distance after, {pair.name} (mm)"] = mean_distance(moved, moving, _MEASURED)
    return tables


def _correspondences(
    pairs: list[SegmentPair], source: tuple[torch.Tensor, torch.Tensor], transform: Transform
) -> dict[str, PointSet]:
    """The fixed points that were moved, and the point of the same moving surface nearest to where T takes each."""
    import numpy as np
    import torch
    from scipy.spatial import cKDTree

    from ...core.points import PointSet

    points, labels = (v.cpu() for v in source)
    moved = transform.apply(points.to(transform.device)).cpu().numpy()
    partners = np.empty_like(moved)
    for k, pair in enumerate(pairs):
        own = labels.numpy() == k
        partners[own] = pair.moving.points[cKDTree(pair.moving.points).query(moved[own])[1]]
    counted = np.zeros(len(pairs), dtype=int)
    names = []
    for k in labels.tolist():
        counted[k] += 1
        names.append(f"{pairs[k].name} {counted[k]}")
    return {
        "fixed_correspondences": PointSet(points, labels + 1, names),
        "moving_correspondences": PointSet(torch.as_tensor(partners), labels + 1, names),
    }


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: the displacement a few times over, the label maps, and matrices of the surface points."""
    return int(4 * grid.voxels * (4 * grid.dimension + 2)) + 400_000_000


SPEC = MethodSpec(
    id="mo-bcpd",
    title="Surfaces of several organs (MO-BCPD)",
    description="Brings the surfaces of segments or models onto each other, organ by organ, and the volume with them.",
    family="surfaces",
    paper="Joutard et al.: A multi-organ point cloud registration algorithm for abdominal CT registration, 2022",
    doi="10.1007/978-3-031-11203-4_9",
    parameters=Parameters,
    run=run,
    memory=memory,
    inputs={
        "surfaces": Need.OPTIONAL,
        "fixed_segmentation": Need.OPTIONAL,
        "moving_segmentation": Need.OPTIONAL,
        "fixed_mask": Need.OPTIONAL,
        "moving_mask": Need.OPTIONAL,
        "fixed_landmarks": Need.OPTIONAL,
        "moving_landmarks": Need.OPTIONAL,
        "initial_transform": Need.OPTIONAL,
    },
    capabilities=frozenset(
        {
            Capability.TWO_D,
            Capability.THREE_D,
            Capability.MULTIMODAL,
            Capability.DEFORMABLE,
            Capability.INVERSE,
        }
    ),
    presets=(
        Preset("abdomen-ct", "Abdomen (CT)", {"start": 1.0}),
        Preset("brain-mr", "Brain (MR)", {"points": 2000}),
        Preset("fast", "Quick look", {"points": 250, "tolerance": 0.1}),
    ),
    doubles=True,
)
