"""NTS-Top-K: birds by their parts, which a Top-K chooses among windows of several sizes.

One network looks at the whole image and at every part. Where the parts lie is scored on its map of
the whole, behind a stop-gradient: the scorer learns from the pixels of the parts alone.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.images import Images, sources
from foveal.nn.layers import LastingDropout
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.protocols import MapEncoder, Selector, parts_of
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.paper.nn import center_crop as middle
from foveal.paper.nn.anchors import LEVELS, anchors
from foveal.patches import extract

Join = Callable[[Tensor, Tensor], Tensor]


def mean(parts: Float[Tensor, "B K D"], whole: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """The average part and the whole, added: the paper's better variant."""
    return parts.mean(dim=1) + whole


def concat(parts: Float[Tensor, "B K D"], whole: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
    """All parts and then the whole, side by side; E = (K + 1) D."""
    return torch.cat((parts.flatten(1), whole), dim=1)


class NTSTopK(nn.Module):
    """The paper's model for fine-grained classes.

    Departures from its released code: pixels are standardised as ImageNet's, as published weights
    expect; slots are in index order. By default the gradient is exact, the selection hard and
    dropout off in evaluation, and the network's stem has its ReLU; see `as_published` of
    `foveal.paper.recipes.birds` for how all of this is undone.

    Args:
        encoder: of the whole image and of the parts, with a map of stride 32.
        scorer: map (B, D, h, w) -> raw scores (B, N) of `foveal.paper.nn.anchors`.
        select: normalised scores (B, N) -> Selection, with `k`; see `foveal.nn.selectors.TopK`.
        join: (parts (B, K, D), whole (B, D)) -> (B, E): `mean` or `concat`.
        classes: number of classes.
        whole: (h, w) that every image is resampled to, its aspect ignored.
        size: (h, w) of the middle of that, which is all the model sees.
        patch: (h, w) that every part is resampled to.
        dropout: chance, in [0, 1), on the features of whole and parts.
        dropout_in_evaluation: drop in evaluation, too, as the paper's code does by mistake; see
            `foveal.nn.layers.LastingDropout` for what is dropped then.
        channels: of the images.
        normalise: raw scores -> scores in units that sigma is given in.

    Raises:
        ValueError: the map has another stride, the middle does not fit into the whole, or there are
            fewer windows than slots.

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
        join: Join,
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
        self.join, self.normalise = join, normalise
        self.whole, self.size, self.patch, self.channels = whole, size, patch, channels
        self.register_buffer("anchors", anchors(size), persistent=False)
        middle.corner(whole, size)
        check(encoder, select.k, len(self.anchors))
        self.dropout, self.part_dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        if dropout_in_evaluation:
            self.dropout = LastingDropout(dropout)
            self.part_dropout = LastingDropout(dropout, seed=1)
        features = encoder.features
        width = join(torch.zeros(1, select.k, features), torch.zeros(1, features)).shape[1]
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
        view = middle.views(each, self.whole, self.size, self.anchors.device)  # (B, C, H, W)
        maps = self.encoder.maps(view)  # (B, D, h, w)
        whole = self.dropout(maps.mean(dim=(2, 3)))  # (B, D)

        scores = self.scorer(maps.detach())  # (B, N)
        selection = self.select(self.normalise(scores))  # (B, M), (B, K, M)
        patches = extract(view, self.anchors, selection, self.patch)  # (B, K, C, h, w)
        looks = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.encoder(looks).view(*patches.shape[:2], -1)
        parts = self.part_dropout(features)  # (B, K, D)

        return PartsPrediction(
            logits=self.head(self.join(parts, whole)),
            whole_logits=self.whole_head(whole),
            part_logits=self.part_head(parts),
            scores=scores,
            windows=middle.in_images(self.anchors, [i.size for i in each], self.whole, self.size),
            selection=selection,
            patches=patches,
        )


def check(encoder: MapEncoder, k: int, windows: int) -> None:
    """Raise an error that names the values unless the parts fit each other."""
    if encoder.stride != LEVELS[0].stride:
        raise ValueError(
            f"the encoder's map must have cells {LEVELS[0].stride} px apart, as the windows have: "
            f"got {encoder.stride}; choose another stage of it"
        )
    if k > windows:
        raise ValueError(
            f"k must not exceed the number of windows: got k={k} for {windows} windows; choose a "
            "smaller k or a larger size"
        )
