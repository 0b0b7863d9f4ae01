"""Where a result would change if the input had been a little different: an estimate of uncertainty for any method.

    T_k = result of the method from the k-th perturbed start, images and settings
    map(x) = sqrt( mean_k |T_k(x) - mean_j T_j(x)|^2 )      in mm

This is a disagreement, not a probability. It is large where the images do not determine the answer (flat or noisy
regions, ambiguous matches) and small where they do. It cannot see an error that all runs share: a method that is
wrong in the same way every time agrees with itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.spec import Capability, MethodSpec, Parameter, parameters_of
from .pipeline import make_parameters, register_problem

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.image import Image
    from ..core.problem import RegistrationProblem
    from ..core.transform import Transform

#: fewest runs that can disagree
_FEWEST = 2
#: of the perturbations at strength 1: shift and turn of the start (standard deviations; the shift no more than a
#: share of the field of view, for small objects), noise as a share of the range of intensities, settings by a factor
_SHIFT_MM, _SHIFT_SHARE, _TURN_DEGREES = 2.0, 0.01, 1.5
_NOISE_SHARE = 0.03
_SETTINGS_SHARE = 0.2
#: percentiles between which intensities are taken to range, and how many voxels are looked at for them
_ROBUST = (1.0, 99.0)
_SAMPLES = 200_000
#: share of the progress bar of the pre-alignment that all runs start from
_PREALIGNED = 0.05


def note(members: int) -> str:
    """What the map is, for a caption or a report."""
    return f"disagreement of {members} perturbed runs, not a probability"


def uncertainty_by_disagreement(
    problem: RegistrationProblem,
    spec: MethodSpec,
    *,
    preset: str | None,
    values: Mapping[str, Any] | None,
    context: Context,
    members: int = 5,
    strength: float = 1.0,
) -> Image:
    """(1, [Z,] Y, X) mm on the fixed grid: how far `members` perturbed runs of a method disagree; see the module.

    Each run gets
      a start shifted (2 mm, at most 1 % of the field of view) and turned (1.5 degrees) about the fixed centre,
      where the method starts from somewhere: the pre-alignment it would have made is made once and perturbed;
      Gaussian noise of 3 % of the range (1st to 99th percentile) on both images;
      weights and stiffnesses (real numbers without a unit that cannot be negative) times 0.8 to 1.25, within
      their Range; counts, lengths, resolutions and choices stay, for they decide what is computed and how finely;
      and a seed of its own.
    `strength` multiplies all of them. The same `context.seed` gives the same map.

    What the map is, and how many runs failed and do not count, is said in `context.messages`.
    Raises InputError where fewer than two runs can be asked for or succeed; DeviceMemoryError; Cancelled.
    """
    if members < _FEWEST:
        raise InputError(f"members={members} runs cannot disagree; give at least {_FEWEST}.")
    if not 0 < strength < float("inf"):
        raise InputError(f"strength={strength:g} perturbs nothing sensible; give a positive number such as 1.")
    from ..core.checks import check_problem

    parameters = make_parameters(spec, problem.initial_transform is not None, preset, values)
    context.progress.update(0.0, "Checking the input")
    check_problem(problem, spec, parameters)
    start, settings = _common_start(problem, parameters, spec, context)
    spread, failure = _Spread(problem.fixed.grid), ""
    for member in range(members):
        part = (1 - _PREALIGNED) / members
        begin = _PREALIGNED + member * part
        progress = context.progress.part(begin, begin + part, f"Perturbed run {member + 1} of {members}")
        draw = _generator(context.seed, member)
        perturbed = _perturbed(problem, start, draw, strength)
        here = replace(context, progress=progress, seed=int(draw.integers(2**31)), messages=[])
        changed = _jittered(spec, settings, draw, strength)
        progress.update(0.0)
        try:
            transform = register_problem(perturbed, spec, values=changed, context=here).transform
        except InputError as error:
            failure = str(error)
            continue
        spread.add(transform)
    if spread.count < _FEWEST:
        raise InputError(
            f"Only {spread.count} of {members} perturbed runs found an alignment, so they cannot disagree; the "
            f"last one failed with: {failure}"
        )
    if spread.count < members:
        context.messages.append(
            f"{members - spread.count} of {members} perturbed runs found no alignment and do not count."
        )
    context.messages.append(
        f"The uncertainty is the {note(spread.count)}; it cannot see an error that all runs share."
    )
    context.progress.update(1.0)
    return spread.image()


class _Spread:
    """Running mean of displacements and the mean squared distance from it (Welford, doi:10.2307/1266577)."""

    def __init__(self, grid: Grid) -> None:
        import torch

        self.grid, self.count = grid, 0
        self._mean = torch.zeros((grid.dimension, *grid.shape))
        self._squares = torch.zeros(grid.shape)

    def add(self, transform: Transform) -> None:
        from ..core.sampling import BLOCK

        self.count += 1
        u, n = transform.displacement(self.grid).cpu(), self.count
        for part, _ in self.grid.blocks(BLOCK):
            away = u[:, part] - self._mean[:, part]
            self._mean[:, part] += away / n
            self._squares[part] += (n - 1) / n * away.square().sum(dim=0)

    def image(self) -> Image:
        from ..core.image import Image

        return Image((self._squares / self.count).sqrt()[None], self.grid, unit="mm")


def _common_start(
    problem: RegistrationProblem, parameters: Any, spec: MethodSpec, context: Context
) -> tuple[Transform | None, dict[str, Any]]:
    """What all runs start from before it is perturbed, and the settings that make a run start there.

    None where the method takes its own start and cannot be given another.
    """
    from ..transforms import Affine

    settings = asdict(parameters)
    how = settings.get("initialisation")
    own = next((p for p in parameters_of(spec.parameters) if p.name == "initialisation"), None)
    if how is None or own is None:
        return problem.initial_transform or Affine.identity(problem.dimension), settings
    if own.choice is not None and "given" not in own.choice.titles:
        return None, settings
    from .initialisation import prealign

    linear = Capability.DEFORMABLE not in spec.capabilities
    start = prealign(problem, how, context.part(0.0, _PREALIGNED, "Aligning roughly"), thorough=linear)
    return start or Affine.identity(problem.dimension), {**settings, "initialisation": "given"}


def _generator(seed: int, member: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed % 2**63, member])


def _perturbed(
    problem: RegistrationProblem, start: Transform | None, draw: np.random.Generator, strength: float
) -> RegistrationProblem:
    from ..transforms import compose

    jitter = _rigid_jitter(problem.fixed.grid, draw, strength)
    return replace(
        problem,
        fixed=_noisy(problem.fixed, draw, strength),
        moving=_noisy(problem.moving, draw, strength),
        initial_transform=problem.initial_transform if start is None else compose(jitter, start),
    )


def _rigid_jitter(grid: Grid, draw: np.random.Generator, strength: float) -> Transform:
    """A small motion about the centre of the grid, LPS mm."""
    import numpy as np

    from ..transforms import Affine

    d = grid.dimension
    shift = draw.normal(size=d) * strength * min(_SHIFT_MM, _SHIFT_SHARE * max(grid.extent))
    angles = np.deg2rad(draw.normal(size=d * (d - 1) // 2) * strength * _TURN_DEGREES)
    turn = np.eye(d)
    planes: Iterator[tuple[int, int]] = ((i, j) for i in range(d) for j in range(i + 1, d))
    for (i, j), angle in zip(planes, angles, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        step = np.eye(d)
        step[i, i] = step[j, j] = c
        step[i, j], step[j, i] = -s, s
        turn = turn @ step
    return Affine.about(grid.centre, turn, shift)


def _noisy(image: Image, draw: np.random.Generator, strength: float) -> Image:
    """The image as float32 with Gaussian noise."""
    import torch

    data = image.data.cpu().to(torch.float32)
    noise = torch.Generator().manual_seed(int(draw.integers(2**62)))
    sigma = strength * _NOISE_SHARE * _robust_range(data)
    return image.with_data(torch.randn(data.shape, generator=noise).mul_(sigma).add_(data))


def _robust_range(data: torch.Tensor) -> float:
    """Between the percentiles; of an image that is mostly one value, the whole range."""
    import numpy as np

    flat = data.reshape(-1)
    low, high = np.percentile(flat[:: max(1, flat.numel() // _SAMPLES)].numpy(), _ROBUST)
    return float(high - low) if high > low else float(flat.max() - flat.min())


def _jittered(
    spec: MethodSpec, settings: Mapping[str, Any], draw: np.random.Generator, strength: float
) -> dict[str, Any]:
    """The settings with every weight times a factor between 1 / (1 + s) and 1 + s, s = 0.2 * strength."""
    from math import exp, log1p

    changed, size = dict(settings), log1p(_SETTINGS_SHARE * strength)
    for parameter in parameters_of(spec.parameters):
        value = changed.get(parameter.name)
        if value is not None and _is_weight(parameter):
            assert parameter.range is not None
            low, high = parameter.range.minimum, parameter.range.maximum
            factor = exp(draw.uniform(-size, size))
            changed[parameter.name] = min(high, max(low, value * factor))
    return changed


def _is_weight(parameter: Parameter) -> bool:
    """A real number without a unit that cannot be negative: how much a term counts, not what is computed."""
    if parameter.type is not float or parameter.unit or parameter.choice is not None:
        return False
    return parameter.range is not None and parameter.range.minimum >= 0
