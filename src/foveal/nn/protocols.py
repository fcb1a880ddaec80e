"""Protocols of the parts of a model; any object that fits can be used."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from foveal.topk import Selection


@runtime_checkable
class Scorer(Protocol):
    """View (B, C, h, w) -> scores (B, rows, columns).

    Cell (i, j) is centred on the point (offset + stride i, offset + stride j) of the view, in
    pixels from its top left corner.
    """

    stride: int
    offset: float

    def __call__(self, view: Tensor) -> Tensor:
        """Score every cell."""


@runtime_checkable
class Selector(Protocol):
    """Normalised scores (B, N) -> a selection of k of them."""

    k: int

    def __call__(self, scores: Tensor) -> Selection:
        """Select."""


@runtime_checkable
class Encoder(Protocol):
    """Patches (B, C, h, w) -> features (B, D), D as `features`."""

    features: int

    def __call__(self, patches: Tensor) -> Tensor:
        """Encode every patch by itself."""


@runtime_checkable
class MapEncoder(Encoder, Protocol):
    """An encoder that also gives its feature map (B, D, g, v), with cells `stride` pixels apart."""

    stride: int

    def maps(self, images: Tensor) -> Tensor:
        """Return the feature map."""


@runtime_checkable
class Annealed(Protocol):
    """A part whose noise a training loop scales; it finds them among `model.modules()`.

    The standard deviation of the noise in a step is sigma x noise_scale.

    Attributes:
        sigma: as constructed; no loop changes it.
        noise_scale: 1 at first; a training loop sets it at every step.
    """

    sigma: float
    noise_scale: float


@runtime_checkable
class HasRoles(Protocol):
    """A model that names its parts, so that each can have its own learning rate."""

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts by role, "scorer" and "encoder" for instance."""


def parts_of(**parts: object) -> dict[str, nn.Module]:
    """Return the parts that are modules; others have no parameters."""
    return {role: part for role, part in parts.items() if isinstance(part, nn.Module)}


# (image size (H, W), grid size (rows, columns), patch size (h, w)) -> windows (N, 4)
Place = Callable[[tuple[int, int], tuple[int, int], tuple[int, int]], Tensor]

# (features (B, K, D), selection, centres (N, 2) or (B, N, 2)) -> (B, E)
Aggregate = Callable[[Tensor, Selection, Tensor], Tensor]
