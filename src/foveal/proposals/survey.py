"""One pass over the images: what is common in them, and the rarest cells of each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from foveal.images import Image
from foveal.proposals.background import Background, fit_background, rare_peaks
from foveal.proposals.trunk import Trunk

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""

_SAMPLED_IMAGES, _SAMPLED_CELLS = 64, 1000  # that the background is fitted to; cells per image


@dataclass(frozen=True)
class RareCells:
    """The Q rarest cells of each of n images, the rarest first.

    Attributes:
        cells: (n, Q, d), of length 1.
        places: (n, Q, 2), row and column in the image's map.
        rarity: (n, Q).
    """

    cells: Float[Tensor, "n Q d"]
    places: Int[Tensor, "n Q 2"]
    rarity: Float[Tensor, "n Q"]


def survey_background(
    trunk: Trunk, images: Sequence[Image], generator: Generator, progress: Progress
) -> Background:
    """What is common, from a sample of cells of a sample of images.

    Memory: 64 images x 1000 cells x D numbers, whatever the size and number of images.
    """
    chosen = torch.randperm(len(images), generator=generator)[:_SAMPLED_IMAGES].sort().values
    sample = []
    for done, index in enumerate(chosen.tolist(), start=1):
        sample.append(_sample(trunk, images[index], generator))
        progress(done, len(chosen))
    return fit_background(torch.cat(sample), generator)


def survey_rare_cells(
    trunk: Trunk,
    background: Background,
    images: Sequence[Image],
    *,
    count: int,
    reach: int,
    progress: Progress,
) -> RareCells:
    """The `count` rarest cells of each image, of which none is within `reach` of a rarer one.

    An image with fewer peaks has some of them several times.
    """
    found = []
    for done, image in enumerate(images, start=1):
        found.append(rare_cells(trunk, background, image, count=count, reach=reach))
        progress(done, len(images))
    return RareCells(*(torch.stack(each) for each in zip(*found, strict=True)))


def rare_cells(
    trunk: Trunk, background: Background, image: Image, *, count: int, reach: int
) -> tuple[Float[Tensor, "Q d"], Int[Tensor, "Q 2"], Float[Tensor, "Q"]]:
    """Cells, places and rarity of the peaks of one image."""
    best: list[tuple[Tensor, Tensor, Tensor]] = []
    for piece in trunk.pieces(image, margin=reach):
        cells = background.cells(piece.features)  # (h, w, d)
        peaks = rare_peaks(background.rarity(cells), reach)[piece.core]
        rarity, index = peaks.flatten().topk(min(count, peaks.numel()))
        places = torch.stack((index // peaks.shape[1], index % peaks.shape[1]), dim=1)
        corner = torch.tensor([place.start for place in piece.place], device=places.device)
        kept = rarity > -torch.inf
        inner = cells[piece.core][places[:, 0], places[:, 1]]
        best.append((inner[kept], (places + corner)[kept], rarity[kept]))
    cells, places, rarity = (torch.cat(each) for each in zip(*best, strict=True))
    order = rarity.argsort(descending=True, stable=True)[:count]
    order = order.repeat(math.ceil(count / len(order)))[:count]
    return cells[order], places[order], rarity[order]


def _sample(trunk: Trunk, image: Image, generator: Generator) -> Float[Tensor, "n D"]:
    rows, columns = trunk.grid(image.size)
    found = []
    for piece in trunk.pieces(image):
        cells = piece.features[(slice(None), *piece.core)].flatten(1).T  # (cells, D)
        share = math.ceil(_SAMPLED_CELLS * len(cells) / (rows * columns))
        chosen = torch.randperm(len(cells), generator=generator)[:share]
        found.append(cells[chosen.to(cells.device)])
    return torch.cat(found)
