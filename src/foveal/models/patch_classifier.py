"""The paper's model (its Fig. 2): a glance at a small view, K close looks, one answer."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveal import windows as places
from foveal.images import Image, sources
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.parts import Aggregate, Encoder, Scorer, Selector
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection

Place = Callable[[tuple[int, int], tuple[int, int], tuple[int, int]], Tensor]


class PatchClassifier(nn.Module):
    """Classify images by a few patches that the model chooses itself.

    An image is fitted into the view with its aspect kept, whatever its size: what is left of the
    view stays black and is never chosen. Patches are cut at full resolution, around the very
    pixels that made their score.

    Args:
        scorer: view (B, C, h, w) -> map (B, rows, columns), with `stride` and `offset`.
        select: normalised scores (B, N) -> Selection, with `k`; see `foveal.nn.selectors.TopK`.
        encoder: patches (B, C, h, w) -> features (B, D), with `features` = D.
        aggregate: (features (B, K, D), selection, centres) -> (B, E); see `foveal.nn.aggregators`.
        classes: number of classes.
        view: (h, w) of the small view, in pixels.
        patch: (h, w) of a patch, in pixels of the full-resolution image.
        channels: of the images.
        normalise: raw scores -> scores in units that sigma is given in; see
            `foveal.nn.normalisations`.
        place: where the windows lie, from image size, grid size and patch size;
            `foveal.windows.paper` for the paper's grid. Default: around the scorer's cells.

    Raises:
        ValueError: the view is too small for the scorer, or has fewer windows than slots.

    References:
        Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        select: Selector,
        encoder: Encoder,
        aggregate: Aggregate,
        classes: int,
        view: tuple[int, int],
        patch: tuple[int, int],
        channels: int = 3,
        normalise: Normalisation = min_max,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        self.scorer, self.select, self.encoder = scorer, select, encoder
        self.aggregate, self.normalise, self.place = aggregate, normalise, place
        self.view, self.patch, self.channels = view, patch, channels
        self.grid = self._grid()
        if select.k > self.grid[0] * self.grid[1]:
            raise ValueError(
                f"k must not exceed the number of windows: got k={select.k} for "
                f"{self.grid[0]} x {self.grid[1]} windows; choose a smaller k or a larger view"
            )
        width = self._aggregate_width()
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, classes))

    def forward(self, images: Tensor | Sequence[Tensor] | Sequence[Image]) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        each = sources(images, self.channels)
        windows, inside = self._windows(each)
        scores = self.scorer(self._views(each)).flatten(1)  # (B, N)
        scores = self._outside_last(scores, inside)

        selection = self.select(self.normalise(scores))  # (B, M), (B, K, M)
        patches = extract(each, windows, selection, self.patch)  # (B, K, C, h, w)
        looks = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.encoder(looks)  # (B K, D)
        features = features.view(*patches.shape[:2], -1)  # (B, K, D)
        centres = self._relative_centres(windows, each)
        logits = self.head(self.aggregate(features, selection, centres))
        return Prediction(
            logits=logits, scores=scores, windows=windows, selection=selection, patches=patches
        )

    def _fitted(self, size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
        """The scale from an image to the view, and the pixels of the view that it covers."""
        scale = min(self.view[0] / size[0], self.view[1] / size[1])
        covered = [max(1, round(side * scale)) for side in size]
        return scale, (min(covered[0], self.view[0]), min(covered[1], self.view[1]))

    def _views(self, images: Sequence[Image]) -> Float[Tensor, "B C h w"]:
        parameter = next(self.parameters())
        views = torch.zeros(len(images), self.channels, *self.view, device=parameter.device)
        for view, image in zip(views, images, strict=True):
            height, width = self._fitted(image.size)[1]
            view[:, :height, :width] = image.view((height, width))
        # Convolutions on a CPU are up to twice as fast with channels last.
        return views.contiguous(memory_format=torch.channels_last)

    def _windows(
        self, images: Sequence[Image]
    ) -> tuple[Int[Tensor, "*B N 4"], Bool[Tensor, "*B N"]]:
        """Where the windows lie in each image, and which are centred inside it."""
        sizes = [image.size for image in images]
        by_size = {size: self._windows_in(size) for size in set(sizes)}
        if len(by_size) == 1:
            return by_size[sizes[0]]
        each = [by_size[size] for size in sizes]
        return torch.stack([w for w, _ in each]), torch.stack([i for _, i in each])

    def _windows_in(self, size: tuple[int, int]) -> tuple[Int[Tensor, "N 4"], Bool[Tensor, "N"]]:
        device = next(self.parameters()).device
        if self.place is not None:
            windows = self.place(size, self.grid, self.patch).to(device)
            return windows, torch.ones(len(windows), dtype=torch.bool, device=device)
        scale, covered = self._fitted(size)
        first = torch.full((2,), float(self.scorer.offset), dtype=torch.float64)
        stride = torch.full((2,), float(self.scorer.stride), dtype=torch.float64)
        cells = places.grid(first, stride, self.grid)  # (N, 2), pixels of the view
        inside = (cells < torch.tensor(covered)).all(dim=1)
        if int(inside.sum()) < self.select.k:
            raise ValueError(
                f"an image of {size[0]} x {size[1]} px has {int(inside.sum())} windows in a view "
                f"of {self.view[0]} x {self.view[1]} px, fewer than k={self.select.k}; choose a "
                "smaller k, or a view of the image's aspect"
            )
        return places.centred(cells / scale, self.patch).to(device), inside.to(device)

    @staticmethod
    def _outside_last(
        scores: Float[Tensor, "B N"], inside: Bool[Tensor, "*B N"]
    ) -> Float[Tensor, "B N"]:
        """Scores of cells outside the image as low as the lowest inside, without gradient."""
        if inside.all():
            return scores
        lowest = torch.where(inside, scores, torch.inf).amin(dim=1, keepdim=True).detach()
        return torch.where(inside, scores, lowest)

    def _relative_centres(
        self, windows: Int[Tensor, "*B N 4"], images: Sequence[Image]
    ) -> Float[Tensor, "*B N 2"]:
        sizes = torch.tensor([image.size for image in images], device=windows.device)
        if windows.ndim == 2:
            return places.centres(windows) / sizes[0]
        return places.centres(windows) / sizes[:, None]

    @torch.no_grad()
    def _grid(self) -> tuple[int, int]:
        try:
            rows, columns = self.scorer(torch.zeros(1, self.channels, *self.view)).shape[1:]
        except RuntimeError as error:
            raise ValueError(f"a view of {self.view} px is too small for the scorer") from error
        return int(rows), int(columns)

    @torch.no_grad()
    def _aggregate_width(self) -> int:
        k, n = self.select.k, self.grid[0] * self.grid[1]
        selection = Selection(torch.arange(k)[None], torch.eye(k)[None])
        features = torch.zeros(1, k, self.encoder.features)
        return int(self.aggregate(features, selection, torch.zeros(n, 2)).shape[1])
