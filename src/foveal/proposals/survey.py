"""One pass over the images: what is common in them, and the rarest cells of each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Generator, Tensor

from foveal.images import Image
from foveal.proposals.background import Background, fit_background, rare_peaks
from foveal.proposals.repeats import RARE_CELLS, apart_of, rank_in_image
from foveal.proposals.trunk import Piece, Trunk

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""

_SAMPLED_IMAGES, _SAMPLED_CELLS = 64, 1000  # that the background is fitted to; cells per image
_KEPT_CELLS = 2**22  # most rare cells that are kept of all images together
OF_EMPTY = -4.0
"""Rarity of cells that show nothing: less than any other cell has, in its image, too."""

_LEAST_SIMILARITY = -1.0


@dataclass(frozen=True)
class Survey:
    """What is kept of n images: rare cells of each, and the best cell for each centre.

    Attributes:
        peaks: (n, Q, d), of length 1, the rarest first, none near a rarer one.
        places: (n, Q, 2), their row and column in the image's map.
        rare: (n, M, d), the rarest cells wherever they are, float16, those first that are the
            rarest in their own image, too: see `foveal.proposals.repeats`.
        rare_places: (n, M, 2), their row and column.
        common: (n, c), the largest similarity of a cell to each centre of common cells.
        common_places: (n, c, 2), where it is.
    """

    peaks: Float[Tensor, "n Q d"]
    places: Int[Tensor, "n Q 2"]
    rare: Float16[Tensor, "n M d"]
    rare_places: Int[Tensor, "n M 2"]
    common: Float[Tensor, "n c"]
    common_places: Int[Tensor, "n c 2"]


def survey_background(
    trunk: Trunk, images: Sequence[Image], generator: Generator, progress: Progress
) -> Background:
    """What is common, from a sample of cells of a sample of images.

    Cells that show nothing are left out, unless all are such. Memory: 64 images x 1000 cells x D
    numbers, whatever the size and number of images.
    """
    chosen = torch.randperm(len(images), generator=generator)[:_SAMPLED_IMAGES].sort().values
    sample = []
    for done, index in enumerate(chosen.tolist(), start=1):
        sample.append(_sample(trunk, images[index], generator))
        progress(done, len(chosen))
    whole, empty = (torch.cat(each) for each in zip(*sample, strict=True))
    return fit_background(whole if empty.all() else whole[~empty], generator)


def survey_cells(
    trunk: Trunk,
    background: Background,
    images: Sequence[Image],
    *,
    count: int,
    reach: int,
    progress: Progress,
) -> Survey:
    """Keep `count` peaks of rarity of each image, at most one within `reach` cells, and the rest.

    An image with fewer cells has some of them several times. Memory: at most 400 MB for 48
    dimensions, as long as there are no more than 40 000 images.
    """
    kept = max(min(RARE_CELLS, _KEPT_CELLS // len(images)), count)
    found = []
    for done, image in enumerate(images, start=1):
        found.append(survey_image(trunk, background, image, count=count, kept=kept, reach=reach))
        progress(done, len(images))
    return Survey(*(torch.stack(each) for each in zip(*found, strict=True)))


def survey_image(
    trunk: Trunk, background: Background, image: Image, *, count: int, kept: int, reach: int
) -> tuple[Tensor, ...]:
    """The rows of one image in a `Survey`."""
    peaks: list[tuple[Tensor, Tensor, Tensor]] = []
    rare: list[tuple[Tensor, Tensor, Tensor]] = []
    common: list[tuple[Tensor, Tensor]] = []
    for piece in trunk.pieces(image, margin=reach):
        cells = background.cells(piece.features)  # (h, w, d)
        rarity = background.rarity(cells)
        if piece.empty is not None:
            rarity[piece.empty] = OF_EMPTY
        is_peak = rare_peaks(rarity, reach)[piece.core].flatten() > -torch.inf
        grid, inner = rarity[piece.core], cells[piece.core].flatten(0, 1)
        corner = torch.tensor([place.start for place in piece.place], device=inner.device)
        rarest, index = grid.flatten().topk(min(kept, grid.numel()))
        rare = [rarest_of([*rare, (inner[index], _place(index, grid) + corner, rarest)], kept)]
        index = is_peak.nonzero()[:, 0]
        found = (inner[index], _place(index, grid) + corner, grid.flatten()[index])
        peaks = [rarest_of([*peaks, found], count)]
        similarity = inner @ background.centres.T  # (cells, c)
        if piece.empty is not None:
            similarity[piece.empty[piece.core].flatten()] = _LEAST_SIMILARITY
        best = similarity.max(dim=0)
        common.append((best.values, _place(best.indices, grid) + corner))
    cells, places, rarity = peaks[0]
    rare_cells, rare_places, rarest = rare[0]
    own = (rare_cells, rare_places)
    rank = rank_in_image(*own, rarest, *own, apart=apart_of(reach))
    order, bank = _first(rarity, count), _first(rank, kept)
    values, where = (torch.stack(each) for each in zip(*common, strict=True))
    most = values.max(dim=0)
    centre = torch.arange(len(most.values), device=where.device)
    return (
        cells[order],
        places[order],
        rare_cells[bank].half(),
        rare_places[bank].int(),
        most.values,
        where[most.indices, centre],
    )


def rarest_of(
    parts: list[tuple[Tensor, Tensor, Tensor]], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of cells, their places and their rarity, the rarest, in their order: what is kept is bounded
    whatever the size of the image."""
    cells, places, rarity = (torch.cat(each) for each in zip(*parts, strict=True))
    some = rarity.argsort(descending=True, stable=True)[:count].sort().values
    return cells[some], places[some], rarity[some]


def places_of(piece: Piece) -> Int[Tensor, "n 2"]:
    """Row and column of the cells of a piece's core in the map of the image."""
    rows, columns = (torch.arange(each.start, each.stop) for each in piece.place)
    return torch.cartesian_prod(rows, columns).to(piece.features.device)


def _first(values: Float[Tensor, " n"], count: int) -> Int[Tensor, " count"]:
    """Numbers of the largest values, again from the first where there are too few."""
    order = values.argsort(descending=True, stable=True)[:count]
    return order.repeat(math.ceil(count / len(order)))[:count]


def _place(index: Int[Tensor, " n"], grid: Float[Tensor, "h w"]) -> Int[Tensor, "n 2"]:
    """Rows and columns of numbers of cells."""
    width = grid.shape[1]
    return torch.stack((index // width, index % width), dim=1)


def _sample(
    trunk: Trunk, image: Image, generator: Generator
) -> tuple[Float[Tensor, "n D"], Bool[Tensor, " n"]]:
    """Features of some cells, and which of these show nothing."""
    rows, columns = trunk.grid(image.size)
    found, nothing = [], []
    for piece in trunk.pieces(image):
        cells = piece.features[(slice(None), *piece.core)].flatten(1).T  # (cells, D)
        empty = torch.zeros(len(cells), dtype=torch.bool, device=cells.device)
        if piece.empty is not None:
            empty |= piece.empty[piece.core].flatten()
        share = math.ceil(_SAMPLED_CELLS * len(cells) / (rows * columns))
        chosen = torch.randperm(len(cells), generator=generator)[:share].to(cells.device)
        found.append(cells[chosen])
        nothing.append(empty[chosen])
    return torch.cat(found), torch.cat(nothing)
