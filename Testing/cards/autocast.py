"""What `torch.autocast` does on a card, done to tensors of a pretended one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

#: the functions that autocast narrows, those it widens, and those that get the widest type of what they are given
_NARROWED = {
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "einsum", "mm",
    "matmul", "__matmul__", "__rmatmul__", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm",
}  # fmt: skip
_WIDENED = {
    "acos", "asin", "cosh", "sinh", "tan", "exp", "expm1", "log", "log10", "log1p", "log2", "pow", "__pow__", "rsqrt",
    "reciprocal", "sum", "prod", "cumsum", "cumprod", "norm", "dist", "cdist", "softmax", "log_softmax", "softplus",
    "layer_norm", "group_norm", "cosine_similarity", "mse_loss", "l1_loss", "smooth_l1_loss", "renorm",
}  # fmt: skip
_WIDEST = {"grid_sample", "grid_sampler", "addcmul", "addcdiv", "cross", "dot", "scatter_add", "tensordot"}
_CAST = _NARROWED | _WIDENED | _WIDEST


class Casting(TorchFunctionMode):
    """As long as it is entered, tensors of class `kind` are cast as autocast for devices of type `device` has it."""

    def __init__(self, kind: type[torch.Tensor], device: str) -> None:
        super().__init__()
        self.kind, self.device = kind, device
        #: what each autocast that is entered narrows to; None: nothing
        self.entered: list[torch.dtype | None] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        narrow, name = self.entered[-1] if self.entered else None, getattr(func, "__name__", "")
        if narrow is None or name not in _CAST:
            return func(*args, **kwargs)
        found = {t.dtype for t in tensors_in((*args, *kwargs.values())) if isinstance(t, self.kind)}
        if not found & {narrow, torch.float32} or torch.float64 in found:
            return func(*args, **kwargs)
        narrowed = name in _NARROWED or (name in _WIDEST and torch.float32 not in found)
        dtype = narrow if narrowed else torch.float32
        return func(*cast(args, dtype, self.kind), **cast(kwargs, dtype, self.kind))

    def noticed(self, enter: Callable[..., Any], leave: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
        """`torch.autocast`'s way in and way out, told to this mode."""

        def entered(autocast: torch.autocast) -> Any:
            if autocast.device == self.device:
                self.entered.append(autocast.fast_dtype if autocast._enabled else None)
            return enter(autocast)

        def left(autocast: torch.autocast, *args: Any) -> Any:
            if autocast.device == self.device:
                self.entered.pop()
            return leave(autocast, *args)

        return entered, left


def cast(
    value: Any, dtype: torch.dtype, kind: type[torch.Tensor] = torch.Tensor, only: torch.dtype | None = None
) -> Any:
    """The value with every tensor in it of class `kind` as `dtype`: of those with fractions, or of the type `only`."""
    if isinstance(value, Mapping):
        return {k: cast(v, dtype, kind, only) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(cast(v, dtype, kind, only) for v in value)
    if not isinstance(value, kind) or not value.is_floating_point() or only not in (None, value.dtype):
        return value
    return value.to(dtype)


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """All tensors in the values and in lists and tuples among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)
