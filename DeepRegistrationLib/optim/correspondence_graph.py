"""Belief propagation on spanning trees of a neighbourhood graph, for displacements of keypoints.

    E(u) = sum_n D_n(u_n) + sum_(m, n) w_mn |u_m - u_n|^2       over the edges (m, n) of a tree,
    M_n(delta) = min over all u with u_n = delta of E(u)         the min-marginal of keypoint n

u_n = c_n + s delta_n runs through a window of its own. On a tree, messages from the leaves to the root and back give
every min-marginal exactly; a message is the lower envelope of parabolas, one axis of the window after the other.

Felzenszwalb, Huttenlocher: Efficient belief propagation for early vision, IJCV 2006,
doi:10.1007/s11263-006-7899-4; trees of shortest edges for registration: Heinrich et al.: MRF-based deformable
registration and ventilation estimation of lung CT, IEEE TMI 2013, doi:10.1109/TMI.2013.2246577.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from ..ops.graph_laplacian import neighbour_graph

#: numbers in one broadcast minimum
_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Forest:
    """One tree for each connected part of the graph.

    parent  (N,) int64, -1 at roots
    depths  nodes by distance from their root, roots first
    """

    parent: torch.Tensor
    depths: Sequence[torch.Tensor]

    def to(self, device: torch.device) -> Forest:
        return Forest(self.parent.to(device), [nodes.to(device) for nodes in self.depths])


def neighbour_edges(points: torch.Tensor, neighbours: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges (E, 2), first < second, between points (N, d) and their nearest neighbours, and the lengths (E,)."""
    edges = neighbour_graph(points, neighbours).edges.cpu()
    lengths = (points[edges[0]] - points[edges[1]]).norm(dim=1)
    return edges.T.numpy(), lengths.cpu().double().numpy()


def spanning_forests(edges: NDArray[np.int64], lengths: NDArray[np.float64], nodes: int, count: int) -> list[Forest]:
    """`count` spanning forests of short edges; edges of one count as longer afterwards, so that the next has others."""
    weights = lengths + 1e-6  # an edge of length 0 is none
    forests = []
    for _ in range(count):
        tree = minimum_spanning_tree(csr_matrix((weights, (edges[:, 0], edges[:, 1])), shape=(nodes, nodes)))
        forests.append(_rooted(tree, nodes))
        row, column = tree.nonzero()
        used = np.isin(edges[:, 0] * nodes + edges[:, 1], np.minimum(row, column) * nodes + np.maximum(row, column))
        weights = np.where(used, 3 * weights, weights)
    return forests


def min_marginals(
    costs: torch.Tensor,
    forest: Forest,
    positions: torch.Tensor,
    centres: torch.Tensor,
    step: float,
    weight: Callable[[torch.Tensor], torch.Tensor],
    tick: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """M (N, K) minus a number for each keypoint, such that its smallest value is 0.

    costs      D (N, K), K = n^d displacements, x fastest
    positions  (N, d) of the keypoints;  centres c (N, d), in the units of `step`
    weight     squared length of edges (E,) -> w (E,)
    tick       called now and then; may raise Cancelled
    """
    d = positions.shape[1]
    n = round(costs.shape[1] ** (1 / d))
    axis = step * torch.arange(-(n // 2), n // 2 + 1, device=costs.device, dtype=costs.dtype)
    lengths = (positions - positions[forest.parent]).square().sum(dim=1)
    weights = weight(lengths).to(costs.dtype)

    def message(beliefs: torch.Tensor, edges: torch.Tensor, sender: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        return _lower_envelope(beliefs, (centres[sender] - centres[to]).to(costs.dtype), weights[edges], axis)

    beliefs = costs.clone()
    upward = torch.zeros_like(costs)
    for nodes in list(forest.depths)[:0:-1]:
        tick()
        parents = forest.parent[nodes]
        upward[nodes] = message(beliefs[nodes], nodes, nodes, parents)
        beliefs.index_add_(0, parents, upward[nodes])
    for nodes in list(forest.depths)[1:]:
        tick()
        parents = forest.parent[nodes]
        beliefs[nodes] += message(beliefs[parents] - upward[nodes], nodes, parents, nodes)
    return beliefs - beliefs.amin(dim=1, keepdim=True)


def _lower_envelope(
    values: torch.Tensor, offsets: torch.Tensor, weights: torch.Tensor, axis: torch.Tensor
) -> torch.Tensor:
    """min_delta values(delta) + w |offset + delta - delta'|^2 for every delta', less its minimum; (B, K) -> (B, K)."""
    d, n = offsets.shape[1], len(axis)
    apart = offsets[:, :, None, None] + axis[:, None] - axis
    penalty = weights[:, None, None, None] * apart.square()
    parts = []
    for block, cost in zip(*(t.split(max(1, _AT_ONCE // (n ** (d + 1)))) for t in (values, penalty)), strict=True):
        volume = block.reshape(-1, *(n,) * d)
        for k in range(d):
            # x, the component 0, runs fastest
            lines = volume.movedim(d - k, -1)
            shape = lines.shape
            best = (lines.reshape(len(block), -1, n, 1) + cost[:, k, None]).amin(dim=2)
            volume = best.reshape(shape).movedim(-1, d - k)
        parts.append(volume.reshape(len(block), -1))
    out = torch.cat(parts)
    return out - out.amin(dim=1, keepdim=True)


def _rooted(tree: csr_matrix, nodes: int) -> Forest:
    """Every tree hung up at a node near its middle, so that the longest way from the root is short."""
    both = (tree + tree.T).tocsr()
    parts, of = connected_components(both, directed=False)
    parent = np.full(nodes, -1, dtype=np.int64)
    depth = np.zeros(nodes, dtype=np.int64)
    for part in range(parts):
        far, _ = breadth_first_order(both, int(np.flatnonzero(of == part)[0]), directed=False)
        far, before = breadth_first_order(both, int(far[-1]), directed=False)
        # the last two nodes found are the ends of a longest path; the middle of it is the root
        path = [int(far[-1])]
        while before[path[-1]] >= 0:
            path.append(int(before[path[-1]]))
        root = path[len(path) // 2]
        order, before = breadth_first_order(both, root, directed=False)
        for node in order[1:]:
            parent[node] = before[node]
            depth[node] = depth[before[node]] + 1
    order = np.argsort(depth, kind="stable")
    cuts = np.flatnonzero(np.diff(depth[order])) + 1
    depths = [torch.from_numpy(part.copy()) for part in np.split(order, cuts)]
    return Forest(torch.from_numpy(parent), depths)
