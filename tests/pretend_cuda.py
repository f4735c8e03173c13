"""A CUDA device made of CPU memory: finds tensors on the wrong device where no GPU is at hand.

Tensors "on" it are a subclass that answers `device` with cuda and refuses what a real one refuses:
operands of another device, NumPy without `.cpu()`. The arithmetic is the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

CUDA = torch.device("cuda", 0)
_PROPERTIES = SimpleNamespace(total_memory=2**32)
_CPU = torch.device("cpu")


class PretendTensor(torch.Tensor):
    """A tensor of the pretended device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what `_call` does, whichever operand asked.

        Returns
        -------
        Any
        """
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """Catches functions that make tensors on the pretended device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _call(func, args, kwargs or {})


@contextmanager
def pretend_cuda() -> Iterator[None]:
    """Let torch have one CUDA device inside the block.

    Yields
    ------
    None
    """
    with (
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch("torch.cuda.synchronize"),
        mock.patch("torch.cuda.get_device_properties", return_value=_PROPERTIES),
        _Factories(),
    ):
        yield


def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = getattr(func, "__name__", "")
    if func == torch.Tensor.device.__get__ and isinstance(args[0], PretendTensor):
        return CUDA
    if func == torch.Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
        return isinstance(args[0], PretendTensor)
    if name == "cpu":
        return _plain(args[0])
    if name in {"numpy", "__array__"} and isinstance(args[0], PretendTensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first.")
    target, args, kwargs = _target(name, args, kwargs)
    tensors = list(_tensors((args, kwargs)))
    on_device = [t for t in tensors if isinstance(t, PretendTensor)]
    if target is None and on_device:
        _check(name, tensors)
        target = CUDA
    out = func(*_map(args, _plain), **_map(kwargs, _plain))
    if target != CUDA:
        return out
    return args[0] if _is_in_place(args, out) else _map(out, _wrap)


def _target(name: str, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Where the result of a function that names a device goes; the call without that device."""
    kwargs, target = dict(kwargs), None
    if kwargs.get("device") is not None:
        target = torch.device(kwargs["device"])
        kwargs["device"] = _CPU
    if name == "to":
        args = list(args)
        for index, value in enumerate(args[1:], start=1):
            if isinstance(value, torch.device | str):
                target, args[index] = torch.device(value), _CPU
            elif isinstance(value, torch.Tensor):
                target, args[index] = value.device, _plain(value)
    if target is not None and target.type == "cuda":
        target = CUDA
    return target, args, kwargs


def _check(name: str, tensors: list[torch.Tensor]) -> None:
    """Refuse operands of two devices; numbers, indices and copies between devices may be mixed."""
    if name in {"copy_", "__getitem__", "__setitem__"}:
        return
    if any(not isinstance(t, PretendTensor) and t.dim() for t in tensors):
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu"
        )


def _is_in_place(args: Any, out: Any) -> bool:
    """Whether a method gave back its operand."""
    first = args[0] if args else None
    if not (isinstance(first, PretendTensor) and isinstance(out, torch.Tensor)):
        return False
    return (first.data_ptr(), first.shape, first.stride(), first.dtype) == (
        out.data_ptr(),
        out.shape,
        out.stride(),
        out.dtype,
    )


def _plain(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, PretendTensor) else value


def _wrap(value: Any) -> Any:
    return value.as_subclass(PretendTensor) if type(value) is torch.Tensor else value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(item, function) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_map(item, function) for item in value)
    if isinstance(value, dict):
        return {key: _map(item, function) for key, item in value.items()}
    return value
