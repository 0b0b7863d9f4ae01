"""Images made ready for linear registration: windowed, scaled to 0..1, averaged to each spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.grid import Grid
from ..core.image import Image
from ..ops.box import box_maximum, box_minimum
from ..ops.pyramid import block_average, block_factors

#: voxels looked at to find the intensity window
_SAMPLES = 400_000
Window = tuple[float, float]
#: mean (d,) and covariance (d, d) of positions, world mm
Moments = tuple[np.ndarray, np.ndarray]

#: Hounsfield windows of a CT
CT_SOFT: Window = (-200.0, 300.0)
CT_BONE: Window = (100.0, 1000.0)
#: an axis keeps at least this many voxels when averaging, where it has them
_LEAST = 6


@dataclass(frozen=True)
class Scan:
    """One image at one working spacing.

    values  (C, [Z,] Y, X) float32 in 0..1, one channel an intensity window
    weight  (1, [Z,] Y, X) float32 in 0..1: the share of each voxel inside the mask
    """

    values: torch.Tensor
    weight: torch.Tensor
    grid: Grid

    def without_mask(self) -> Scan:
        return replace(self, weight=torch.ones_like(self.weight))


def prepare(
    image: Image, mask: Image | None, spacings: Sequence[float], windows: Sequence[Window]
) -> list[Scan]:
    """The image at each working spacing (mm, any order), one channel a window; its own channels are averaged.

    The full-resolution image is only read for the finest spacing; the others come from that.
    """
    order = sorted(range(len(spacings)), key=lambda k: spacings[k])
    factors = block_factors(image.grid, spacings[order[0]], _LEAST)
    channels = []
    for low, high in windows:
        averaged = block_average(image.data, factors, (low, high)).mean(dim=0, keepdim=True)
        channels.append((averaged - low) / (high - low))
    values = torch.cat(channels)
    grid = image.grid.downsampled(factors)
    weight = torch.ones_like(values[:1]) if mask is None else _mask_weight(mask, grid)
    out = {order[0]: Scan(values, weight, grid)}
    for k in order[1:]:
        factors = block_factors(grid, spacings[k], _LEAST)
        out[k] = Scan(
            block_average(values, factors), block_average(weight, factors), grid.downsampled(factors)
        )
    return [out[k] for k in range(len(spacings))]


def windows_for(fixed: Image, moving: Image) -> tuple[list[Window], list[Window]]:
    """Intensity windows of both images, as many for one as for the other.

    Two CTs are seen through a soft-tissue and a bone window, so that neither the skin nor bright metal
    outweighs the rest; a CT beside another kind of scan through a wide soft-tissue window; anything else
    through its own range.
    """
    ct = is_ct(fixed), is_ct(moving)
    if all(ct):
        return [CT_SOFT, CT_BONE], [CT_SOFT, CT_BONE]
    first, second = (
        [CT_SOFT] if known else [intensity_window(image)]
        for known, image in zip(ct, (fixed, moving), strict=True)
    )
    return first, second


def is_ct(image: Image) -> bool:
    """True for Hounsfield units: said by the image, or one value in a hundred at or below -500 (air)."""
    if image.unit is not None:
        return image.unit == "HU"
    sample = _sample(image)
    return bool(sample.size) and float(np.percentile(sample, 1)) <= -500


def intensity_window(image: Image) -> Window:
    """Values between which 99 % of the image lies, without outliers; (v, v + 1) for a constant image."""
    sample = _sample(image)
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, [0.5, 99.5]))
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)


def _sample(image: Image) -> np.ndarray:
    flat = image.data.reshape(-1)
    sample = flat[:: max(1, flat.numel() // _SAMPLES)].to(torch.float32).cpu().numpy()
    return sample[np.isfinite(sample)]


def _mask_weight(mask: Image, grid: Grid) -> torch.Tensor:
    binary = (mask.data != 0).any(dim=0, keepdim=True)
    factors = block_factors(mask.grid, min(grid.spacing))
    averaged = Image(block_average(binary, factors), mask.grid.downsampled(factors))
    return averaged.resampled(grid, outside=0.0).data


def foreground(scan: Scan) -> torch.Tensor:
    """(1, [Z,] Y, X) 0/1: the patient, without air and thin things such as the table.

    Otsu's threshold for the whole scan, as a mask may hold nothing but the patient; then an opening with a box of
    three voxels, inside the mask. Where that leaves less than 1 % of the mask, as in one of the lungs, the threshold
    for its inside, and at last all of it.
    """
    inside = scan.weight > 0.5
    values = scan.values[:1]
    for compared in (values, values[inside]):
        body = ((values > otsu(compared)) & inside).to(torch.float32)
        for candidate in (_opening(body), body):
            if float(candidate.sum()) >= 0.01 * float(inside.sum()):
                return candidate
    return inside.to(torch.float32)


def otsu(values: torch.Tensor, bins: int = 128) -> float:
    """The threshold that splits values in 0..1 into two classes of least inner variance.

    Otsu, IEEE Trans. Systems, Man, and Cybernetics 9(1), 1979, doi:10.1109/TSMC.1979.4310076.
    """
    if values.numel() == 0:
        return 0.0
    histogram = torch.histc(values.float(), bins, 0.0, 1.0).double().cpu().numpy()
    centres = (np.arange(bins) + 0.5) / bins
    below = np.cumsum(histogram)
    mass = np.cumsum(histogram * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    between = np.where(np.isfinite(between), between, -1.0)
    if between.max() <= 0:  # one value only: nothing to split
        return 0.0
    # the middle of the best stretch: with an empty gap between the classes every threshold in it is as good
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float((best.mean() + 1) / bins)


def _opening(binary: torch.Tensor) -> torch.Tensor:
    reach = [1 if n >= 3 * _LEAST else 0 for n in binary.shape[1:]]
    return box_maximum(box_minimum(binary, reach), reach)


def cropped(scan: Scan, region: torch.Tensor, margin: float) -> tuple[Scan, torch.Tensor]:
    """Scan and region cut to the bounding box of `region` (1, ...) grown by `margin` mm, within the image."""
    occupied = region[0] > 0
    start, size = [], []
    for k, (n, s) in enumerate(zip(scan.grid.size, scan.grid.spacing, strict=True)):
        axis = occupied.dim() - 1 - k
        line = occupied.movedim(axis, 0).reshape(n, -1).any(dim=1).nonzero().reshape(-1)
        grow = round(margin / s)
        first = max(0, int(line[0]) - grow) if len(line) else 0
        last = min(n - 1, int(line[-1]) + grow) if len(line) else n - 1
        start.append(first)
        size.append(last - first + 1)
    cut = (slice(None), *(slice(a, a + n) for a, n in zip(start[::-1], size[::-1], strict=True)))
    grid = scan.grid.cropped(start, size)
    scan_cut = Scan(scan.values[cut].contiguous(), scan.weight[cut].contiguous(), grid)
    return scan_cut, region[cut]


def centre_of_mass(region: torch.Tensor, grid: Grid) -> np.ndarray:
    """World mm of the mean position of `region` (1, [Z,] Y, X)."""
    return first_moments(region, grid)[0]


def first_moments(region: torch.Tensor, grid: Grid) -> Moments:
    """Of the positions in `region` (1, [Z,] Y, X)."""
    points = grid.world_points(region.device, torch.float64).reshape(-1, grid.dimension)
    w = region.reshape(-1, 1).to(torch.float64)
    total = w.sum().clamp_min(1e-12)
    mean = (w * points).sum(dim=0) / total
    centred = points - mean
    covariance = (w * centred).T @ centred / total
    return mean.cpu().numpy(), covariance.cpu().numpy()
