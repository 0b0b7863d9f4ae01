"""Choice of the device, with and without graphics cards, and the memory it has."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core import device as module
from DeepRegistrationLib.core.device import available_memory, choose_device
from DeepRegistrationLib.core.errors import InputError


@pytest.fixture
def computer(monkeypatch):
    def with_devices(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return with_devices


def test_auto_takes_the_fastest(computer):
    for cuda, mps, expected in ((0, False, "cpu"), (2, True, "cuda:0"), (0, True, "mps")):
        computer(cuda, mps)
        assert str(choose_device("auto")) == expected


def test_named_devices(computer):
    computer(cuda=2)
    assert [str(choose_device(n)) for n in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    "cuda, name, words",
    [
        (0, "cuda:0", ["'cuda:0'", "no CUDA device", "give cpu or auto"]),
        (1, "cuda:3", ["'cuda:3'", "1 CUDA device"]),
        (0, "mps", ["'mps'"]),
        (0, "gpu", ["'gpu'", "auto, cpu, cuda:0 or mps"]),
        (0, "meta", ["'meta'", "not supported"]),
        (0, "", ["''"]),
    ],
)
def test_a_device_that_is_not_there(computer, cuda, name, words):
    computer(cuda)
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert all(word in str(caught.value) for word in words), caught.value


def test_memory_is_bounded_by_a_container(monkeypatch):
    monkeypatch.setattr(module, "_linux_available", lambda: 8 << 30)
    limits = {"memory.max": 3 << 30, "memory.current": 1 << 30}
    monkeypatch.setattr(module, "_cgroup", limits.get)
    assert available_memory(torch.device("cpu")) == 2 << 30
    monkeypatch.setattr(module, "_cgroup", lambda name: None)
    assert available_memory(torch.device("cpu")) == 8 << 30


def test_this_computer_has_memory():
    assert available_memory(torch.device("cpu")) > 1 << 20
