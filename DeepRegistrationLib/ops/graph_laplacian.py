"""Scattered points as a graph, and diffusion of values along it.

    w_ij = exp(-|p_i - p_j|^2 / (2 s_i s_j))  where i is among the k nearest neighbours of j, or j among those of i
    L    = D - W,   D_ii = sum_j w_ij             symmetric, positive semidefinite, constants are its null space
    x minimises  sum_i c_i |x_i - b_i|^2 + a sum_{i<j} w_ij |x_i - x_j|^2,    (C + a L) x = C b

s_i is the distance of point i to its k-th neighbour, so that weights do not depend on how dense the points are.

Belkin, Niyogi: Laplacian eigenmaps, Neural Computation 15(6), 2003, doi:10.1162/089976603321780317; widths by the local
scale: Zelnik-Manor, Perona: Self-tuning spectral clustering, NIPS 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree

from ..core.progress import Tick, no_tick

#: neighbours that the distance between coinciding points is taken for, in the unit of the points
_TINY = 1e-6

#: residual relative to the right-hand side at which the conjugate gradients stop, and at most so many steps
_TOLERANCE = 1e-6
_STEPS = 1000


@dataclass(frozen=True)
class Graph:
    """edges (2, E) numbers i < j, each pair once; weights (E,) positive; nodes: how many points there are."""

    edges: torch.Tensor
    weights: torch.Tensor
    nodes: int

    def degrees(self) -> torch.Tensor:
        """(N,) D_ii."""
        out = self.weights.new_zeros(self.nodes)
        return out.index_add_(0, self.edges[0], self.weights).index_add_(0, self.edges[1], self.weights)

    def laplacian(self) -> torch.Tensor:
        """L (N, N), sparse."""
        i, j = self.edges
        every = torch.arange(self.nodes, device=i.device)
        rows, columns = torch.cat([i, j, every]), torch.cat([j, i, every])
        values = torch.cat([-self.weights, -self.weights, self.degrees()])
        size = (self.nodes, self.nodes)
        return torch.sparse_coo_tensor(
            torch.stack([rows, columns]), values, size, check_invariants=False
        ).coalesce()


def nearest_neighbours(points: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and distances (N, k) of the k other points (N, d) nearest to each, nearest first.

    k is at most N - 1.
    """
    places = points.detach().cpu().double().numpy()
    near = cKDTree(places).query(places, k=k + 1)
    distances, numbers = torch.from_numpy(near[0]), torch.from_numpy(near[1])
    # among points that coincide the first one found may be another one: leave out oneself wherever one stands
    own = numbers == torch.arange(len(points))[:, None]
    own[:, -1] |= ~own.any(dim=1)
    shape = (len(points), k)
    return (
        numbers[~own].reshape(shape).to(points.device),
        distances[~own].reshape(shape).to(points.device, points.dtype),
    )


def neighbour_graph(points: torch.Tensor, k: int = 15) -> Graph:
    """The graph of the module's docstring for points (N, d); one of a single point, or none, has no edges."""
    n = len(points)
    k = min(k, n - 1)
    if k < 1:
        return Graph(torch.zeros(2, 0, dtype=torch.long, device=points.device), points.new_zeros(0), n)
    numbers, distances = nearest_neighbours(points, k)
    here = torch.arange(n, device=points.device)[:, None].expand(n, k)
    low, high = torch.minimum(here, numbers), torch.maximum(here, numbers)
    pairs = torch.unique(low.reshape(-1) * n + high.reshape(-1))
    edges = torch.stack([pairs // n, pairs % n])
    width = distances[:, -1].clamp_min(_TINY)
    squared = (points[edges[0]] - points[edges[1]]).square().sum(dim=1)
    return Graph(edges, torch.exp(-squared / (2 * width[edges[0]] * width[edges[1]])), n)


def diffused(
    graph: Graph,
    values: torch.Tensor,
    strength: float | torch.Tensor,
    confidence: torch.Tensor | None = None,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """x of (C + a L) x = C b for values b (N, K), by conjugate gradients on all columns at once.

    strength    a, at least 0
    confidence  c (N,), not negative and somewhere positive; None: 1 everywhere. A point of confidence 0 follows its
                neighbours

    Differentiable in `values` and in `strength`. Columns keep their sums where every confidence is 1.
    """
    if values.dim() != 2 or len(values) != graph.nodes:
        raise ValueError(f"values of shape {tuple(values.shape)} do not fit a graph of {graph.nodes} points")
    trust = values.new_ones(graph.nodes) if confidence is None else confidence.to(values)
    strength = torch.as_tensor(strength).to(values)
    return _Diffusion.apply(values, strength, graph.laplacian().to(values.dtype), trust, tick)


class _Diffusion(torch.autograd.Function):
    """x = A^-1 C b with the symmetric A = C + a L;   db = C y,  da = -y.L x,  y = A^-1 dx."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        values: torch.Tensor,
        strength: torch.Tensor,
        laplacian: torch.Tensor,
        trust: torch.Tensor,
        tick: Tick,
    ) -> torch.Tensor:
        out = _solved(laplacian, float(strength), trust, trust[:, None] * values, values, tick)
        ctx.save_for_backward(out, strength, laplacian, trust)
        return out

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        out, strength, laplacian, trust = ctx.saved_tensors  # type: ignore[attr-defined]
        (gradient,) = gradients
        y = _solved(laplacian, float(strength), trust, gradient, gradient)
        return trust[:, None] * y, -(y * torch.sparse.mm(laplacian, out)).sum(), None, None, None


def _solved(
    laplacian: torch.Tensor,
    strength: float,
    trust: torch.Tensor,
    right: torch.Tensor,
    start: torch.Tensor,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """(C + a L)^-1 right, columns side by side, by conjugate gradients that the diagonal preconditions."""
    places, entries = laplacian.indices(), laplacian.values()
    on = places[0] == places[1]
    diagonal = trust.index_add(0, places[0, on], strength * entries[on])
    inverse = 1 / diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny)[:, None]

    def applied(x: torch.Tensor) -> torch.Tensor:
        return trust[:, None] * x + strength * torch.sparse.mm(laplacian, x)

    x = start.clone()
    rest = right - applied(x)
    enough = (_TOLERANCE * right.norm(dim=0)).square()
    towards = preconditioned = inverse * rest
    size = (rest * preconditioned).sum(dim=0)
    for _ in range(_STEPS):
        tick()
        if bool((rest.square().sum(dim=0) <= enough).all()):
            break
        image = applied(towards)
        curvature = (towards * image).sum(dim=0)
        step = torch.where(curvature > 0, size / curvature, torch.zeros_like(size))
        x = torch.addcmul(x, towards, step)
        rest = torch.addcmul(rest, image, -step)
        preconditioned = inverse * rest
        before, size = size, (rest * preconditioned).sum(dim=0)
        towards = preconditioned + towards * torch.where(before > 0, size / before, torch.zeros_like(size))
    return x
