"""The similarity of all shifts by Fourier transforms is the sum over voxels, shift by shift."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.fft_ngf import ShiftWindow, cross_similarity, edge_features, mean_similarity, spectrum
from DeepRegistrationLib.ops.ngf import normalised_gradient


def made(shape: tuple[int, ...], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient field (d, 1, ...) and weight (1, ...) in 0..1 with holes, float64."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, *shape, generator=generator, dtype=torch.float64)
    weight = torch.rand(1, *shape, generator=generator, dtype=torch.float64)
    weight = torch.where(weight < 0.3, torch.zeros_like(weight), weight)
    return normalised_gradient(image, (1.0, 1.3, 0.8)[: len(shape)], 0.1), weight


def brute_force(
    a: torch.Tensor, wa: torch.Tensor, b: torch.Tensor, wb: torch.Tensor, shift: tuple[int, ...], squared: bool
) -> tuple[float, float]:
    """The two sums at one shift ([z,] y, x), from the definition."""
    total = overlap = 0.0
    for at in np.ndindex(*wa.shape[1:]):
        there = tuple(i + s for i, s in zip(at, shift, strict=True))
        if all(0 <= i < n for i, n in zip(there, wb.shape[1:], strict=True)):
            w = float(wa[(0, *at)] * wb[(0, *there)])
            inner = float((a[(slice(None), 0, *at)] * b[(slice(None), 0, *there)]).sum())
            total += w * (inner * inner if squared else inner)
            overlap += w
    return total, overlap


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(("fixed", "moving"), [((4, 5, 3), (3, 4, 5)), ((6, 5), (4, 9))])
def test_every_shift_is_the_sum_over_voxels(
    fixed: tuple[int, ...], moving: tuple[int, ...], squared: bool
) -> None:
    (a, wa), (b, wb) = made(fixed, 1), made(moving, 2)
    window = ShiftWindow.of(fixed, moving)
    total, overlap = cross_similarity(
        spectrum(edge_features(a, squared), wa, window), spectrum(edge_features(b, squared), wb, window), window
    )
    shifts = list(itertools.product(*(range(1 - n, m) for n, m in zip(fixed, moving, strict=True))))
    assert int(window.allowed().sum()) == len(shifts)
    for shift in shifts:
        at = (0, *(s % n for s, n in zip(shift, window.shape, strict=True)))
        expected = brute_force(a, wa, b, wb, shift, squared)
        assert (float(total[at]), float(overlap[at])) == pytest.approx(expected, abs=1e-6)


def test_a_narrower_window_gives_the_same_numbers_where_it_allows() -> None:
    (a, wa), (b, wb) = made((8, 7, 9), 3), made((7, 9, 6), 4)
    results = []
    for least in (0.0, 0.5):
        window = ShiftWindow.of((8, 7, 9), (7, 9, 6), least)
        spectra = spectrum(edge_features(a), wa, window), spectrum(edge_features(b), wb, window)
        results.append((window, *cross_similarity(*spectra, window)))
    (wide, *wide_numbers), (narrow, *narrow_numbers) = results
    assert np.prod(narrow.shape) < np.prod(wide.shape)
    allowed = narrow.allowed().flatten().nonzero()[:, 0].tolist()
    assert allowed
    for flat in allowed:
        shift = narrow.shift(flat)[::-1]
        assert all(lo <= s <= hi for lo, s, hi in zip(narrow.low, shift, narrow.high, strict=True))
        at = (0, *(int(s) % n for s, n in zip(shift, wide.shape, strict=True)))
        for mine, theirs in zip(narrow_numbers, wide_numbers, strict=True):
            assert float(mine.flatten()[flat]) == pytest.approx(float(theirs[at]), abs=1e-9)


def test_several_moving_fields_at_once() -> None:
    (a, wa), (b, wb), (c, wc) = made((6, 5, 7), 5), made((5, 5, 5), 6), made((5, 5, 5), 7)
    window = ShiftWindow.of((6, 5, 7), (5, 5, 5))
    fixed = spectrum(edge_features(a), wa, window)
    both = spectrum(torch.cat([edge_features(b), edge_features(c)], dim=1), torch.cat([wb, wc]), window)
    together = cross_similarity(fixed, both, window)
    for k, (field, weight) in enumerate(((b, wb), (c, wc))):
        alone = cross_similarity(fixed, spectrum(edge_features(field), weight, window), window)
        for mine, theirs in zip(together, alone, strict=True):
            assert torch.allclose(mine[k], theirs[0], atol=1e-9)


def test_the_planted_shift_is_the_best_whatever_the_contrast() -> None:
    (a, _), _ = made((16, 14, 15), 8), None
    one = torch.ones(1, 10, 9, 11, dtype=torch.float64)
    whole = torch.ones(1, 16, 14, 15, dtype=torch.float64)
    piece = -a[:, :, 3:13, 4:13, 2:13]
    window = ShiftWindow.of((16, 14, 15), (10, 9, 11), 0.6)
    for squared, finds in ((True, True), (False, False)):
        numbers = cross_similarity(
            spectrum(edge_features(a, squared), whole, window), spectrum(edge_features(piece, squared), one, window),
            window,
        )  # fmt: skip
        score = mean_similarity(*numbers, window.allowed(), 0.6 * one.sum())
        best = window.shift(int(score.argmax()))
        assert (best.tolist() == [-2, -4, -3]) is finds


def test_too_little_overlap_never_wins() -> None:
    (a, wa), (b, wb) = made((8, 8), 9), made((8, 8), 10)
    window = ShiftWindow.of((8, 8), (8, 8), 0.0)
    total, overlap = cross_similarity(
        spectrum(edge_features(a), wa, window), spectrum(edge_features(b), wb, window), window
    )
    least = 0.5 * float(overlap[0].max())
    score = mean_similarity(total, overlap, window.allowed(), least)
    assert bool(torch.isfinite(score).any())
    assert bool((overlap[torch.isfinite(score)] >= least).all())
    assert not bool(torch.isfinite(mean_similarity(total, overlap, window.allowed(), 1e6)).any())
