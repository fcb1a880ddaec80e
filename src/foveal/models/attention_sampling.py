"""Attention sampling: K patches drawn at random, and an estimate of the mean feature of all."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from foveal._precision import full_precision
from foveal.images import Images, sources
from foveal.models.part_shapes import check_encoder
from foveal.models.view_geometry import ViewGeometry, mask_padding
from foveal.nn.encoders import encode
from foveal.nn.protocols import Encoder, Place, Scorer, parts_of
from foveal.nn.scorers import score
from foveal.nn.selectors import Sampling
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk.sampling import attention as attend
from foveal.topk.sampling import expectation
from foveal.windows import coordinates as coordinates_of


class AttentionSampling(nn.Module):
    """Classify images by the mean feature under an attention over all windows.

    The mean is estimated from K windows drawn from the attention; it learns through an unbiased
    gradient, see `foveal.topk.sampling.expectation`. A baseline for `PatchClassifier`, with the
    same view and the same windows, that cannot relate one patch to another.

    Differs from the published code in the gradient without replacement, which is biased there, and
    in evaluation, where the published code draws at random; see `foveal.nn.selectors.Sampling`.

    Args:
        scorer: view (B, C, h, w) -> map (B, rows, columns), with `stride` and `offset`.
        select: draws K windows from the attention (B, N).
        encoder: patches (B, C, h, w) -> features (B, D), with `features` = D; they are then scaled
            to length one.
        classes: number of classes.
        view: (h, w) of the small view, in pixels.
        patch: (h, w) of a patch, in pixels of the full-resolution image.
        channels: channels of the images.
        smoothing: share of the attention that is spread over all windows; published are 1e-4 for
            traffic signs and 1e-5 for digits.
        coordinates: append two channels to the patches, y and x of every pixel as shares of the
            image's height and width.
        place: where the windows lie, as in `PatchClassifier`.

    Raises:
        ValueError: scorer or encoder cannot take what they are given, or the view has fewer
            windows than draws.

    References:
        Katharopoulos & Fleuret, Processing Megapixel Images with Deep Attention-Sampling Models,
        ICML 2019. The coordinates: Cordonnier et al., CVPR 2021, table 2.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        select: Sampling,
        encoder: Encoder,
        classes: int,
        view: tuple[int, int],
        patch: tuple[int, int],
        channels: int = 3,
        smoothing: float = 1e-4,
        coordinates: bool = False,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        self.scorer, self.select, self.encoder = scorer, select, encoder
        self.classes, self.view, self.patch, self.channels = classes, view, patch, channels
        self.smoothing, self.coordinates, self.place = smoothing, coordinates, place
        self.geometry = ViewGeometry(
            scorer, view=view, patch=patch, channels=channels, k=select.k, place=place
        )
        self.grid = self.geometry.grid
        check_encoder(encoder, channels + 2 * coordinates, patch)
        self.head = nn.Linear(encoder.features, classes)

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(scorer=self.scorer, encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        device = next(self.parameters()).device
        whole = sources(images, self.channels)
        windows, inside = self.geometry.windows(whole, device)
        scores = score(self.scorer, self.geometry.views(whole, device))  # (B, N)
        scores = mask_padding(scores, inside)

        attention = attend(scores, self.smoothing, inside)  # (B, N)
        selection = self.select(attention)  # (B, K), (B, K, K)
        patches = extract(whole, windows, selection, self.patch)  # (B, K, C, h, w)
        inputs = patches
        if self.coordinates:
            sizes = torch.tensor([image.size for image in whole], device=device)[:, None]
            chosen = selection.expected(windows.to(attention.dtype))  # (B, K, 4)
            where = coordinates_of(chosen, sizes.to(chosen.dtype), self.patch)
            inputs = torch.cat((patches, where.to(patches.dtype)), dim=2)  # (B, K, C + 2, h, w)
        features = normalize(encode(self.encoder, inputs), dim=2)  # (B, K, D)
        mean: Tensor = expectation(
            features, attention, selection, replacement=self.select.replacement
        )
        with full_precision(device):
            logits = self.head(mean)
        return Prediction(
            logits=logits,
            scores=scores,
            windows=windows,
            selection=selection,
            patches=patches,
        )
