"""A device that every machine has: tensors that claim to be elsewhere and compute on the CPU.

It is as strict as an accelerator. Tensors of two devices do not meet in one operation, apart from
numbers and CPU indices; their memory has no address; and float64 may be missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

exact = import_module("foveal.topk.exact")

DEVICE = torch.device("meta")

_aten = torch.ops.aten
_MOVES = (_aten._to_copy.default, _aten.copy_.default)
_TO_NUMBERS = (_aten._local_scalar_dense.default, _aten.equal.default)
_INDEXED = (_aten.index.Tensor, _aten.index_put_.default, _aten._index_put_impl_.default)


class Elsewhere(Tensor):
    """A tensor on the pretended device, whose values lie in `inner`."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        wrapper: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of the pretended machine")


_tensor, _tolist = torch.tensor, Tensor.tolist


def _from_numbers(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    value = _tensor(*args, **kwargs)
    return value if device is None else value.to(device)


def _like_from_numbers(like: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _from_numbers(*args, **({"dtype": like.dtype, "device": like.device} | kwargs))


@contextmanager
def machine(*, float64: bool = True) -> Iterator[list[str]]:
    """While active, `DEVICE` holds values; float64: whether it has that type.

    Yields the operations for which the host waited: results that came to the CPU, and results whose
    size depends on values.
    """
    mode = _Mode(float64)
    with pytest.MonkeyPatch.context() as patch, mode:
        # numbers come and go by way of the CPU
        patch.setattr(torch, "tensor", _from_numbers)
        patch.setattr(Tensor, "new_tensor", _like_from_numbers)
        patch.setattr(Tensor, "tolist", lambda tensor: _tolist(tensor.detach().cpu()))
        yield mode.waits


class _Mode(TorchDispatchMode):
    def __init__(self, float64: bool) -> None:
        super().__init__()
        self.float64, self.waits = float64, list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func.namespace == "foveal":  # its implementation, on this machine
            with self:
                return _implementation(func)(*args)
        _check_devices(func, args, kwargs)
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = any(isinstance(each, Elsewhere) for each in inputs)
        if kwargs.get("device") is not None:
            there = torch.device(kwargs["device"]) == DEVICE
            kwargs["device"] = torch.device("cpu")
        wrappers = {id(each.inner): each for each in inputs if isinstance(each, Elsewhere)}
        args, kwargs = tree_map_only(Elsewhere, lambda each: each.inner, (args, kwargs))
        result = func(*args, **kwargs)
        if wrappers and (not there or func in _TO_NUMBERS or _counts_values(func, args)):
            self.waits.append(str(func))
        if not there or (func == _aten.copy_.default and id(result) not in wrappers):
            return result
        return tree_map_only(Tensor, lambda each: self._wrap(each, wrappers), result)

    def _wrap(self, inner: Tensor, wrappers: Mapping[int, Elsewhere]) -> Elsewhere:
        if id(inner) in wrappers:  # an operation in place
            return wrappers[id(inner)]
        if inner.dtype == torch.float64 and not self.float64:
            raise TypeError(f"{DEVICE} has no float64")
        return Elsewhere(inner)


def _counts_values(func: Any, args: Sequence[Any]) -> bool:
    """Whether the size of a result depends on values: an index that is a mask, for instance."""
    if func in (_aten.nonzero.default, _aten.masked_select.default, _aten._unique2.default):
        return True
    masks = [each for each in tree_leaves(args[1:2]) if isinstance(each, Tensor)]
    return func == _aten.index.Tensor and any(mask.dtype == torch.bool for mask in masks)


def _implementation(func: Any) -> Any:
    operators = {"exact_topk": exact._topk, "exact_topk_gradient": exact._gradient}
    return operators[func._schema.name.removeprefix("foveal::")]._init_fn


def _check_devices(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    here = [each for each in tensors if not isinstance(each, Elsewhere) and each.ndim]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    if not here or not there or func in _MOVES:
        return
    if func in _INDEXED and isinstance(args[0], Elsewhere):
        return
    raise RuntimeError(f"{func}: expected all tensors on one device, got cpu and {DEVICE}")
