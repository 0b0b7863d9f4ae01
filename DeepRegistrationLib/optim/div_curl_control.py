"""What steers a deformation with a fixed boundary: the control of its Laplacian, and how it is turned into motion.

    phi = id + u,   Laplacian u = F inside,   u = 0 on the boundary

    force     the control is F itself
    div-curl  the controls are fh and g:   F = grad f - curl g,   f = Jmin + fh^2

f stands for the wanted Jacobian determinant and g for the wanted curl of phi. With  Laplacian b = force (b = 0 on the
boundary), where force is the gradient of a loss with respect to u, its gradients with respect to the controls are

    dLoss/dF = b,     dLoss/dfh = -2 fh div b,     dLoss/dg = -curl b

Zhou, Liao: Recent developments of an optimal control approach to nonrigid image registration, WBIR 2022,
in doi:10.1007/978-3-031-11203-4 (equations 1 to 4).

The control costs 1/2 F^2 in both forms: half the squared Laplacian of u, which is its bending.

Arrays lie on a grid whose outer voxels are the boundary. Vectors have their components along its index axes, mm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F

from ..ops.div_curl import curl, divergence, gradient
from ..ops.poisson import FIXED, eigenvalues, from_frequencies, to_frequencies

#: a control fh nearer to 0 than this has lost its say; the preconditioner does not follow it there
_LEAST_SLOPE = 0.3


class Control(ABC):
    """Numbers q (a tensor) -> F -> displacement u (d, [Z,] Y, X) mm, zero on the outer voxels.

    shape    ([Z,] Y, X) with the boundary
    spacing  mm along x, y[, z]

    F (d, inner shape) is handled by its orthonormal sine frequencies, whose squares sum up to those of F.
    """

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], device: torch.device) -> None:
        self.inner = tuple(n - 2 for n in shape)
        self.spacing = tuple(spacing)
        self.d = len(self.inner)
        self.device = device
        self.eigenvalues = eigenvalues(self.inner, self.spacing, FIXED, device)

    @abstractmethod
    def identity(self) -> torch.Tensor:
        """The control of phi = id, where F = 0."""

    @abstractmethod
    def force(self, q: torch.Tensor) -> torch.Tensor:
        """F of the control."""

    @abstractmethod
    def push(self, q: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Derivative of F at q along `change`."""

    @abstractmethod
    def pull(self, q: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Adjoint of `push`: the gradient with respect to q of what has the gradient `slope` with respect to F."""

    @abstractmethod
    def precondition(self, q: torch.Tensor, gradient: torch.Tensor, stiffness: float, weight: float) -> torch.Tensor:
        """(pull (stiffness Laplacian^-2 + weight) push)^-1 on `gradient`, or close to it."""

    def displacement(self, force: torch.Tensor) -> torch.Tensor:
        """u with Laplacian u = F."""
        return F.pad(from_frequencies(force / self.eigenvalues, FIXED), (1, 1) * self.d)

    def adjoint(self, slope: torch.Tensor) -> torch.Tensor:
        """b with Laplacian b = `slope`: the gradient with respect to F of a loss whose gradient with respect to u
        is `slope` (d, [Z,] Y, X)."""
        return to_frequencies(self._cropped(slope), FIXED) / self.eigenvalues

    def force_of(self, u: torch.Tensor) -> torch.Tensor:
        """F that moves by u, which is 0 on the outer voxels."""
        return to_frequencies(self._cropped(u), FIXED) * self.eigenvalues

    def _cropped(self, wide: torch.Tensor) -> torch.Tensor:
        return wide[(slice(None), *(slice(1, -1),) * self.d)]


class ForceControl(Control):
    """q is F itself."""

    def identity(self) -> torch.Tensor:
        return torch.zeros((self.d, *self.inner), device=self.device)

    def force(self, q: torch.Tensor) -> torch.Tensor:
        return q

    def push(self, q: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return change

    def pull(self, q: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        return slope

    def precondition(self, q: torch.Tensor, gradient: torch.Tensor, stiffness: float, weight: float) -> torch.Tensor:
        return gradient / (stiffness / self.eigenvalues.square() + weight)


class DivCurlControl(Control):
    """q: fh and the components of g (one in 2-D, three in 3-D), (1 + components, inner shape).

    smallest  Jmin
    """

    def __init__(
        self, shape: Sequence[int], spacing: Sequence[float], device: torch.device, smallest: float
    ) -> None:
        super().__init__(shape, spacing, device)
        self.smallest = smallest

    def identity(self) -> torch.Tensor:
        q = torch.zeros((4 if self.d == 3 else 2, *self.inner), device=self.device)
        q[0] = sqrt(1 - self.smallest)
        return q

    def prescribed(self, q: torch.Tensor) -> torch.Tensor:
        """f (1, inner shape)."""
        return self.smallest + q[:1].square()

    def force(self, q: torch.Tensor) -> torch.Tensor:
        return self._sources(self.prescribed(q) - 1, q[1:])

    def push(self, q: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return self._sources(2 * q[:1] * change[:1], change[1:])

    def pull(self, q: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        b = from_frequencies(slope, FIXED)
        return torch.cat([-2 * q[:1] * divergence(b, self.spacing, FIXED), -curl(b, self.spacing, FIXED)])

    def precondition(self, q: torch.Tensor, gradient: torch.Tensor, stiffness: float, weight: float) -> torch.Tensor:
        scale = torch.ones_like(q)
        scale[:1] = (2 * q[:1]).abs().clamp_(min=_LEAST_SLOPE)
        # two derivatives of the control make its cost: grad and curl count as the root of the Laplacian
        wave = -self.eigenvalues
        smoothed = to_frequencies(gradient / scale, FIXED) / (stiffness / wave + weight * wave)
        return from_frequencies(smoothed, FIXED) / scale

    def _sources(self, change_of_f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        source = gradient(change_of_f, self.spacing, FIXED) - curl(g, self.spacing, FIXED)
        return to_frequencies(source, FIXED)
