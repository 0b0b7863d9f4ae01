"""Tensors that say they lie on a card, and what torch does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .autocast import Casting, cast, tensors_in

#: what the card says to have free, bytes
MEMORY = 8 * 1024**3

#: where its tensors lie for torch: it asks nothing of this device, whatever it was built for, and nobody else uses it
_PLACE = torch.device("meta")
_HOST = torch.device("cpu")
_aten = torch.ops.aten
#: operations that carry numbers from one device to another
_CARRYING = {_aten.copy_.default, _aten._to_copy.default, _aten.copy.default}
#: operations on argument 0 whose indices, argument 1, may lie on the processor
_INDEXING = {
    _aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default,
    _aten._unsafe_index.Tensor, _aten._unsafe_index_put.default,
}  # fmt: skip
#: operations besides pointwise ones that take a number of the processor
_WITH_NUMBERS = {_aten.masked_fill.Tensor, _aten.masked_fill_.Tensor, _aten.fill_.Tensor, _aten.fill.Tensor} | _INDEXING
#: operations that sum half precision in single precision
_SUMMING = {
    _aten.convolution.default, _aten.convolution_backward.default, _aten.mm.default, _aten.bmm.default,
    _aten.addmm.default, _aten.baddbmm.default,
}  # fmt: skip
_HALVES = (torch.float16, torch.bfloat16)


class OnCard(torch.Tensor):
    """A tensor of the pretended card; `held` has its numbers."""

    #: set by `pretended`
    device: torch.device = _PLACE  # type: ignore[assignment]
    held: torch.Tensor
    is_cpu, is_meta = False, False
    is_cuda = property(lambda self: self.device.type == "cuda")  # type: ignore[assignment]
    is_mps = property(lambda self: self.device.type == "mps")  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnCard:
        if cls.device.type == "mps" and held.dtype in (torch.float64, torch.complex128):
            raise TypeError("Cannot convert a MPS Tensor to float64, which the MPS framework doesn't support.")
        self: OnCard = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=_PLACE,
        )
        self.held = held
        return self

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnCard({self.held!r})"

    # what makes tensors where this one truly lies, or does not ask

    def tolist(self) -> Any:
        return self.held.tolist()

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, **kwargs: Any) -> torch.Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=kwargs.pop("device", self.device), **kwargs)

    def __getitem__(self, index: Any) -> torch.Tensor:
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(index), value)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return _run(func, args, kwargs or {})


class _Intercepting(TorchDispatchMode):
    """Sees also what makes tensors, and what brings one to the card."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = list(tensors_in((*args, *kwargs.values())))
    own = {id(t.held): t for t in tensors if isinstance(t, OnCard)}
    asked = kwargs.get("device")
    if not own and asked is None:
        return func(*args, **kwargs)
    if asked is not None:
        on_card = asked.type in (OnCard.device.type, _PLACE.type)
    else:
        on_card = func is not _aten.copy_.default or isinstance(args[0], OnCard)
    assert not any(t.is_meta for t in tensors), f"a tensor was made where none can have numbers ({func})"
    if own and func not in _CARRYING:
        _check(func, args, tensors)
    if on_card and kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a {OnCard.device.type!r} device type for generator but found 'cpu' ({func})")
    here = [_held(a) for a in args]
    said = {k: _held(v) for k, v in kwargs.items() if k not in ("device", "pin_memory")}
    if asked is not None:
        said["device"] = _HOST
    try:
        result = _summed(func, here, said) if func in _SUMMING else func(*here, **said)
    except NotImplementedError:  # the processor doesn't compute everything in half precision
        result = _summed(func, here, said)
    if func is _aten._to_copy.default and result is here[0]:
        result = result.clone()  # to another device is a copy, also where both are the processor

    def placed(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(map(placed, value))
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in own:
            return own[id(value)]
        return OnCard(value) if on_card and not any(value is t for t in tensors) else value

    return placed(result)


def _check(func: Any, args: Sequence[Any], tensors: Sequence[torch.Tensor]) -> None:
    strangers = [t for t in tensors if not isinstance(t, OnCard)]
    if func in _INDEXING and isinstance(args[0], OnCard):
        indices = [t for t in args[1] if t is not None]
        strangers = [t for t in strangers if not any(t is i for i in indices)]
    if torch.Tag.pointwise in func.tags or func in _WITH_NUMBERS:
        strangers = [t for t in strangers if t.dim() > 0]
    if strangers:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {OnCard.device} and cpu! "
            f"({func}, {[(tuple(t.shape), t.device.type) for t in tensors]})"
        )


def _held(value: Any) -> Any:
    """What the processor computes with."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_held, value))
    return value.held if isinstance(value, OnCard) else value


def _summed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Half precision as a card multiplies it: summed in single precision, which is also faster here."""
    narrow = next((t.dtype for t in tensors_in(args) if t.dtype in _HALVES), None)
    if narrow is None:
        return func(*args, **kwargs)
    wide = torch.float32
    return cast(func(*cast(args, wide, only=narrow), **cast(kwargs, wide, only=narrow)), narrow, only=wide)


def _with_tensors(index: Any) -> Any:
    """An index without lists."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    return torch.tensor(index, dtype=None if index else torch.long) if isinstance(index, list) else index


@contextmanager
def pretended(kind: str) -> Iterator[torch.device]:
    """The card, which torch has as long as the block lasts. kind  "cuda" or "mps" """
    card = torch.device(kind, 0)
    casting = Casting(OnCard, kind)
    enter, leave = casting.noticed(torch.autocast.__enter__, torch.autocast.__exit__)
    changes: list[tuple[Any, str, Any]] = [
        (OnCard, "device", card),
        # these make tensors without asking who intercepts
        (torch, "tensor", _carried(torch.tensor)),
        (torch, "as_tensor", _carried(torch.as_tensor)),
        (torch.autocast, "__enter__", enter),
        (torch.autocast, "__exit__", leave),
        *(_of_cuda() if kind == "cuda" else _of_mps()),
    ]
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for place, name, change in changes:
            stack.enter_context(mock.patch.object(place, name, change))
        # the numbers of a parameter can't change their class
        future.set_overwrite_module_params_on_conversion(True)
        stack.callback(future.set_overwrite_module_params_on_conversion, before)
        stack.enter_context(casting)
        stack.enter_context(_Intercepting())
        yield card


def _of_cuda() -> list[tuple[Any, str, Any]]:
    cuda = torch.cuda
    return [
        (cuda, "is_available", lambda: True),
        (cuda, "device_count", lambda: 1),
        (cuda, "current_device", lambda: 0),
        (cuda, "_lazy_init", lambda: None),
        (cuda, "is_bf16_supported", lambda including_emulation=True: True),
        (cuda, "mem_get_info", lambda device=None: (MEMORY, MEMORY)),
        (cuda, "reset_peak_memory_stats", lambda device=None: None),
        (cuda, "max_memory_allocated", lambda device=None: 0),
        (cuda, "empty_cache", lambda: None),
        (cuda, "synchronize", lambda device=None: None),
        (cuda, "get_rng_state", lambda device=None: torch.zeros(16, dtype=torch.uint8)),
        (cuda, "set_rng_state", lambda state, device=None: None),
    ]


def _of_mps() -> list[tuple[Any, str, Any]]:
    return [(torch.backends.mps, "is_available", lambda: True), (torch.mps, "empty_cache", lambda: None)]


def _carried(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(data: Any, *, device: Any = None, dtype: torch.dtype | None = None, **kwargs: Any) -> torch.Tensor:
        here = make(data, dtype=dtype, **kwargs)
        return here if device is None else here.to(device)

    return made
