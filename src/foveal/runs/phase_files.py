"""What each phase of a training keeps in its file, as far as others rely on it."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, InstanceOf, Strict
from torch import Tensor
from typing_extensions import TypedDict

_Number = Annotated[float, Strict()]  # what is read is taken as it is: no number in words


class _Mixture(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    windows: _Number
    view: _Number


class _GlobalHead(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    accuracy: _Number
    balanced_accuracy: _Number
    weight: InstanceOf[Tensor]
    bias: InstanceOf[Tensor]
    validation: InstanceOf[Tensor]


class _Baseline(TypedDict):
    accuracy: _Number
    balanced_accuracy: _Number


class _Windows(TypedDict):
    summary: str
    trusted: bool
    nothing: int | None
    train: list[InstanceOf[Tensor]]
    validation: list[InstanceOf[Tensor]]


class _Found(TypedDict):
    patch: tuple[int, int]
    complete: bool
    tensors: dict[str, InstanceOf[Tensor]]
    findings: list[dict[str, Any]]
    exemplars: list[dict[str, Any]]


class _Proposals(TypedDict):
    found: _Found
    windows: _Windows


class _Pooling(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    surest: _Number
    together: _Number


class _Taught(TypedDict):
    model: dict[str, InstanceOf[Tensor]]


class _Thresholds(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    classes: dict[str, Annotated[_Number, Field(ge=0, le=1, allow_inf_nan=False)]]
    images: Annotated[int, Strict(), Field(ge=0)]


KINDS: dict[str, Any] = {
    "baseline": _Baseline,
    "global_head": _GlobalHead,
    "mixture": _Mixture,
    "pooling": _Pooling,
    "proposals": _Proposals,
    "reranked": _Windows,
    "taught": _Taught,
    "thresholds": _Thresholds,
    "times": dict[str, _Number],
}
