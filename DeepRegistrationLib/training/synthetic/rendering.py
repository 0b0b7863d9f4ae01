"""From tissues to images: contrast, bias, resolution, blur, noise, window. Intensities are 0..1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ...ops.smoothing import gaussian_smooth
from ...ops.splines import basis, evaluate, knot_count
from .anatomy import Anatomy, tissue_table
from .draws import Draws
from .settings import SyntheticSettings

#: standard deviation of the blur of a slice of thickness 1, so that its full width at half maximum is 1
_SLICE = 1 / 2.355


def contrasts(draws: Draws, anatomy: Anatomy, contrast: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean intensity of each tissue in the fixed and the moving image, (kinds,)."""
    typical = tissue_table(anatomy, "typical", draws.device)
    if contrast == "typical":
        jitter = [0.03 * draws.normal(len(typical)) for _ in range(2)]
        fixed, moving = ((typical + j).clamp(0, 1) for j in jitter)
        return fixed, moving
    fixed = _random_means(draws, typical)
    if contrast == "different":
        return fixed, _random_means(draws, typical)
    return fixed, (fixed + 0.02 * draws.normal(len(typical))).clamp(0, 1)


def _random_means(draws: Draws, typical: torch.Tensor) -> torch.Tensor:
    """Evenly spread in random order, so that tissues are told apart; outside it is mostly dark.

    Tissues that are typically alike, such as both lungs, stay alike.
    """
    kinds, which = torch.unique(typical, return_inverse=True)
    order = torch.randperm(len(kinds), generator=draws.generator)
    jitter = torch.rand(len(kinds), generator=draws.generator)
    means = (0.05 + 0.9 * (order + jitter) / len(kinds)).to(draws.device)[which]
    if draws.uniform(0, 1) < 0.7:
        means[0] = draws.uniform(0, 0.08)
    return means


def painted(anatomy: Anatomy, means: torch.Tensor, texture: torch.Tensor, strength: float) -> torch.Tensor:
    """([Z,] Y, X): mean of the tissue plus the texture as far as it shows in that tissue."""
    tissues = anatomy.tissues.flatten().int()
    shown = strength * tissue_table(anatomy, "texture", means.device)
    image = means.index_select(0, tissues).reshape(texture.shape)
    return image.addcmul_(shown.index_select(0, tissues).reshape(texture.shape), texture)


def degraded(draws: Draws, image: torch.Tensor, settings: SyntheticSettings) -> torch.Tensor:
    """The image ([Z,] Y, X) as a scanner gives it, clamped to 0..1."""
    shape = image.shape
    bias = draws.between(settings.bias)
    if bias > 0:
        # a few knots over the field of view
        step = max(shape) / 2.5
        lattice = draws.normal(1, *(knot_count(n, step) for n in shape)).clamp(-2, 2) * (bias / 1.0)
        field = evaluate(lattice, [basis(torch.arange(n, device=image.device), n, step) for n in shape])[0]
        image = image * torch.exp(field)
    blur, thickness = draws.between(settings.blur), draws.between(settings.thickness)
    across = draws.integer(len(shape))
    responses = [
        _resolution(n, blur, thickness if axis == across else 1.0, image.device) for axis, n in enumerate(shape)
    ]
    image = evaluate(image[None], [down for down, _ in responses])
    noise = draws.between(settings.noise)
    if noise > 0:
        image = image + noise * draws.normal(*image.shape)
    image = evaluate(image, [up for _, up in responses])[0]
    low, high = draws.uniform(0, settings.window), 1 - draws.uniform(0, settings.window)
    return ((image - low) / (high - low)).clamp_(0, 1)


def _resolution(n: int, blur: float, thickness: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices (m, n) from voxels to slices `thickness` voxels apart, and (n, m) back, linear between them."""
    slices = max(2, round(n / thickness))
    step = n / slices
    extra = _SLICE * step if step > 1 else 0.0
    sigma = math.hypot(blur, extra)
    centres = (torch.arange(slices, dtype=torch.float32) + 0.5) * step - 0.5
    voxels = torch.arange(n, dtype=torch.float32)
    if sigma < 0.2 and step == 1:
        unit = torch.eye(n, device=device)
        return unit, unit
    if step == 1:
        down = gaussian_smooth(torch.eye(n), sigma).T.contiguous()
    else:
        down = torch.exp(-0.5 * ((voxels[None] - centres[:, None]) / sigma).square())
        down = down / down.sum(dim=1, keepdim=True)
    position = ((voxels + 0.5) / step - 0.5).clamp(0, slices - 1)
    up = (1 - (position[:, None] - torch.arange(slices)[None]).abs()).clamp(min=0)
    return down.to(device), up.to(device)


def lesion(draws: Draws, image: torch.Tensor, inside: torch.Tensor, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The image with a blob of another intensity, and the blob ([Z,] Y, X) as 0 or 1.

    inside  where its middle may lie;  radius  voxels, of its longest axis
    """
    shape = image.shape
    centre = _place(draws, inside)
    square = torch.zeros((), device=image.device)
    for axis, (n, c) in enumerate(zip(shape, centre, strict=True)):
        x = (torch.arange(n, device=image.device) - c) / max(radius * draws.uniform(0.6, 1.0), 0.8)
        square = square + x.square().reshape([-1 if a == axis else 1 for a in range(len(shape))])
    step = max(2.0, 0.8 * radius)
    bumps = evaluate(
        draws.normal(1, *(knot_count(n, step) for n in shape)),
        [basis(torch.arange(n, device=image.device), n, step) for n in shape],
    )[0]
    blob = square + 0.5 * bumps.clamp(-1.2, 1.2) < 1
    around = float(image[blob].mean()) if bool(blob.any()) else 0.5
    change = draws.uniform(0.25, 0.5) * (-1.0 if around > 0.5 else 1.0)
    return torch.where(blob, (image + change).clamp(0, 1), image), blob.to(image.dtype)


def _place(draws: Draws, inside: torch.Tensor, tries: int = 200) -> Sequence[int]:
    """A voxel, as [z,] y, x, where `inside` holds; the middle where none is found."""
    middle = [n // 2 for n in inside.shape]
    offered = torch.rand(tries, inside.dim(), generator=draws.generator)
    voxels = (offered * torch.tensor(inside.shape)).long()
    found = inside[tuple(voxels.to(inside.device).T)].cpu()
    place: list[int] = voxels[found][0].tolist() if bool(found.any()) else middle
    return place
