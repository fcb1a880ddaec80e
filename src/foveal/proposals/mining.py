"""Find where the evidence could be, from image labels and frozen features, in minutes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from foveal.images import FileImage, Image
from foveal.nn.encoders import Backbone
from foveal.proposals.combine import combine
from foveal.proposals.exemplars import Trial
from foveal.proposals.found import Proposals
from foveal.proposals.labels import questions_of, read_groups, read_labels
from foveal.proposals.places import single
from foveal.proposals.ranking import stratified_folds
from foveal.proposals.reduction import MEGAPIXELS, halvings_for
from foveal.proposals.repeats import reach_of
from foveal.proposals.survey import Progress, survey_background, survey_cells
from foveal.proposals.trunk import Trunk
from foveal.proposals.trunk_choice import trunk_by_name, trunk_of
from foveal.settings import Mask

Labels = Sequence[int] | Sequence[str] | Int[Tensor, " n"] | Bool[Tensor, "n classes"]


@runtime_checkable
class LabelledImages(Protocol):
    """What mining needs of a `foveal.data.Dataset`."""

    classes: tuple[str, ...]

    @property
    def labels(self) -> Tensor:
        """Class number of each image, or the classes of each."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> "LabelledImage": ...


@runtime_checkable
class LabelledImage(Protocol):
    """An example of such a data set."""

    @property
    def image(self) -> Image:
        """Its pixels."""


def mine(
    images: LabelledImages | Sequence[Image] | Sequence[Tensor],
    labels: Labels | None = None,
    *,
    trunk: str | Trunk | Backbone = "resnet18",
    weights: Path | None = None,
    patch: int | tuple[int, int] = 64,
    classes: Sequence[str] | None = None,
    groups: Sequence[object] | Tensor | None = None,
    nothing: int | None = None,
    folds: int = 3,
    seed: int = 0,
    megapixels: float = MEGAPIXELS,
    mask: Mask = "nodata",
    progress: Progress | None = None,
) -> Proposals:
    """Find places that tell the labels, without training.

    1. One pass of a frozen trunk over each image; the rarest cells of each are kept, those first
       that are rare in their own image, too.
    2. The 100 peaks of rarity in each are tried as exemplars: which images have something like it?
       Those whose first images bear one label are kept, of every class and of everything but that
       class.
    3. Each question is judged on images not used. What proves itself makes the evidence; where
       nothing does, evidence is rarity. A class that means "nothing here" need not be named.

    Costs one pass of the trunk over each image, one more over at most 64 of them, and about a
    minute for 500 images. Neither memory nor time grow with the size of very large images: these
    are read in pieces, as far as their files allow it, and seen at 1/2 of their size, or 1/4, 1/8,
    if they have more than `megapixels` on average; then `Proposals.halvings` says so.

    Args:
        images: of any kinds and sizes, or a data set.
        labels: class numbers, class names or, for several labels an image, booleans (n, classes);
            None: those of the data set.
        trunk: a timm network by name, up to the layer that suits the patch; or an encoder, up to
            its own layer; or a trunk. Mining runs on its device.
        weights: file of weights for a network by name; None: timm's, from its hub.
        patch: side, or (h, w), of the windows in pixels.
        classes: names of the classes, for class numbers and booleans.
        groups: of each image (a patient, a road, a day), by number or name. Images of one group are
            never used to judge one another; groups that bear several labels are judged within.
        nothing: number of the class that means "nothing here": nothing is looked for that tells it.
            None: if there is one, the questions tell.
        folds: number of parts that take turns as the images not used.
        seed: of the samples and the folds.
        megapixels: of an image on average that are searched; larger images are shrunk.
        mask: which cells show nothing and are not proposed, see `Trunk.masked`; a `Trunk` has its
            own.
        progress: called with the number of images done, and of all, for both passes.

    Raises:
        ValueError: lengths differ, there are fewer than 2 folds or images, or no such class.
        UserError: an image cannot be read, or the weights cannot be had or do not fit.
    """
    sources = _Sources(images)
    bearing, names = read_labels(images, labels, classes, count=len(sources))
    group = read_groups(groups, count=len(sources))
    if not 2 <= folds <= int(group.max()) + 1:
        raise ValueError(f"folds must lie in 2..{int(group.max()) + 1} groups: got {folds}")
    if nothing is not None and not 0 <= nothing < len(names):
        raise ValueError(f"nothing must lie in 0..{len(names) - 1} classes: got {nothing}")
    side = (patch, patch) if isinstance(patch, int) else patch
    network = _trunk(trunk, weights, side, sources, mask)
    shrunk = halvings_for(sources.sizes(), network, megapixels)
    network = network.reduced(max(network.halvings, shrunk))
    sources.channels = network.channels
    generator = torch.Generator().manual_seed(seed)
    report = progress or (lambda done, total: None)
    background = survey_background(network, sources, generator, report)
    reach = reach_of(side, network.stride)
    survey = survey_cells(network, background, sources, count=_PEAKS, reach=reach, progress=report)
    device = network.device
    trial = Trial(
        survey,
        background.centres,
        questions_of(bearing.to(device), names, nothing),
        folds=stratified_folds(bearing, group, folds, generator).to(device),
        groups=group.to(device),
        within=_mixed(bearing, group),
    )
    return combine(trial, network, background, side, sources)


_PEAKS = 100
_MEASURED = 200  # images whose sizes stand for all


class _Sources(Sequence[Image]):
    """Images one by one; files are read each time, and not kept."""

    def __init__(self, images: LabelledImages | Sequence[Image] | Sequence[Tensor]) -> None:
        self.images = images
        self.channels: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths of up to 200 images, of files from their headers."""
        count = min(len(self), _MEASURED)
        some = [self.images[number * len(self) // count] for number in range(count)]
        images = [each.image if isinstance(each, LabelledImage) else each for each in some]
        return [
            image.size if isinstance(image, FileImage) else single(image, None).size
            for image in images
        ]

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        item = self.images[index]
        image = item.image if isinstance(item, LabelledImage) else item
        return single(image, self.channels)

    def __iter__(self) -> Iterator[Image]:
        return (self[index] for index in range(len(self)))


def _trunk(
    trunk: str | Trunk | Backbone,
    weights: Path | None,
    patch: tuple[int, int],
    images: _Sources,
    mask: Mask,
) -> Trunk:
    if isinstance(trunk, Trunk):
        return trunk
    if isinstance(trunk, Backbone):
        return trunk_of(trunk).masked(mask)
    channels = images[0].channels
    return trunk_by_name(trunk, patch=patch, channels=channels, weights=weights).masked(mask)


def _mixed(bearing: Bool[Tensor, "n classes"], groups: Int[Tensor, " n"]) -> bool:
    """Whether most images belong to a group with images of another label."""
    numbers = torch.unique(bearing, dim=0, return_inverse=True)[1]
    pairs = torch.unique(torch.stack((groups, numbers), dim=1), dim=0)
    kinds = torch.bincount(pairs[:, 0], minlength=int(groups.max()) + 1)
    return bool((kinds[groups] > 1).float().mean() > 0.5)
