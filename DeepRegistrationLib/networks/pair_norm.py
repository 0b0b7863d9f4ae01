"""Batch normalisation that does not depend on how many pairs a step looks at, nor on how many processes share them.

    training:    y = a (x - m) / sqrt(v + e) + b,   m, v: mean and variance of each channel over one pair's voxels
    evaluation:  the same with running averages of m and v

Ioffe, Szegedy: Batch normalization, ICML 2015, arXiv:1502.03167. Differs from the paper: statistics of each pair for
itself, as with a batch of one. A volume has voxels enough for them; several pairs a step, or one in each of several
processes, then give the same losses. The running averages take the mean over the pairs of a process.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PairNorm(nn.Module):
    """(B, C, ...) -> the same shape; parameters and buffers go by the names of torch's batch norm."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.epsilon
            )
        with torch.no_grad():
            seen = values.detach().flatten(2).float()
            self.running_mean.lerp_(seen.mean(dim=(0, 2)), self.momentum)
            self.running_var.lerp_(seen.var(dim=2).mean(dim=0), self.momentum)
        return F.instance_norm(values, weight=self.weight, bias=self.bias, eps=self.epsilon)
