"""A second glance: the best regions of a view are scored again, at several times its resolution.

    scores of the view (B, n)  ->  the best regions  ->  scores (B, N) and windows (B, N, 4) in them

So a thing that is too small in the view is found, as long as the view shows where it may be worth
to look closer. A closer view of the whole image would have `closer`^2 times as many pixels; here
only the regions are seen so. Regions are the squares of a grid, which do not overlap, of 32 x 32
cells of the closer view. Each is read with as much around it as its cells depend on, so its scores
are those that the closer view of the whole image would have there.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from foveal import windows as places
from foveal.images import Image
from foveal.images.reduced import glance
from foveal.models.view_geometry import ViewGeometry, fit
from foveal.nn.modes import dry_run
from foveal.nn.protocols import Scorer
from foveal.nn.receptive_field import LARGE
from foveal.nn.scorers import score

CELLS = 32  # of the closer view, along a side of a region


class Regions(NamedTuple):
    """The regions that are looked at again, M of each image, and their cells, N = M x R x R'.

    Attributes:
        corner: row and column of the first cell of each region in the closer view.
        cells: numbers of their cells in the closer view, row by row.
        windows: about the cells, top left bottom right in pixels of the image.
        inside: which of them are centred inside the image, each in one region only.
    """

    corner: Int[Tensor, "B M 2"]
    cells: Int[Tensor, "B N"]
    windows: Int[Tensor, "B N 4"]
    inside: Bool[Tensor, "B N"]


class SecondGlance:
    """Where the closer view of a scorer lies, and what it sees in the best regions.

    Args:
        scorer: of both views, whose cells depend on a part of the view: it has a `reach`.
        first: the view that is scored first.
        closer: resolution of the second glance in that of the first, 2 or more.
        regions: the most regions of an image that are looked at again.

    Attributes:
        grid: (rows, columns) of the map that the whole closer view would have.
        box: (h, w) in pixels of the closer view that are read for a region.

    Raises:
        ValueError: the scorer has no reach, windows are placed otherwise than around cells, or the
            regions hold fewer cells than k.
    """

    def __init__(self, scorer: Scorer, first: ViewGeometry, *, closer: int, regions: int) -> None:
        self.first, self.closer = first, closer
        reach = getattr(scorer, "reach", None)
        if reach is None or first.place is not None:
            raise ValueError(
                "a second glance needs windows around the scorer's cells, and cells that depend on "
                "a part of the view; choose glances=1, or a scorer without attention"
            )
        if closer < 2 or regions < 1:
            raise ValueError(
                f"closer must be 2 or more, regions 1 or more: got {closer} and {regions}"
            )
        self.view = (closer * first.view[0], closer * first.view[1])
        self.stride, self.offset = int(first.stride), first.offset
        # a cell more than they depend on: resampling ends at the border of what is read
        self._before = math.ceil(reach.before / self.stride) + 1
        cells = CELLS + self._before + math.ceil(max(reach.after / self.stride - 1, 0)) + 1
        # networks pad by what a side leaves over, divided by the stride: so it stays the same
        self.box = _pair(min(side, self.stride * cells + side % self.stride) for side in self.view)
        rows, self._columns = dry_run(scorer, torch.zeros(1, first.channels, *self.box)).shape[1:]
        self.grid = _pair(
            min(
                math.ceil((side - self.offset) / self.stride),  # centres inside
                (side - box) // self.stride + seen,
            )
            for side, box, seen in zip(self.view, self.box, (rows, self._columns), strict=True)
        )
        self.size = (min(CELLS, self.grid[0]), min(CELLS, self.grid[1]))
        self._grid = _pair(math.ceil(side / CELLS) for side in self.grid)  # of regions
        self.regions = min(regions, math.prod(self._grid))
        if first.k > self.regions * self.size[0] * self.size[1]:
            raise ValueError(
                f"k must not exceed the cells of the regions: got k={first.k} for {self.regions} "
                f"regions of {self.size[0]} x {self.size[1]}"
            )

    def choose(
        self,
        images: Sequence[Image],
        scores: Float[Tensor, "B n"],
        candidates: Bool[Tensor, "*one_or_B n"],
    ) -> Regions:
        """The regions whose best cells score highest in the view.

        Args:
            images: that were scored.
            scores: of the cells of the view.
            candidates: which of these may be selected.
        """
        region = self._region_of_cells().to(scores.device).expand_as(scores)
        known = scores.detach().masked_fill(~candidates, -torch.inf)
        best = known.new_full((len(scores), math.prod(self._grid)), -torch.inf)
        best.scatter_reduce_(1, region, known, "amax")
        chosen = best.sort(dim=1, descending=True, stable=True).indices[:, : self.regions]
        return self.at(images, chosen.sort(dim=1).values)

    def at(self, images: Sequence[Image], chosen: Int[Tensor, "B M"]) -> Regions:
        """The regions of these numbers, row by row."""
        device = chosen.device
        place = torch.stack((chosen // self._grid[1], chosen % self._grid[1]), dim=2)
        grid, size = (torch.tensor(each, device=device) for each in (self.grid, self.size))
        corner = (place * CELLS).minimum(grid - size)  # the last ones share cells with others
        rows, columns = (
            corner[..., axis, None] + torch.arange(self.size[axis], device=device)
            for axis in (0, 1)
        )
        cells = rows[..., :, None] * self.grid[1] + columns[..., None, :]  # (B, M, R, R')
        own = (rows >= place[..., :1] * CELLS)[..., :, None]
        own = own & (columns >= place[..., 1:] * CELLS)[..., None, :]
        row, column = cells.flatten(1) // self.grid[1], cells.flatten(1) % self.grid[1]
        points = self.offset + self.stride * torch.stack((row, column), dim=2).double()  # (B, N, 2)
        fitted = [fit(self.view, image.size) for image in images]
        scale = points.new_tensor([scale for scale, _ in fitted])[:, None, None]
        covered = points.new_tensor([covered for _, covered in fitted])[:, None]
        windows = places.centred((points / scale).flatten(0, 1), self.first.patch)
        inside = (points < covered).all(dim=2) & own.flatten(1)
        return Regions(corner, cells.flatten(1), windows.view(*inside.shape, 4), inside)

    def boxes(self, images: Sequence[Image], regions: Regions) -> Float[Tensor, "B M C h w"]:
        """What is read of the images for their regions, in the closer view, black outside them."""
        starts = self._starts(regions.corner)  # (B, M, 2)
        bounds = torch.cat((starts, starts + starts.new_tensor(self.box)), dim=2).tolist()
        boxes = torch.zeros(*starts.shape[:2], self.first.channels, *self.box, device=starts.device)
        for image, boxes_of, each in zip(images, boxes, bounds, strict=True):
            covered = fit(self.view, image.size)[1]
            down, across = (whole / part for whole, part in zip(image.size, covered, strict=True))
            for box, (top, left, bottom, right) in zip(boxes_of, each, strict=True):
                bottom, right = min(bottom, covered[0]), min(right, covered[1])
                if top < bottom and left < right:
                    size = (bottom - top, right - left)
                    ends = (top * down, left * across, bottom * down, right * across)
                    y0, x0, y1, x1 = map(round, ends)
                    box[:, : size[0], : size[1]] = glance(image, (y0, x0, y1, x1), size)
        return boxes

    def scores(
        self, scorer: Scorer, boxes: Float[Tensor, "B M C h w"], regions: Regions
    ) -> Float[Tensor, "B N"]:
        """Score the cells of regions by what was read for them."""
        # convolutions on a CPU are up to twice as fast with channels last
        views = boxes.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        learns = getattr(scorer, "training", False) and not getattr(scorer, "frozen", False)
        at_once = len(views) if learns else max(1, LARGE // math.prod(self.box))
        maps = torch.cat([score(scorer, part) for part in torch.split(views, at_once)])
        return self.of_maps(maps, regions)

    def of_maps(self, maps: Float[Tensor, "BM n"], regions: Regions) -> Float[Tensor, "B N"]:
        """The scores of the cells of regions, of those of all cells that were read for them."""
        first = (regions.corner - self._starts(regions.corner) // self.stride).flatten(0, 1)
        row, column = (
            first[:, axis, None] + torch.arange(self.size[axis], device=maps.device)
            for axis in (0, 1)
        )
        number = row[:, :, None] * self._columns + column[:, None, :]  # (B M, R, R')
        return maps.gather(1, number.flatten(1)).view(regions.cells.shape)

    def local_maxima(
        self, scores: Float[Tensor, "B N"], regions: Regions, radius: int
    ) -> Float[Tensor, "B N"]:
        """As `view_geometry.local_maxima`, across the borders of neighbouring regions, too."""
        if radius == 0:
            return scores
        known = scores.detach()
        whole = known.new_full((len(scores), math.prod(self.grid)), -torch.inf)
        whole.scatter_reduce_(1, regions.cells, known, "amax")
        best = max_pool2d(whole.view(-1, 1, *self.grid), 2 * radius + 1, stride=1, padding=radius)
        near = best.flatten(1).gather(1, regions.cells)
        return torch.where(known >= near, scores, known.amin(dim=1, keepdim=True))

    def _region_of_cells(self) -> Int[Tensor, " n"]:
        """The region that each cell of the first view lies in."""
        numbers = []
        for axis in (0, 1):
            centre = self.offset + self.stride * torch.arange(self.first.grid[axis])
            cell = ((self.closer * centre - self.offset) / self.stride + 0.5).floor().long()
            numbers.append(cell.clamp(0, self.grid[axis] - 1) // CELLS)
        return (numbers[0][:, None] * self._grid[1] + numbers[1]).flatten()

    def _starts(self, corner: Int[Tensor, "B M 2"]) -> Int[Tensor, "B M 2"]:
        """The first pixels of the closer view that are read for regions, on the border of cells."""
        last = corner.new_tensor([v - b for v, b in zip(self.view, self.box, strict=True)])
        first: Tensor = self.stride * (corner - self._before)
        return first.clamp(min=0).minimum(last)


def _pair(sides: Iterable[int]) -> tuple[int, int]:
    height, width = sides
    return height, width
