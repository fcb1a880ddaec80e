"""What each phase of a training keeps in its file, as far as others rely on it."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, InstanceOf
from torch import Tensor
from typing_extensions import TypedDict


class _Mixture(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    windows: float
    view: float


class _GlobalHead(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    accuracy: float
    balanced_accuracy: float
    weight: InstanceOf[Tensor]
    bias: InstanceOf[Tensor]
    validation: InstanceOf[Tensor]


class _Baseline(TypedDict):
    accuracy: float
    balanced_accuracy: float


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


class _Taught(TypedDict):
    model: dict[str, InstanceOf[Tensor]]


class _Thresholds(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    classes: dict[str, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]]
    images: Annotated[int, Field(ge=0)]


KINDS: dict[str, Any] = {
    "baseline": _Baseline,
    "global_head": _GlobalHead,
    "mixture": _Mixture,
    "proposals": _Proposals,
    "reranked": _Windows,
    "taught": _Taught,
    "thresholds": _Thresholds,
    "times": dict[str, float],
}
