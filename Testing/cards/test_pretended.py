"""The pretended card: computes as the processor does, and refuses what a real one refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cards import pretended


@pytest.fixture
def pretended_cuda():
    with pretended("cuda") as device:
        yield device


def test_its_tensors_say_where_they_lie(pretended_cuda: torch.device) -> None:
    here = torch.arange(6.0).reshape(2, 3)
    there = here.to(pretended_cuda)
    made = [
        there, there + 1, there[0], there.new_zeros(2), there.new_tensor([1.0]), torch.zeros_like(there),
        torch.ones(2, device=pretended_cuda), torch.tensor([1.0], device=pretended_cuda), *there.split(1),
    ]  # fmt: skip
    for tensor in made:
        assert tensor.device == pretended_cuda and tensor.is_cuda and not tensor.is_cpu
    assert there.cpu().device.type == "cpu" and torch.equal(there.cpu(), here)
    assert there.tolist() == here.tolist() and float(there.sum()) == 15.0


def test_what_was_brought_to_it_is_a_copy(pretended_cuda: torch.device) -> None:
    here = torch.zeros(3)
    there = here.to(pretended_cuda)
    there += 1
    back = there.cpu()
    there[[0, 2]] = 5
    assert here.tolist() == [0, 0, 0] and back.tolist() == [1, 1, 1] and there.tolist() == [5, 1, 5]


def test_it_computes_in_place_and_through_views(pretended_cuda: torch.device) -> None:
    there = torch.zeros(3, 4, device=pretended_cuda)
    row = there[1]
    row.fill_(2.0)
    there[there > 1] += torch.ones(4, device=pretended_cuda)
    there[:, torch.tensor([0, 3])] = torch.tensor(7.0)
    assert there.tolist() == [[7, 0, 0, 7], [7, 3, 3, 7], [7, 0, 0, 7]]
    there.copy_(torch.arange(12.0).reshape(3, 4))
    assert row.tolist() == [4, 5, 6, 7]


def test_two_devices_do_not_mix(pretended_cuda: torch.device) -> None:
    here, there = torch.ones(3), torch.ones(3, device=pretended_cuda)
    for mixing in (
        lambda: there + here,
        lambda: torch.cat([there, here]),
        lambda: torch.stack([there.sum(), here.sum()]),
        lambda: there.reshape(1, 3) @ here.reshape(3, 1),
        lambda: there.scatter_add_(0, torch.tensor([0]), there[:1]),
        lambda: here[torch.zeros(2, dtype=torch.long, device=pretended_cuda)],
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mixing()
    assert (there + torch.tensor(2.0)).tolist() == [3, 3, 3]


def test_it_is_no_array_and_has_random_numbers_of_its_own(pretended_cuda: torch.device) -> None:
    there = torch.ones(3, device=pretended_cuda)
    for reading in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises((RuntimeError, TypeError)):
            reading()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=torch.Generator().manual_seed(0), device=pretended_cuda)
    assert torch.rand(3, device=pretended_cuda).device == pretended_cuda


def test_a_network_learns_on_it_as_on_the_processor(pretended_cuda: torch.device) -> None:
    images = torch.rand(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(1))

    def learned(device: torch.device) -> list[float]:
        torch.manual_seed(2)
        network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.ReLU(), nn.Conv3d(4, 1, 3))
        network.to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
        losses = []
        for _ in range(4):
            loss = network(images.to(device)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
        return losses

    assert learned(pretended_cuda) == learned(torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_narrows_convolutions_and_widens_sums(pretended_cuda: torch.device, dtype: torch.dtype) -> None:
    layer = nn.Conv2d(1, 2, 3).to(pretended_cuda)
    image = torch.rand(1, 1, 8, 8, device=pretended_cuda)
    with torch.autocast("cuda", dtype):
        features = layer(image)
        assert features.dtype == torch.relu(features).dtype == dtype
        assert features.sum().dtype == features.softmax(1).dtype == torch.float32
        with torch.autocast("cuda", enabled=False):
            assert layer(image).dtype == torch.float32
        features.float().square().mean().backward()
    assert layer(image).dtype == torch.float32
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
    exact, rounded = layer(image).detach().cpu(), features.detach().cpu().float()
    assert 0 < float((exact - rounded).abs().max()) < 0.02


def test_apples_device_has_no_doubles() -> None:
    with pretended("mps") as device:
        assert torch.ones(2, device=device).is_mps
        for wide in (lambda: torch.ones(2, device=device).double(), lambda: torch.ones(2).double().to(device)):
            with pytest.raises(TypeError, match="float64"):
                wide()
        assert torch.ones(2, device=device).cpu().double().dtype == torch.float64


def test_nothing_is_left_of_it() -> None:
    tensor, there = torch.tensor, torch.cuda.is_available()
    with pretended("cuda"):
        assert torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 0
    assert torch.cuda.is_available() is there and torch.tensor is tensor
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
