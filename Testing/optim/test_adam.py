"""Our Adam beside torch's."""

from __future__ import annotations

import torch

from DeepRegistrationLib.optim.adam import Adam


def test_same_path_as_torch() -> None:
    start = torch.randn(40, generator=torch.Generator().manual_seed(0))
    theirs = start.clone().requires_grad_()
    torch_adam = torch.optim.Adam([theirs], lr=1.0, betas=(0.9, 0.99))
    ours = start.clone()
    adam = Adam(ours)
    for i in range(30):
        length = 0.3 / (i + 1)
        torch_adam.param_groups[0]["lr"] = length
        torch_adam.zero_grad()
        ((theirs - 1) ** 4).sum().backward()
        torch_adam.step()
        adam.step(4 * (ours - 1) ** 3, length)
        assert torch.allclose(ours, theirs.detach(), atol=1e-5)
    assert float((ours - start).abs().max()) > 0.5


def test_first_step_has_the_length_asked_for_whatever_the_gradient() -> None:
    numbers = torch.zeros(3)
    Adam(numbers).step(torch.tensor([1e-3, -5.0, 0.0]), 0.25)
    assert torch.allclose(numbers, torch.tensor([-0.25, 0.25, 0.0]), atol=1e-4)
