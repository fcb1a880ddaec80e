"""NTS-Top-K: classify birds by parts, which a Top-K selects among windows of several sizes.

One network encodes the whole image and every part. The windows are scored on its feature map of the
whole, behind a stop-gradient: the scorer learns from the pixels of the parts alone.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal._precision import full_precision, widened
from foveal.images import Images, sources
from foveal.models.part_shapes import check_encoder
from foveal.nn.encoders import encode
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.protocols import MapEncoder, Selector, parts_of
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.paper.nn import center_crop
from foveal.paper.nn.anchors import LEVELS, anchors
from foveal.paper.nn.dropout import LastingDropout
from foveal.patches import extract

Combine = Callable[[Tensor, Tensor], Tensor]


def mean(parts: Float[Tensor, "B K D"], whole: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Add the average part and the whole: the paper's better variant."""
    return parts.mean(dim=1) + whole


def concat(parts: Float[Tensor, "B K D"], whole: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
    """Put all parts and then the whole side by side; E = (K + 1) D."""
    return torch.cat((parts.flatten(1), whole), dim=1)


class NTSTopK(nn.Module):
    """The paper's model for fine-grained classes.

    Differences from its released code: pixels are standardised as published weights expect; slots
    are in index order. By default the gradient is exact, the selection hard and dropout off in
    evaluation, and the network's stem has its ReLU; `as_published` of
    `foveal.paper.recipes.birds` restores the published behaviour.

    Args:
        encoder: encodes the whole image and the parts, with a feature map of stride 32.
        scorer: map (B, D, h, w) -> raw scores (B, N) of `foveal.paper.nn.anchors`.
        select: normalised scores (B, N) -> Selection, with `k`; see `foveal.nn.selectors.TopK`.
        aggregate: (parts (B, K, D), whole (B, D)) -> (B, E): `mean` or `concat`.
        classes: number of classes.
        whole: (h, w) that every image is resampled to, its aspect ignored.
        size: (h, w) of the center crop of that, which is all the model sees.
        patch: (h, w) that every part is resampled to.
        dropout: probability, in [0, 1), on the features of whole and parts.
        dropout_in_evaluation: drop in evaluation too, as the paper's code does by mistake; see
            `foveal.paper.nn.dropout.LastingDropout` for what is dropped then.
        channels: channels of the images.
        normalise: raw scores -> scores in units that sigma is given in.

    Raises:
        ValueError: the encoder cannot take the images or has another stride, the crop does not fit
            into the whole, or there are fewer windows than slots.

    References:
        Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021,
        section 5.3.
    """

    anchors: Tensor

    def __init__(
        self,
        *,
        encoder: MapEncoder,
        scorer: Callable[[Tensor], Tensor],
        select: Selector,
        aggregate: Combine,
        classes: int,
        whole: tuple[int, int] = (600, 600),
        size: tuple[int, int] = (448, 448),
        patch: tuple[int, int] = (224, 224),
        dropout: float = 0.5,
        dropout_in_evaluation: bool = False,
        channels: int = 3,
        normalise: Normalisation = min_max,
    ) -> None:
        super().__init__()
        self.encoder, self.scorer, self.select = encoder, scorer, select
        self.aggregate, self.normalise, self.classes = aggregate, normalise, classes
        self.whole, self.size, self.patch, self.channels = whole, size, patch, channels
        self.register_buffer("anchors", anchors(size), persistent=False)
        center_crop.corner(whole, size)
        check_parts(encoder, select.k, len(self.anchors))
        check_encoder(encoder, channels, patch)
        self.dropout, self.dropout_in_evaluation = dropout, dropout_in_evaluation
        self.drop, self.drop_parts = nn.Dropout(dropout), nn.Dropout(dropout)
        if dropout_in_evaluation:
            self.drop, self.drop_parts = LastingDropout(dropout), LastingDropout(dropout, seed=1)
        features = encoder.features
        width = aggregate(torch.zeros(1, select.k, features), torch.zeros(1, features)).shape[1]
        self.head = nn.Linear(width, classes)
        self.whole_head = nn.Linear(features, classes)
        self.part_head = nn.Linear(features, classes)

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(scorer=self.scorer, encoder=self.encoder)

    def forward(self, images: Images) -> PartsPrediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        each = sources(images, self.channels)
        view = center_crop.views(each, self.whole, self.size, self.anchors.device)  # (B, C, H, W)
        maps = widened(self.encoder.maps(view), view)  # (B, D, h, w)
        whole = self.drop(maps.mean(dim=(2, 3)))  # (B, D)

        with full_precision(view.device):
            scores = self.scorer(maps.detach())  # (B, N)
        selection = self.select(self.normalise(scores))  # (B, M), (B, K, M)
        patches = extract(view, self.anchors, selection, self.patch)  # (B, K, C, h, w)
        parts = self.drop_parts(encode(self.encoder, patches))  # (B, K, D)

        with full_precision(view.device):
            logits = self.head(self.aggregate(parts, whole))
            whole_logits, part_logits = self.whole_head(whole), self.part_head(parts)
        return PartsPrediction(
            logits=logits,
            whole_logits=whole_logits,
            part_logits=part_logits,
            scores=scores,
            windows=center_crop.in_images(
                self.anchors, [image.size for image in each], self.whole, self.size
            ),
            selection=selection,
            patches=patches,
        )


def check_parts(encoder: MapEncoder, k: int, windows: int) -> None:
    """Check that the encoder's stride is that of the windows, and that there are enough of them.

    Raises:
        ValueError: names the values that do not fit.
    """
    if encoder.stride != LEVELS[0].stride:
        raise ValueError(
            f"the encoder's map must have cells {LEVELS[0].stride} px apart, as the windows have: "
            f"got {encoder.stride}; choose another stage"
        )
    if k > windows:
        raise ValueError(
            f"k must not exceed the number of windows: got k={k} for {windows} windows; choose a "
            "smaller k or a larger size"
        )
