"""The graph against a search of all pairs, its Laplacian against the sum over edges, diffusion against a solve."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.graph_laplacian import Graph, diffused, nearest_neighbours, neighbour_graph


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [2, 3])
def test_neighbours_against_all_pairs(d: int) -> None:
    points = random(60, d)
    numbers, distances = nearest_neighbours(points, 5)
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    wanted, at = apart.sort(dim=1)
    assert torch.equal(numbers, at[:, :5]) and torch.allclose(distances, wanted[:, :5])


def test_weights_against_the_formula() -> None:
    points, k = random(40, 3), 4
    graph = neighbour_graph(points, k)
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    width, order = apart.sort(dim=1).values[:, k - 1], apart.argsort(dim=1)[:, :k]
    found = {(int(i), int(j)): float(w) for (i, j), w in zip(graph.edges.T, graph.weights, strict=True)}
    wanted = {
        (min(i, int(j)), max(i, int(j))): float(torch.exp(-apart[i, j] ** 2 / (2 * width[i] * width[j])))
        for i in range(40)
        for j in order[i]
    }
    assert found.keys() == wanted.keys()
    assert all(found[e] == pytest.approx(wanted[e]) for e in found)
    scaled = neighbour_graph(7 * points + 100, k)
    assert torch.equal(scaled.edges, graph.edges) and torch.allclose(scaled.weights, graph.weights)


def test_laplacian_is_the_sum_of_squared_differences() -> None:
    graph = neighbour_graph(random(50, 3), 6)
    dense = graph.laplacian().to_dense()
    x = random(50, seed=3)
    i, j = graph.edges
    assert float(x @ dense @ x) == pytest.approx(float((graph.weights * (x[i] - x[j]).square()).sum()))
    assert torch.equal(dense, dense.T) and float(dense.sum(dim=1).abs().max()) < 1e-12
    assert float(torch.linalg.eigvalsh(dense).min()) > -1e-12


@pytest.mark.parametrize("strength", [0.0, 0.5, 200.0])
@pytest.mark.parametrize("trusted", [False, True])
def test_diffusion_solves_its_equations(strength: float, trusted: bool) -> None:
    graph, values = neighbour_graph(random(80, 3), 8), random(80, 7, seed=1)
    confidence = random(80, seed=2).square() if trusted else None
    if confidence is not None and strength > 0:
        confidence[:20] = 0
    c = torch.ones(80, dtype=torch.float64) if confidence is None else confidence
    wanted = torch.linalg.solve(c.diag() + strength * graph.laplacian().to_dense(), c[:, None] * values)
    got = diffused(graph, values, strength, confidence)
    assert torch.allclose(got, wanted, atol=1e-4)
    if confidence is None:
        assert torch.allclose(got.sum(dim=0), values.sum(dim=0), atol=1e-4)


def test_strong_diffusion_is_the_mean_and_none_is_nothing() -> None:
    graph, values = neighbour_graph(random(30, 3), 6), random(30, 2, seed=1)
    assert torch.equal(diffused(graph, values, 0.0), values)
    assert torch.allclose(diffused(graph, values, 1e7), values.mean(dim=0).expand(30, 2), atol=1e-3)
    constant = torch.full((30, 2), 3.0)
    assert torch.allclose(diffused(graph, constant, 5.0), constant)


def test_smooth_values_outlast_noise() -> None:
    points = torch.rand(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    graph = neighbour_graph(points, 10)
    smooth, noise = points[:, :1], random(400, 1, seed=5)
    got_smooth, got_noise = diffused(graph, smooth, 1.0), diffused(graph, noise, 1.0)
    assert float(got_smooth.norm() / smooth.norm()) > 0.7
    assert float(got_noise.norm() / noise.norm()) < 0.4


def test_gradient() -> None:
    graph = neighbour_graph(random(6, 3), 3)
    confidence = random(6, seed=4).square()
    values, strength = random(6, 2, seed=1).requires_grad_(True), torch.tensor(0.7, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda v, a: diffused(graph, v, a, confidence), (values, strength.requires_grad_(True)), atol=1e-4
    )


def test_few_and_coinciding_points() -> None:
    for n in (0, 1):
        graph = neighbour_graph(torch.zeros(n, 3), 5)
        assert graph.edges.shape == (2, 0)
        assert diffused(graph, torch.ones(n, 4), 2.0).shape == (n, 4)
    assert neighbour_graph(random(3, 3), 5).edges.tolist() == [[0, 0, 1], [1, 2, 2]]
    same = neighbour_graph(torch.ones(9, 3), 3)
    assert bool(torch.isfinite(same.weights).all()) and bool((same.edges[0] < same.edges[1]).all())


def test_values_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        diffused(Graph(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0), 4), torch.zeros(3, 2), 1.0)
