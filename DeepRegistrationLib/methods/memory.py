"""Fitting a run into the memory there is: which working spacing, on which device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import DeviceMemoryError
from ..core.spec import MethodSpec

if TYPE_CHECKING:
    import torch

    from ..core.grid import Grid
    from ..core.image import Image
    from ..core.problem import RegistrationProblem

#: share of the free memory that a run may plan to take
_SHARE = 0.9
#: how many times coarser than the finest spacing a run may become; beyond that the answer would be of little
#: use
_COARSEST = 4
_GIB = 1024**3


@dataclass(frozen=True)
class Plan:
    """Run on `device` with voxels joined until they are `coarser` times the finest spacing, `spacing` mm."""

    device: torch.device
    wanted_device: torch.device
    coarser: int
    spacing: float
    needed: int
    full: int
    available: int

    def sentence(self) -> str:
        """What the user should know about this plan; empty where everything is as asked."""
        if self.coarser == 1 and self.device == self.wanted_device:
            return ""
        why = (
            f"About {_gib(self.full)} are needed at full resolution but {self.wanted_device} has "
            f"{_gib(self.available)} free"
        )
        what = []
        if self.device != self.wanted_device:
            what.append(f"the registration ran on {self.device}")
        if self.coarser > 1:
            what.append(f"it worked with voxels of about {self.spacing:.3g} mm")
        return f"{why}, so {' and '.join(what)}; crop the images or free memory for the full resolution."


def plans(grid: Grid, spec: MethodSpec, parameters: Any, device: torch.device) -> list[Plan]:
    """What to try, best first: the asked device at full resolution or half, then the CPU, then coarser on
    either.

    Plans whose estimate exceeds the free memory are left out.
    Raises DeviceMemoryError where nothing is left.
    """
    import torch

    from ..core.device import available_memory

    free = {device: available_memory(device)}
    if device.type != "cpu":
        free[torch.device("cpu")] = available_memory(torch.device("cpu"))
    order = [(d, coarser) for coarser in range(1, _COARSEST + 1) for d in free]
    if len(free) > 1:
        # half the resolution on a graphics card is minutes sooner than all of it on the processor
        cpu = torch.device("cpu")
        order = [(device, 1), (device, 2), (cpu, 1), *(p for p in order if p[1] > 2 or p == (cpu, 2))]
    full = int(spec.memory(grid, parameters))
    finest = min(grid.spacing)
    fitting = []
    for place, coarser in order:
        spacing = coarser * finest
        factors = _factors(grid, spacing)
        joined = _whole_blocks(grid, factors).downsampled(factors)
        needed = int(spec.memory(joined, parameters if coarser == 1 else coarser_working(parameters, spacing)))
        if needed <= _SHARE * free[place]:
            fitting.append(Plan(place, device, coarser, coarser * finest, needed, full, free[device]))
    if not fitting:
        raise DeviceMemoryError(
            f"The fixed image ({grid}) needs about {_gib(full)} with {spec.title}, but {device} has "
            f"{_gib(free[device])} free and even voxels {_COARSEST} times coarser do not fit; crop the "
            "image, "
            "resample it coarser or use a computer with more memory."
        )
    return fitting


def refinement_bytes(fixed: Grid, spacing: float | None) -> float:
    """Of optim/convex_adam.py at the working `spacing`, mm: features of one scan, pooled features of both, a few images
    on the working grid, two on the fixed grid."""
    from ..optim.working_pair import working_grid

    d = fixed.dimension
    channels = 12 if d == 3 else 4
    working = working_grid(fixed, spacing).voxels
    return 4 * (working * (channels + 2 * channels / 2**d + 10) + 2 * fixed.voxels)


def coarser_working(parameters: Any, spacing: float) -> Any:
    """The parameters for a problem whose scans have voxels of `spacing` mm.

    A method that lets the user choose the spacing it works on calls that parameter `spacing` (mm, or None for
    automatic); a finer one than that of the scans would take the memory that was to be saved.
    """
    chosen = getattr(parameters, "spacing", None)
    if chosen is None or chosen >= spacing:
        return parameters
    return replace(parameters, spacing=spacing)


def coarsened(problem: RegistrationProblem, plan: Plan) -> RegistrationProblem:
    """The problem with both scans averaged over blocks of about the plan's spacing; the rest stays."""
    if plan.coarser == 1:
        return problem
    return replace(
        problem, fixed=_averaged(problem.fixed, plan.spacing), moving=_averaged(problem.moving, plan.spacing)
    )


def _factors(grid: Grid, spacing: float) -> tuple[int, ...]:
    """Voxels joined along each axis to come near `spacing` mm, keeping at least 8 along every axis."""
    return tuple(
        max(1, min(int(spacing / s + 0.5), n // 8)) for s, n in zip(grid.spacing, grid.size, strict=True)
    )


def _whole_blocks(grid: Grid, factors: tuple[int, ...]) -> Grid:
    """The grid, longer by what the last blocks of so many voxels lack."""
    return grid.cropped((0,) * grid.dimension, [-(-n // f) * f for n, f in zip(grid.size, factors, strict=True)])


def _averaged(image: Image, spacing: float) -> Image:
    """Means over whole blocks; the last block is filled up with the edge value, so that no part of the field
    of view is lost (a displacement field is zero outside its grid)."""
    import torch
    import torch.nn.functional as F

    grid = image.grid
    factors = _factors(grid, spacing)
    if max(factors) == 1:
        return image
    whole = _whole_blocks(grid, factors)
    missing = [n - m for n, m in zip(whole.size, grid.size, strict=True)]
    padding = [k for m in missing for k in (0, m)]
    data = F.pad(image.data.to(torch.float32)[None], padding, mode="replicate")
    pool = F.avg_pool3d if grid.dimension == 3 else F.avg_pool2d
    return replace(image, data=pool(data, factors[::-1])[0], grid=whole.downsampled(factors))


def is_out_of_memory(error: BaseException) -> bool:
    """True for the ways in which Python and torch say that memory ran out."""
    if isinstance(error, (MemoryError, DeviceMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text
        for sign in ("out of memory", "not enough memory", "can't allocate memory", "cudnn_status_alloc")
    )


def free_cached(device: torch.device) -> None:
    """Give back what torch keeps on a graphics card after a run, for the next try and for other programs."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GB" if count >= _GIB else f"{count / 1024**2:.0f} MB"
