"""Images of any sizes fitted into a scorer's view, and where its cells lie in them.

    images  ->  views (B, C, h, w)   windows (N, 4) or (B, N, 4)   centres (N, 2) or (B, N, 2)

An image is fitted with its aspect kept, whatever its size; the rest of the view stays black.
Windows are cut at full resolution around the very pixels that made their score.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from foveal import windows as places
from foveal.errors import ImageRefused
from foveal.images import Image
from foveal.images.resampling import resampled
from foveal.models.empty_windows import empty_windows
from foveal.nn.modes import dry_run
from foveal.nn.protocols import Place, Scorer
from foveal.patches import gpu
from foveal.patches.stored import Side, common_sides
from foveal.settings import Mask

_SIZES = 8  # of images whose windows are kept


class ViewGeometry:
    """The views that a scorer sees, and the windows that its cells stand for.

    Args:
        scorer: view (B, C, h, w) -> map (B, rows, columns), with `stride` and `offset`.
        view: (h, w) of the view, in pixels.
        patch: (h, w) of a window, in pixels of the full-resolution image.
        channels: channels of the views.
        k: number of windows to be selected.
        place: where the windows lie; default: around the scorer's cells.

    Attributes:
        grid: (rows, columns) of the scorer's map, N = rows x columns.

    Raises:
        ValueError: the scorer cannot take such views, or the view has fewer windows than k.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        view: tuple[int, int],
        patch: tuple[int, int],
        channels: int,
        k: int,
        place: Place | None = None,
    ) -> None:
        self.view, self.patch, self.channels = view, patch, channels
        self.k, self.place = k, place
        self._found = dict[tuple[Side, torch.device], tuple[Tensor, Tensor, Side | None]]()
        self.stride, self.offset = float(scorer.stride), float(scorer.offset)
        self.grid = self._grid(scorer)
        if k > self.grid[0] * self.grid[1]:
            raise ValueError(
                f"k must not exceed the number of windows: got k={k} for "
                f"{self.grid[0]} x {self.grid[1]} windows; choose a smaller k or a larger view"
            )

    def views(self, images: Sequence[Image], device: torch.device) -> Float[Tensor, "B C h w"]:
        """Return the whole images, small, on the device."""
        views = torch.zeros(len(images), self.channels, *self.view, device=device)
        seen = 0
        for whole in gpu.copies(images, device):
            height, width = self.fitted((whole.shape[2], whole.shape[3]))[1]
            part = views[seen : seen + len(whole), :, :height, :width]
            part.copy_(resampled(whole, (height, width)))
            seen += len(whole)
        for view, image in zip(views[seen:], images[seen:], strict=True):
            height, width = self.fitted(image.size)[1]
            view[:, :height, :width] = image.view((height, width))
        # Convolutions on a CPU are up to twice as fast with channels last.
        return views.contiguous(memory_format=torch.channels_last)

    def windows(
        self, images: Sequence[Image], device: torch.device
    ) -> tuple[Int[Tensor, "*B N 4"], Bool[Tensor, "*B N"]]:
        """Return where the windows lie in each image, and which are centred inside it."""
        sizes = [image.size for image in images]
        found: tuple[Tensor, Tensor] = places.by_image_size(
            sizes, lambda size: self._known(size, device)[:2]
        )
        return found

    def sides(self, images: Sequence[Image], device: torch.device) -> list[Side | None]:
        """Return the size of each image's windows; None where they differ."""
        return [self._known(image.size, device)[2] for image in images]

    def _known(
        self, size: tuple[int, int], device: torch.device
    ) -> tuple[Tensor, Tensor, Side | None]:
        """The windows of an image of this size, found once and kept on the device."""
        known = self._found.get((size, device))
        if known is None:
            with torch.inference_mode(False):  # to be used in training later
                windows, inside = self._windows_in(size)
                (side,) = common_sides(windows, 1)  # here, where the host need not wait
                known = windows.to(device), inside.to(device), side
            if not torch.compiler.is_compiling():
                for oldest in list(self._found)[: 1 - _SIZES]:
                    self._found.pop(oldest, None)  # perhaps another thread did
                self._found[size, device] = known
        return known

    def empty(
        self,
        images: Sequence[Image],
        views: Float[Tensor, "B C h w"],
        windows: Int[Tensor, "*B N 4"],
        mask: Mask,
    ) -> Bool[Tensor, "B N"] | None:
        """Return which windows hold nothing, as their views show; see `empty_windows`."""
        covered = [self.fitted(image.size)[1] for image in images]
        return empty_windows(images, views, covered, windows, mask)

    def fitted(self, size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
        """Return the scale from an image to the view, and the (h, w) of the view that it covers."""
        return fit(self.view, size)

    def _windows_in(self, size: tuple[int, int]) -> tuple[Int[Tensor, "N 4"], Bool[Tensor, " N"]]:
        if self.place is not None:
            windows = self.place(size, self.grid, self.patch)
            return windows, torch.ones(len(windows), dtype=torch.bool, device=windows.device)
        scale, covered = self.fitted(size)
        first = torch.full((2,), self.offset, dtype=torch.float64)
        stride = torch.full((2,), self.stride, dtype=torch.float64)
        cells = places.grid(first, stride, self.grid)  # (N, 2), pixels of the view
        inside = (cells < torch.tensor(covered)).all(dim=1)
        if int(inside.sum()) < self.k:
            raise ImageRefused(
                f"an image of {size[0]} x {size[1]} px has {int(inside.sum())} windows in a view "
                f"of {self.view[0]} x {self.view[1]} px, fewer than k={self.k}; choose a "
                "smaller k, or a view with the aspect ratio of the images"
            )
        return places.centred(cells / scale, self.patch), inside

    def _grid(self, scorer: Scorer) -> tuple[int, int]:
        height, width = self.view
        try:
            rows, columns = dry_run(scorer, torch.zeros(1, self.channels, *self.view)).shape[1:]
        except Exception as error:
            seen = f"a view of {height} x {width} px"
            if self._larger_is_scored(scorer):
                raise ValueError(
                    f"{seen} is too small for the scorer: choose a larger one"
                ) from error
            raise ValueError(
                f"the scorer cannot take {seen} with {self.channels} channels: {error}"
            ) from error
        return int(rows), int(columns)

    def _larger_is_scored(self, scorer: Scorer) -> bool:
        for factor in (2, 4, 8):
            try:
                dry_run(scorer, torch.zeros(1, self.channels, *(factor * s for s in self.view)))
            except Exception:
                continue
            return True
        return False


def fit(view: tuple[int, int], size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """The scale from an image to a view, and the (h, w) of the view that it covers."""
    scale = min(view[0] / size[0], view[1] / size[1])
    covered = [max(1, round(side * scale)) for side in size]
    return scale, (min(covered[0], view[0]), min(covered[1], view[1]))


def local_maxima(
    scores: Float[Tensor, "B N"], grid: tuple[int, int], radius: int
) -> Float[Tensor, "B N"]:
    """Lower the scores of cells that have a better one near to the lowest of the image.

    So that k windows show k places, and not one place k times.

    Args:
        scores: of the cells of a grid, row by row.
        grid: (rows, columns).
        radius: rows and columns within which a better cell counts; 0: none is lowered.
    """
    if radius == 0:
        return scores
    best = max_pool2d(scores.view(-1, 1, *grid), 2 * radius + 1, stride=1, padding=radius)
    lowest = scores.amin(dim=1, keepdim=True).detach()
    return torch.where(scores >= best.flatten(1), scores, lowest)


def mask_padding(
    scores: Float[Tensor, "B N"], inside: Bool[Tensor, "*B N"]
) -> Float[Tensor, "B N"]:
    """Lower the scores of cells outside the image to the lowest inside, without gradient."""
    lowest = torch.where(inside, scores, torch.inf).amin(dim=1, keepdim=True).detach()
    return torch.where(inside, scores, lowest)
