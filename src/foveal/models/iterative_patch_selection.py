"""Iterative patch selection: every patch is seen at full resolution, a few at a time, and the best
are kept."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal._precision import forget_rounded, full_precision
from foveal.images import Image, Images, sources
from foveal.models.part_shapes import check_encoder
from foveal.nn.cross_attention import CrossAttention, attention
from foveal.nn.encoders import encode
from foveal.nn.modes import evaluation_mode
from foveal.nn.protocols import Encoder, parts_of
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection, hard
from foveal.windows import by_image_size, regular, relative_centres


class IterativePatchSelection(nn.Module):
    """Classify images by the patches that the aggregator itself attends to most.

    All N patches of a regular grid are encoded, `at_once` together, in evaluation mode and without
    gradient. Each group competes for the aggregator's attention with the k kept so far, and the
    best k are kept. Only these are then encoded with gradient and aggregated. Memory is that of
    `at_once` patches, then of k with gradient, whatever N; time is that of encoding all of them.

    The scores are the attention that each patch has among all N. With one head and one query the
    selection is exactly their Top-K; with several, a patch's share also depends on the others of
    its group, and so may the selection.

    The k here is M in the paper, and `at_once` is I. The paper's code shuffles the patches so that
    equal scores favour none; here the first of equals is kept, and a prediction repeats itself.

    Args:
        encoder: patches (B, C, h, w) -> features (B, D), with `features` = D.
        aggregate: combines the k patches, and gives their attention.
        classes: number of classes.
        grid: (rows, columns) of windows laid evenly over an image, whatever its size: N in all.
            They leave gaps where an image is larger than the grid times the patch.
        patch: (h, w) of a patch, in pixels of the full-resolution image.
        k: number of patches that are kept.
        at_once: number of patches that are encoded together during the selection.
        channels: channels of the images.

    Raises:
        ValueError: k or `at_once` lies outside its range, or the encoder cannot take the patches.

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
        self.encoder, self.aggregate, self.classes = encoder, aggregate, classes
        self.grid, self.patch, self.k, self.at_once = grid, patch, k, at_once
        self.channels = channels
        check_encoder(encoder, channels, patch)
        self.head = nn.Linear(aggregate.queries.numel(), classes)

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        whole = sources(images, self.channels)
        place = partial(regular, grid_size=self.grid, patch_size=self.patch)
        sizes = [image.size for image in whole]
        device = self.head.weight.device
        windows = by_image_size(sizes, place).to(device)  # (N, 4) or (B, N, 4)
        centres = relative_centres(windows, sizes)

        selection, scores = self._select(whole, windows, centres)  # (B, k), (B, N)
        forget_rounded(device)
        patches = extract(whole, windows, selection, self.patch)  # (B, k, C, h, w)
        features = encode(self.encoder, patches)  # (B, k, D)
        with full_precision(device):
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
        """The k patches that are left at the end, and the attention of each among all N."""
        batch, n = len(images), windows.shape[-2]
        weight = self.head.weight
        numbers = torch.arange(n, device=windows.device).expand(batch, n)
        kept = numbers[:, :0]
        affinities = weight.new_empty(batch, self.aggregate.rows, n)  # (B, L, N)
        with evaluation_mode(self):
            for new in torch.split(numbers, self.at_once, dim=1):  # (B, at_once)
                group = Selection.one_hot(new, weight.dtype)
                patches = extract(images, windows, group, self.patch)
                features = encode(self.encoder, patches)  # (B, at_once, D)
                with full_precision(features.device):
                    found = self.aggregate.affinity(features, group, centres)
                affinities[..., new[0]] = found.to(weight.dtype)
                kept = torch.cat((kept, new), dim=1)  # (B, k + at_once), ascending
                index = kept[:, None].expand(-1, self.aggregate.rows, -1)
                shares = attention(affinities.gather(2, index))
                best = hard(shares, min(self.k, kept.shape[1])).candidates
                kept = kept.gather(1, best)
        return Selection.one_hot(kept, weight.dtype), attention(affinities)
