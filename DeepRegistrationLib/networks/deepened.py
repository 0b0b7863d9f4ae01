"""Kernels of a network for slices, put into one for volumes, which then sees each slice as that one does."""

from __future__ import annotations

import torch


def deepened(kernel: torch.Tensor, axis: int) -> torch.Tensor:
    """(O, I, k, k) -> (O, I, k, k, k): zero but at the middle of the new axis, 0 being the first of the scan."""
    size = kernel.shape[-1]
    deep = kernel.new_zeros((*kernel.shape, size)).movedim(-1, 2 + axis)
    deep.select(2 + axis, size // 2).copy_(kernel)
    return deep.contiguous()
