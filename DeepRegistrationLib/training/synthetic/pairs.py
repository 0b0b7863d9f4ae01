"""Synthetic pairs: an anatomy, a motion, and two images of it.

    moving(y) = look_m(A(P(y)))         fixed(x) = look_f(A(P(x + u(x))))

A is the anatomy, P its random placement. Both images are interpolated from A, neither from the other, so u is exact
at every fixed voxel and the images do not tell which of them was warped.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...core.sampling import sample_batch, sample_index
from ...ops.warp import index_grid
from ..batch import Batch
from .affine_motion import AffineMotion, random_affine, taken_back
from .anatomy import Anatomy, draw_anatomy, segments_of, tissue_table
from .breathing import breathing_field, random_wall, wall_lattice
from .deformation import diffeomorphic_field, point_field, smooth_field
from .draws import Draws
from .keypoints import keypoints
from .rendering import contrasts, degraded, lesion, painted
from .settings import SyntheticSettings
from .smooth_noise import smooth_noise

#: of the placement P: degrees, shift as a share of the field of view, scaling
_PLACEMENT = (8.0, 0.03, 0.08)

#: of `SyntheticSettings.variation`: mm, points
_VARIATION = (35.0, 100)

#: share of the amplitude of "breathing" that everything moves by, wall or not
_OUTER = 0.3


class SyntheticPairs:
    """Draws pairs; see the module's docstring.

    segments  how many channels the labels have: those of the family with most
    """

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        self.segments = max(len(segments_of(f)) for f in settings.families)

    @torch.no_grad()
    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        """One pair. generator  on the CPU; everything random comes from it."""
        said, draws = self.settings, Draws(generator, device)
        shape = said.shape
        family = draws.one_of(said.families)
        whole, corner = self._view(draws)
        anatomy = draw_anatomy(family, whole, draws)
        degrees, shift, scaling = _PLACEMENT
        placement = random_affine(draws, shape, degrees, shift * min(shape), scaling)
        placement = replace(placement, shift=placement.shift + corner)
        voxels = index_grid(shape, torch.zeros((), device=device))
        displacement = self._displacement(draws, anatomy, placement, voxels)
        to_moving = voxels + displacement.movedim(0, -1)
        size = torch.tensor(said.size, device=device)
        region = ((to_moving > -0.5) & (to_moving < size - 0.5)).all(dim=-1).to(torch.float32)
        in_moving, in_fixed = self._in_anatomy(draws, placement, voxels, to_moving)

        tissues = anatomy.tissues[None].to(torch.float32)
        fixed_tissues = sample_index(tissues, in_fixed, nearest=True, outside=None)[0].to(torch.uint8)
        moving_tissues = sample_index(tissues, in_moving, nearest=True, outside=None)[0].to(torch.uint8)
        images = self._images(draws, anatomy, in_fixed, in_moving)
        images, blobs = self._lesions(draws, images, (fixed_tissues, moving_tissues))
        fixed, moving = (degraded(draws, image, said)[None, None] for image in images)
        fixed_points, moving_points = keypoints(draws, fixed_tissues, displacement, region, said.points)
        segments = tissue_table(anatomy, "segment", device).to(torch.uint8)
        labels = said.labels
        return Batch(
            fixed, moving, torch.full((len(shape),), said.spacing, device=device),
            fixed_labels=self._one_hot(segments, fixed_tissues) if labels else None,
            moving_labels=self._one_hot(segments, moving_tissues) if labels else None,
            displacement=displacement[None], region=region[None, None],
            fixed_points=fixed_points[None], moving_points=moving_points[None],
            fixed_lesion=None if blobs is None else blobs[0][None, None],
            moving_lesion=None if blobs is None else blobs[1][None, None],
        )  # fmt: skip

    def _view(self, draws: Draws) -> tuple[tuple[int, ...], torch.Tensor]:
        """Size of the whole anatomy, [z,] y, x, and where in it the field of view begins, x, y[, z]; voxels."""
        said = self.settings
        if min(said.view) >= 1:
            return said.shape, torch.zeros(len(said.shape), dtype=torch.float64)
        share = draws.between(said.view)
        whole = tuple(round(n / share) for n in said.shape)
        places = draws.uniforms(len(whole))
        hidden = [p * (m - n) for p, m, n in zip(places, whole, said.shape, strict=True)]
        return whole, torch.tensor(hidden[::-1], dtype=torch.float64)

    def _displacement(
        self, draws: Draws, anatomy: Anatomy, placement: AffineMotion, voxels: torch.Tensor
    ) -> torch.Tensor:
        """u, (d, [Z,] Y, X) voxels."""
        said, shape = self.settings, self.settings.shape
        motion, linear = draws.one_of(said.motions), draws.one_of(said.linear)
        amplitude = draws.between(said.amplitude) / said.spacing
        smoothness = draws.between(said.smoothness) / said.spacing
        if motion == "none":
            field = torch.zeros(len(shape), *shape, device=draws.device)
        elif motion == "smooth":
            field = smooth_field(draws, shape, amplitude, smoothness)
        elif motion == "points":
            deviation, count = draws.one_of(said.frequencies)
            field = point_field(draws, shape, amplitude, deviation / said.spacing, count)
        elif motion == "diffeomorphic":
            field = diffeomorphic_field(draws, shape, amplitude, smoothness)
        else:
            outer = diffeomorphic_field(draws, shape, _OUTER * amplitude, smoothness)
            field = breathing_field(draws, outer, self._wall(draws, anatomy, placement), amplitude)
        if linear == "none":
            return field
        scaling = said.scaling if linear == "affine" else 0.0
        if linear == "aligned":
            move = taken_back(field)
        else:
            move = random_affine(draws, shape, said.rotation, said.translation / said.spacing, scaling)
        return (move(voxels + field.movedim(0, -1)) - voxels).movedim(-1, 0).contiguous()

    def _wall(self, draws: Draws, anatomy: Anatomy, placement: AffineMotion) -> torch.Tensor:
        """The anatomy's wall as it lies in the moving image, on the lattice of `breathing_field`."""
        shape = self.settings.shape
        if anatomy.wall is None:
            return random_wall(draws, shape)
        lattice = wall_lattice(shape)
        ratio = torch.tensor([n / m for n, m in zip(shape, lattice, strict=True)][::-1], device=draws.device)
        points = (index_grid(lattice, ratio) + 0.5) * ratio - 0.5
        return sample_index(anatomy.wall[None], placement(points), outside=None)[0]

    def _in_anatomy(
        self, draws: Draws, placement: AffineMotion, voxels: torch.Tensor, to_moving: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the voxels of the moving and of the fixed image lie in the anatomy, ([Z,] Y, X, d)."""
        said = self.settings
        largest = draws.between(said.variation) / said.spacing
        if largest == 0:
            return placement(voxels), placement(to_moving)
        deviation, count = _VARIATION
        change = point_field(draws, said.shape, largest, deviation / said.spacing, count)
        there = sample_batch(change[None], to_moving[None])[0].movedim(0, -1)
        return placement(voxels + change.movedim(0, -1)), placement(to_moving + there)

    def _images(
        self, draws: Draws, anatomy: Anatomy, in_fixed: torch.Tensor, in_moving: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        said = self.settings
        texture = smooth_noise(draws, 1, anatomy.tissues.shape, draws.between(said.grain))[0]
        strength = draws.between(said.texture)
        means = contrasts(draws, anatomy, said.contrast)
        fixed, moving = (painted(anatomy, m, texture, strength)[None] for m in means)
        return sample_index(fixed, in_fixed, outside=None)[0], sample_index(moving, in_moving, outside=None)[0]

    def _lesions(
        self,
        draws: Draws,
        images: tuple[torch.Tensor, torch.Tensor],
        tissues: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor] | None]:
        """The images with a lesion in one of them, and where it is in either; None where no lesions are wanted."""
        said = self.settings
        if said.lesion == "none":
            return images, None
        in_moving = said.lesion == "moving" or (said.lesion == "either" and draws.integer(2) == 1)
        which = int(in_moving)
        radius = draws.between(said.lesion_radius) / said.spacing
        image, blob = lesion(draws, images[which], tissues[which] != 0, radius)
        nothing = torch.zeros_like(blob)
        return ((images[0], image), (nothing, blob)) if in_moving else ((image, images[1]), (blob, nothing))

    def _one_hot(self, segments: torch.Tensor, tissues: torch.Tensor) -> torch.Tensor:
        """(1, S, [Z,] Y, X)"""
        numbers = segments.index_select(0, tissues.flatten().int()).reshape(1, *tissues.shape)
        wanted = torch.arange(1, self.segments + 1, device=tissues.device, dtype=torch.uint8)
        return (numbers == wanted.reshape(-1, *(1,) * tissues.dim())).to(torch.float32)[None]
