"""NTS-Net: the predecessor of NTS-Top-K, with a ranking loss in place of a gradient.

Parts are the best windows that do not overlap much. No gradient flows through the selection: the
scorer learns to rank parts by how well they are classified; see
`foveal.paper.objectives.ranked_parts`.
"""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor, nn

from foveal._precision import full_precision, widened
from foveal.images import Images, sources
from foveal.models.part_shapes import check_encoder
from foveal.nn.encoders import encode
from foveal.nn.protocols import MapEncoder, parts_of
from foveal.paper.models.nts_topk import check_parts, concat
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.paper.nn import center_crop
from foveal.paper.nn.anchors import anchors
from foveal.patches import extract
from foveal.topk import Selection
from foveal.windows import nms


class NTSNet(nn.Module):
    """Navigator, teacher and scrutiniser.

    Differences from the released code: dropout is off in evaluation; in evaluation only the k parts
    that are classified are cut; parts are resampled with antialiasing and half-pixel centres.

    Args:
        encoder: encodes the whole image and the parts, with a feature map of stride 32.
        scorer: map (B, D, h, w) -> raw scores (B, N) of `foveal.paper.nn.anchors`.
        classes: number of classes.
        k: number of best parts, which are classified together with the whole.
        proposals: number of parts that the scorer learns to rank, the k best among them.
        overlap: intersection over union above which the lower of two windows is dropped.
        whole: (h, w) that every image is resampled to, its aspect ignored.
        size: (h, w) of the center crop of that, which is all the model sees.
        patch: (h, w) that every part is resampled to.
        dropout: probability, in [0, 1), on the features of whole and parts; off in evaluation.
        channels: channels of the images.

    Raises:
        ValueError: the encoder cannot take the images or has another stride, the crop does not fit
            into the whole, there are fewer windows than proposals, or fewer proposals than k.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018.
    """

    anchors: Tensor

    def __init__(
        self,
        *,
        encoder: MapEncoder,
        scorer: Callable[[Tensor], Tensor],
        classes: int,
        k: int = 4,
        proposals: int = 6,
        overlap: float = 0.25,
        whole: tuple[int, int] = (600, 600),
        size: tuple[int, int] = (448, 448),
        patch: tuple[int, int] = (224, 224),
        dropout: float = 0.5,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if not 1 <= k <= proposals:
            raise ValueError(f"k must lie in 1..proposals: got k={k}, proposals={proposals}")
        self.encoder, self.scorer, self.classes = encoder, scorer, classes
        self.k, self.proposals, self.overlap = k, proposals, overlap
        self.whole, self.size, self.patch, self.channels = whole, size, patch, channels
        self.register_buffer("anchors", anchors(size), persistent=False)
        center_crop.corner(whole, size)
        check_parts(encoder, proposals, len(self.anchors))
        check_encoder(encoder, channels, patch)
        self.dropout = dropout
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear((k + 1) * encoder.features, classes)
        self.whole_head = nn.Linear(encoder.features, classes)
        self.part_head = nn.Linear(encoder.features, classes)

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
        selection = self._best(scores.detach())  # (B, P), (B, P, P)
        patches = extract(view, self.anchors, selection, self.patch)  # (B, P, C, h, w)
        parts = self.drop(encode(self.encoder, patches))  # (B, P, D)

        with full_precision(view.device):
            logits = self.head(concat(parts[:, : self.k], whole))
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

    def _best(self, scores: Float[Tensor, "B N"]) -> Selection:
        """A hard selection, best first: all proposals in training, else those classified."""
        count = self.proposals if self.training else self.k
        best = nms(self.anchors, scores, count, self.overlap)
        return Selection.one_hot(best, scores.dtype)
