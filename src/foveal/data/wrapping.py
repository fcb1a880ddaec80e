"""Data sets of other libraries: any map-style data set of (image, label)."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Subset

from foveal.data.dataset import Example
from foveal.data.labels import Label, Labels
from foveal.errors import UserError
from foveal.images.conversion import as_image


@runtime_checkable
class ImageLabelPairs(Protocol):
    """A map-style data set, as of torch or torchvision, with items (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class WrappedDataset:
    """The data set that `wrap` returns; a `UserError` names the image that cannot be used."""

    def __init__(self, dataset: ImageLabelPairs, classes: tuple[str, ...], labels: Labels) -> None:
        self.dataset, self.classes, self.labels = dataset, classes, labels

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} images: got index {index}")
        image, label = self.dataset[index]
        known = self.labels[index]
        if not torch.equal(_label_tensor(label), known):
            raise ValueError(
                f"item {index} has the label {label}, but the data set lists {known.tolist()}: "
                "its labels must be the same whenever they are read"
            )
        own_label: Label = known if known.ndim else int(known)
        name = f"image {index}"
        try:
            return Example(as_image(image), own_label, name)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name} of the data set: {error}") from error


def wrap(dataset: ImageLabelPairs, classes: Sequence[str] | None = None) -> WrappedDataset:
    """Use a data set of torch, torchvision or the like for training and evaluation.

    Labels are read once: from the attribute `targets` or `labels` if there is one, without reading
    an image, else from the items.

    Args:
        dataset: items are (image, label). The image is what `foveal.images.conversion.as_image`
            takes: a PIL image, a tensor (C, H, W), a NumPy array (H, W) or (H, W, C), or a path.
            The label is a class number, or for multi-label data whether the image has each class.
        classes: names of the classes, in the order of their numbers; None: `dataset.classes`.

    Raises:
        ValueError: the classes are unknown, or a label is not one of them.

    >>> images = [(torch.rand(3, 8, 8), 1), (torch.rand(3, 8, 8), 0)]
    >>> wrap(images, classes=["cat", "dog"]).labels
    tensor([1, 0])
    """
    names = tuple(classes if classes is not None else getattr(dataset, "classes", ()))
    if not names:
        raise ValueError("the data set does not name its classes: give classes=[...]")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes must have different names: {', '.join(repeated)} is repeated")
    labels = _read_labels(dataset)
    if labels.dtype == torch.bool and labels.shape[1] != len(names):
        raise ValueError(f"labels are for {labels.shape[1]} classes: got {len(names)} names")
    if (
        labels.dtype != torch.bool
        and len(labels)
        and not 0 <= labels.min() <= labels.max() < len(names)
    ):
        raise ValueError(
            f"labels must lie in 0..{len(names) - 1} for {len(names)} classes: got "
            f"{int(labels.min())} to {int(labels.max())}"
        )
    return WrappedDataset(dataset, names, labels)


def _read_labels(dataset: ImageLabelPairs) -> Int[Tensor, " n"] | Bool[Tensor, "n classes"]:
    listed = _listed_labels(dataset)
    each = [dataset[i][1] for i in range(len(dataset))] if listed is None else listed
    labels = [_label_tensor(label) for label in each]
    if len({label.shape for label in labels}) > 1:
        raise ValueError("labels must be all class numbers, or all vectors of one length")
    return torch.stack(labels) if labels else torch.zeros(0, dtype=torch.int64)


def _listed_labels(dataset: ImageLabelPairs) -> list[Any] | None:
    """The labels that a data set lists beside its items, as its items have them."""
    if isinstance(dataset, Subset):
        labels = _listed_labels(dataset.dataset)  # type: ignore[arg-type]
        return None if labels is None else [labels[index] for index in dataset.indices]
    listed = getattr(dataset, "targets", None)
    listed = getattr(dataset, "labels", None) if listed is None else listed
    if listed is None or len(listed) != len(dataset):
        return None
    transform = getattr(dataset, "target_transform", None)
    labels = [label.item() if getattr(label, "ndim", None) == 0 else label for label in listed]
    return labels if transform is None else [transform(label) for label in labels]


def _label_tensor(label: Any) -> Tensor:
    """A class number as int64 (), or a multi-hot vector as bool (classes)."""
    tensor = torch.as_tensor(label)
    if tensor.ndim == 0 and not tensor.is_floating_point() and tensor.dtype != torch.bool:
        return tensor.to(torch.int64)
    if tensor.ndim == 1 and bool(((tensor == 0) | (tensor == 1)).all()):
        return tensor.to(torch.bool)
    raise ValueError(f"a label must be a class number or a vector of 0 and 1: got {label}")
