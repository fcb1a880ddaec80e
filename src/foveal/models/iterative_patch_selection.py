"""Iterative patch selection: every patch is seen at full resolution, a few at a time, and the best
are kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal.images import Image, Images, sources
from foveal.nn.cross_attention import CrossAttention, attention
from foveal.nn.protocols import Encoder
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection, hard
from foveal.windows import by_image_size, regular, relative_centres


class IterativePatchSelection(nn.Module):
    """Classify images by the patches that the aggregator itself attends to most.

    All N patches of a regular grid pass by, `at_once` together, encoded in evaluation mode and
    without gradient. Those just seen compete for the aggregator's attention with the k kept so far,
    and the best k are kept. Only these are then encoded with gradient and joined. Memory is that of
    `at_once` patches, then of k with gradient, whatever N; time is that of encoding all of them.

    The scores are the attention that each patch has among all N. With one head and one query the
    choice is exactly their Top-K; with several, a share also depends on which others are seen with
    it, and so may the choice.

    The k here is M in the paper, and `at_once` is I. The paper's code shuffles the patches so that
    equal scores favour none; here the first of equals is kept, and an answer repeats itself.

    Args:
        encoder: patches (B, C, h, w) -> features (B, D), with `features` = D.
        aggregate: joins the k patches, and says which it attends to.
        classes: number of classes.
        grid: (rows, columns) of windows laid evenly over an image, whatever its size: N in all.
            They leave gaps where an image is larger than the grid times the patch.
        patch: (h, w) of a patch, in pixels of the full-resolution image.
        k: how many patches are kept.
        at_once: how many are encoded together while choosing.
        channels: of the images.

    Raises:
        ValueError: k or `at_once` lies outside its range.

    References:
        Bergner et al., Iterative Patch Selection for High-Resolution Image Recognition, ICLR 2023.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        aggregate: CrossAttention,
        classes: int,
        grid: tuple[int, int],
        patch: tuple[int, int],
        k: int = 10,
        at_once: int = 32,
        channels: int = 3,
    ) -> None:
        super().__init__()
        n = grid[0] * grid[1]
        if not 1 <= k <= n:
            raise ValueError(f"k must lie in 1..N: got k={k} for {grid[0]} x {grid[1]} windows")
        if at_once < 1:
            raise ValueError(f"at_once must be 1 or more: got {at_once}")
        self.encoder, self.aggregate = encoder, aggregate
        self.grid, self.patch, self.k, self.at_once = grid, patch, k, at_once
        self.channels = channels
        self.head = nn.Linear(aggregate.queries.numel(), classes)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        whole = sources(images, self.channels)
        place = partial(regular, grid_size=self.grid, patch_size=self.patch)
        sizes = [image.size for image in whole]
        windows = by_image_size(sizes, place).to(self.head.weight.device)  # (N, 4) or (B, N, 4)
        centres = relative_centres(windows, sizes)

        selection, scores = self._select(whole, windows, centres)  # (B, k), (B, N)
        patches = extract(whole, windows, selection, self.patch)  # (B, k, C, h, w)
        features = self._encoded(patches)  # (B, k, D)
        logits = self.head(self.aggregate(features, selection, centres))
        return Prediction(
            logits=logits, scores=scores, windows=windows, selection=selection, patches=patches
        )

    @torch.no_grad()
    def _select(
        self,
        images: Sequence[Image],
        windows: Int[Tensor, "*B N 4"],
        centres: Float[Tensor, "*B N 2"],
    ) -> tuple[Selection, Float[Tensor, "B N"]]:
        """The k patches that were left at the end, and the attention of each among all N."""
        batch, n = len(images), windows.shape[-2]
        numbers = torch.arange(n, device=windows.device).expand(batch, n)
        kept = numbers[:, :0]
        affinities = self.head.weight.new_empty(batch, self.aggregate.rows, n)  # (B, L, N)
        with _predicting(self):
            for new in torch.split(numbers, self.at_once, dim=1):  # (B, at_once)
                looks = self._looking_at(new)
                features = self._encoded(extract(images, windows, looks, self.patch))
                affinities[..., new[0]] = self.aggregate.affinity(features, looks, centres).to(
                    affinities.dtype
                )
                kept = torch.cat((kept, new), dim=1)  # (B, k + at_once), ascending
                index = kept[:, None].expand(-1, self.aggregate.rows, -1)
                shares = attention(affinities.gather(2, index))
                best = hard(shares, min(self.k, kept.shape[1])).candidates
                kept = kept.gather(1, best)
        return self._looking_at(kept), attention(affinities)

    def _encoded(self, patches: Float[Tensor, "B K C h w"]) -> Float[Tensor, "B K D"]:
        looks = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.encoder(looks)
        return features.reshape(*patches.shape[:2], -1)

    def _looking_at(self, numbers: Int[Tensor, "B K"]) -> Selection:
        """A hard selection of the windows of these numbers."""
        weight = self.head.weight
        one_hot = torch.eye(numbers.shape[1], dtype=weight.dtype, device=weight.device)
        return Selection(numbers, one_hot.repeat(len(numbers), 1, 1))


@contextmanager
def _predicting(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; every part's own mode is restored afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
