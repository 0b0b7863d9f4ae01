"""What a metamorphosis shows: transform, inverse, maps and pictures on the way, from its course on the working grid.

With phi_t the flow of the course and A the pre-alignment (fixed to moving):  T_t = A o phi_t^-1,   T = T_1,
picture_t(x) = moving(T_t(x)) + A_t(x), the change of intensity A_t in intensities of the moving scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..core.transform import Transform
from ..transforms import DisplacementField, compose
from ..transforms.inverse import inverse_residual
from .evolving_mask import MaskCourse
from .shooting import Course


def field(displacement: torch.Tensor, grid: Grid) -> DisplacementField:
    """From (d, [Z,] Y, X) mm along the index axes of `grid`."""
    turn = torch.tensor(grid.direction, dtype=displacement.dtype, device=displacement.device)
    return DisplacementField(torch.einsum("wk,k...->w...", turn, displacement), grid)


def after(warp: Transform, initial: Transform | None) -> Transform:
    """x -> A(warp(x))."""
    return warp if initial is None else compose(warp, initial)


def inverse_of(
    backward: DisplacementField, forward: DisplacementField, initial: Transform | None
) -> tuple[Transform, float]:
    """phi_1 o A^-1 and the 99th percentile of |phi_1(phi_1^-1(x)) - x| in mm (and what A's inverse adds)."""
    residual = inverse_residual(backward.field, forward.field, backward.grid)
    if initial is None:
        return forward, residual
    back = initial.inverse()
    return compose(back.transform, forward), residual + back.residual_mm


@dataclass(frozen=True)
class Pictures:
    """Draws on the fixed grid. `unit`: one scaled intensity in those of the moving scan."""

    problem: RegistrationProblem
    initial: Transform | None
    working: Grid
    unit: float

    def maps(self, course: Course, masks: MaskCourse | None) -> dict[str, Image]:
        """intensity_change and metamorphosed where intensities changed, mask_end where a mask bounded that."""
        out: dict[str, Image] = {}
        change = self._change(course, -1)
        if change is not None:
            out["intensity_change"] = change
            out["metamorphosed"] = self._picture(course, -1)
        if masks is not None:
            out["mask_end"] = self._mask(masks, -1)
        return out

    def series(
        self, course: Course, masks: MaskCourse | None, count: int, progress: Progress
    ) -> dict[str, list[Image]]:
        """metamorphosis: the moving scan from its pre-aligned start to its end; mask, where one evolves."""
        if count <= 0:
            return {}
        last = len(course.backward) - 1
        chosen = sorted({round(k * last / max(1, count - 1)) for k in range(count)}) if count > 1 else [last]
        out: dict[str, list[Image]] = {"metamorphosis": []}
        evolves = masks is not None and len(masks.masks) > 1
        if evolves:
            out["mask"] = []
        for k, n in enumerate(chosen):
            progress.update(k / len(chosen))
            out["metamorphosis"].append(self._picture(course, n))
            if masks is not None and evolves:
                out["mask"].append(self._mask(masks, n))
        return out

    def _picture(self, course: Course, n: int) -> Image:
        transform = after(field(course.backward[n], self.working), self.initial)
        picture = self.problem.moving.resampled(self.problem.fixed.grid, transform)
        change = self._change(course, n)
        return picture if change is None else picture.with_data(picture.data + change.data)

    def _change(self, course: Course, n: int) -> Image | None:
        added = course.added[n]
        if added is None:
            return None
        image = Image(self.unit * added[None], self.working, unit=self.problem.moving.unit)
        return image.resampled(self.problem.fixed.grid, outside=0.0)

    def _mask(self, masks: MaskCourse, n: int) -> Image:
        return Image(masks.masks[n][None], masks.grid).resampled(self.problem.fixed.grid, outside=0.0)
