"""Bounding boxes of segments."""

from __future__ import annotations

import torch


def bounding_boxes(labels: torch.Tensor) -> torch.Tensor:
    """First and last index of every segment along x, y[, z].

    labels   (B, S, [Z,] Y, X), inside where over 0.5
    returns  (B, S, 2, d) float32; NaN for a segment that is not there
    """
    d = labels.dim() - 2
    inside = labels > 0.5
    corners = []
    for axis in range(labels.dim() - 1, 1, -1):
        line = inside.amax(dim=[a for a in range(2, 2 + d) if a != axis])
        n = line.shape[-1]
        index = torch.arange(n, device=labels.device, dtype=torch.float32)
        first = torch.where(line, index, torch.inf).amin(dim=-1)
        last = torch.where(line, index, -torch.inf).amax(dim=-1)
        corners.append(torch.stack([first, last], dim=-1))
    boxes = torch.stack(corners, dim=-1)
    return torch.where(boxes.isfinite(), boxes, torch.nan)
