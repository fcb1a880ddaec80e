"""NTS-Net: the model that NTS-Top-K was made from, with a ranking loss in place of a gradient.

Parts are the best windows that do not overlap much. No gradient flows through the choice: the
scorer learns to rank parts by how well they are classified; see
`foveal.paper.objectives.ranked_parts`.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.images import Images, sources
from foveal.nn.protocols import MapEncoder, parts_of
from foveal.paper.models.nts_topk import check, concat
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.paper.nn import center_crop as middle
from foveal.paper.nn.anchors import anchors
from foveal.patches import extract
from foveal.topk import Selection
from foveal.windows import nms


class NTSNet(nn.Module):
    """Navigator, teacher and scrutiniser.

    Departures from the released code: dropout is off in evaluation; in evaluation only the k parts
    that the answer is made from are cut; parts are resampled with antialiasing and half-pixel
    centres.

    Args:
        encoder: of the whole image and of the parts, with a map of stride 32.
        scorer: map (B, D, h, w) -> raw scores (B, N) of `foveal.paper.nn.anchors`.
        classes: number of classes.
        k: the best parts, whose features the answer is made from, with those of the whole.
        proposals: parts that the scorer learns to rank, the k best among them.
        overlap: intersection over union from which on the lower of two windows is passed over.
        whole: (h, w) that every image is resampled to, its aspect ignored.
        size: (h, w) of the middle of that, which is all the model sees.
        patch: (h, w) that every part is resampled to.
        dropout: chance, in [0, 1), on the features of whole and parts; off in evaluation.
        channels: of the images.

    Raises:
        ValueError: the map has another stride, the middle does not fit into the whole, there are
            fewer windows than proposals, or fewer proposals than k.

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
        self.encoder, self.scorer = encoder, scorer
        self.k, self.proposals, self.overlap = k, proposals, overlap
        self.whole, self.size, self.patch, self.channels = whole, size, patch, channels
        self.register_buffer("anchors", anchors(size), persistent=False)
        middle.corner(whole, size)
        check(encoder, proposals, len(self.anchors))
        self.dropout = nn.Dropout(dropout)
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
        view = middle.views(each, self.whole, self.size, self.anchors.device)  # (B, C, H, W)
        maps = self.encoder.maps(view)  # (B, D, h, w)
        whole = self.dropout(maps.mean(dim=(2, 3)))  # (B, D)

        scores = self.scorer(maps.detach())  # (B, N)
        selection = self._best(scores.detach())  # (B, P), (B, P, P)
        patches = extract(view, self.anchors, selection, self.patch)  # (B, P, C, h, w)
        looks = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        parts = self.dropout(self.encoder(looks)).view(*patches.shape[:2], -1)  # (B, P, D)

        return PartsPrediction(
            logits=self.head(concat(parts[:, : self.k], whole)),
            whole_logits=self.whole_head(whole),
            part_logits=self.part_head(parts),
            scores=scores,
            windows=middle.in_images(self.anchors, [i.size for i in each], self.whole, self.size),
            selection=selection,
            patches=patches,
        )

    def _best(self, scores: Float[Tensor, "B N"]) -> Selection:
        """A hard selection, best first; only what the answer needs where nothing is to learn."""
        count = self.proposals if self.training else self.k
        best = nms(self.anchors, scores, count, self.overlap)
        one_hot = torch.eye(count, dtype=scores.dtype, device=scores.device)
        return Selection(best, one_hot.repeat(len(best), 1, 1))
