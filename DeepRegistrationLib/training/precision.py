"""Half precision where the device gains from it: in the network only, while it learns. Losses see single precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn


def half_type(device: torch.device, precision: str) -> torch.dtype | None:
    """The number type of the network's inner work; None: single precision.

    precision  "auto": on CUDA devices, those of today having bfloat16, which keeps the range of numbers, and those
               before float16; "half": also on the processor, in bfloat16: some have instructions for it and are twice
               as fast or more, the others are slower; "full": nowhere
    """
    if precision == "half" and device.type == "cpu":
        return torch.bfloat16
    if precision == "full" or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def scaler_for(dtype: torch.dtype | None) -> torch.amp.GradScaler:
    """Keeps small gradients from vanishing in float16; does nothing for other types."""
    return torch.amp.GradScaler("cuda", enabled=dtype is torch.float16)


def learn_in(network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
    """Makes `network(...)` work in `dtype` while the network is in training mode; what it gives is float32.

    So do the methods whose names the network has in `learns_through`: those that losses call instead.
    """
    if dtype is None:
        return
    for name in ("forward", *getattr(network, "learns_through", ())):
        setattr(network, name, _narrowed(getattr(network, name), network, device, dtype))


def _narrowed(
    work: Callable[..., Any], network: nn.Module, device: torch.device, dtype: torch.dtype
) -> Callable[..., Any]:
    def narrowed(*args: Any, **kwargs: Any) -> Any:
        if not network.training:
            return work(*args, **kwargs)
        with torch.autocast(device.type, dtype):
            result = work(*args, **kwargs)
        return widened(result)

    return narrowed


def widened(value: Any) -> Any:
    """The same with every half-precision tensor in it as float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: widened(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, Mapping):
        return {k: widened(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(widened(v) for v in value)
    return value
