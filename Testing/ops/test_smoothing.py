"""Gaussian smoothing against moments and a direct sum."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import correlate1d

from DeepRegistrationLib.ops.smoothing import gaussian_kernel, gaussian_smooth


def test_kernel_has_unit_sum_and_the_asked_variance() -> None:
    k = gaussian_kernel(2.0, torch.float64)
    i = torch.arange(len(k), dtype=torch.float64) - len(k) // 2
    assert float(k.sum()) == pytest.approx(1.0)
    assert float((k * i * i).sum()) == pytest.approx(4.0, rel=0.03)  # cut at three sigma
    assert gaussian_kernel(0.0).tolist() == [1.0]


def test_separable_sum_on_axes_in_the_order_x_y_z() -> None:
    point = torch.zeros(1, 9, 11, 13, dtype=torch.float64)
    point[0, 4, 5, 6] = 1.0
    out = gaussian_smooth(point, (1.0, 0.5, 0.0))
    kx, ky = gaussian_kernel(1.0, torch.float64), gaussian_kernel(0.5, torch.float64)
    expected = ky[:, None] * kx[None, :]
    assert torch.allclose(out[0, 4, 3:8, 3:10], expected)
    assert float(out[0, 3].abs().max()) == 0.0


def test_constants_stay() -> None:
    assert torch.allclose(gaussian_smooth(torch.full((2, 5, 6), 3.0), 2.0), torch.tensor(3.0))


@pytest.mark.parametrize("shape", [(3, 9, 14, 11), (2, 20, 17), (3, 7, 1, 5)])
def test_it_is_scipys_sum_with_the_edge_held_outside(shape: tuple[int, ...]) -> None:
    data = torch.rand(shape, generator=torch.Generator().manual_seed(5))
    kept, expected = data.clone(), data.numpy()
    sigma = (1.0, 0.0, 2.3)[: len(shape) - 1]
    for k, s in enumerate(sigma):
        expected = correlate1d(expected, gaussian_kernel(s).numpy(), axis=-1 - k, mode="nearest")
    torch.testing.assert_close(gaussian_smooth(data, sigma), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert torch.equal(data, kept)


def test_gradient() -> None:
    data = torch.rand(2, 5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gaussian_smooth(x, (0.7, 1.2, 0.4)), (data,))
