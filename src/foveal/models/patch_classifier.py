"""The paper's model (its Fig. 2): a glance at a small view, K close looks, one answer."""

from collections.abc import Mapping

import torch
from torch import nn

from foveal.images import Images, sources
from foveal.models.view_geometry import ViewGeometry, mask_padding
from foveal.nn.encoders import encode
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.protocols import Aggregate, Encoder, Place, Scorer, Selector, parts_of
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection
from foveal.windows import relative_centres


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
        self.aggregate, self.normalise = aggregate, normalise
        self.view, self.patch, self.channels = view, patch, channels
        self.glance = ViewGeometry(
            scorer, view=view, patch=patch, channels=channels, k=select.k, place=place
        )
        self.grid = self.glance.grid
        width = self._aggregate_width()
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, classes))

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(scorer=self.scorer, encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        device = next(self.parameters()).device
        each = sources(images, self.channels)
        windows, inside = self.glance.windows(each, device)
        scores = self.scorer(self.glance.views(each, device)).flatten(1)  # (B, N)
        scores = mask_padding(scores, inside)

        selection = self.select(self.normalise(scores))  # (B, M), (B, K, M)
        patches = extract(each, windows, selection, self.patch)  # (B, K, C, h, w)
        features = encode(self.encoder, patches)  # (B, K, D)
        centres = relative_centres(windows, [image.size for image in each])
        logits = self.head(self.aggregate(features, selection, centres))
        return Prediction(
            logits=logits, scores=scores, windows=windows, selection=selection, patches=patches
        )

    @torch.no_grad()
    def _aggregate_width(self) -> int:
        k, n = self.select.k, self.grid[0] * self.grid[1]
        selection = Selection(torch.arange(k)[None], torch.eye(k)[None])
        features = torch.zeros(1, k, self.encoder.features)
        return int(self.aggregate(features, selection, torch.zeros(n, 2)).shape[1])
