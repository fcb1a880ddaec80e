"""A classifier of strips: encoder and votes, without a scorer."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal.images import Image, Images, sources
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import encode
from foveal.nn.protocols import Encoder, parts_of
from foveal.phases.strips import strip_windows
from foveal.prediction import Prediction
from foveal.settings import Precision
from foveal.topk import Selection


class Reader(nn.Module):
    """Classify strips (C, Q S, S) by the votes of their windows.

    In the terms of the other models: the windows of a strip are the candidates, the evidence in
    their votes are the scores, and the one slot looks at the window of most evidence.

    Args:
        encoder: patches (B, C, P, P) -> features (B, D).
        vote: classifies every patch.
        patch: P in pixels; of wider windows the middle is used.
        channels: of the images.
        precision: that the encoder computes with in `foveal.phases.reading.features_of`.
    """

    def __init__(
        self,
        encoder: Encoder,
        vote: Vote,
        *,
        patch: int,
        channels: int = 3,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.encoder, self.vote, self.patch, self.channels = encoder, vote, patch, channels
        self.precision = precision

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(encoder=self.encoder)

    def votes(self, patches: Float[Tensor, "B Q C P P"]) -> Float[Tensor, "B Q classes"]:
        """Return the logits of every patch."""
        return self.vote.votes(encode(self.encoder, patches))

    def forward(self, images: Images) -> Prediction:
        """Classify strips of one size."""
        strips = sources(images, self.channels)
        patches = self.patches(strips)
        votes = self.votes(patches)
        scores = self.vote.evidence(votes)
        side = strips[0].size[1]
        top = torch.arange(patches.shape[1], device=votes.device) * side
        left = torch.zeros_like(top)
        best = scores.argmax(dim=1, keepdim=True)
        return Prediction(
            logits=self.vote.pool(votes),
            scores=scores,
            windows=torch.stack((top, left, top + side, left + side), dim=1),
            selection=Selection.one_hot(best, votes.dtype),
            patches=patches[torch.arange(len(patches)), best[:, 0]][:, None],
        )

    def patches(self, strips: Sequence[Image]) -> Float[Tensor, "B Q C P P"]:
        """Return the middles of the windows of strips of one size, on the reader's device."""
        margin = (strips[0].size[1] - self.patch) // 2
        inner = slice(margin, margin + self.patch)
        whole = [strip_windows(strip.crops(_whole(strip), strip.size)[0]) for strip in strips]
        return torch.stack([windows[:, :, inner, inner] for windows in whole]).to(
            self.vote.log_sharpness.device
        )


def _whole(image: Image) -> Int[Tensor, "1 4"]:
    return torch.tensor([[0, 0, *image.size]])
