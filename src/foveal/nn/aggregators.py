"""Aggregators: from the features of K patches (B, K, D) to one vector per image (B, E).

All are called with the features, the selection and the centres of the candidates: (y, x) as shares
of the image's height and width, (N, 2) or (B, N, 2). Those that do not use positions ignore the
last two.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal._precision import full_precision
from foveal.nn.layers import Pool, pool_over
from foveal.topk import Selection


def mean(
    features: Float[Tensor, "B K D"], selection: Selection, centres: Float[Tensor, "*B N 2"]
) -> Float[Tensor, "B D"]:
    """Average over the patches."""
    return features.mean(dim=1)


def max(
    features: Float[Tensor, "B K D"], selection: Selection, centres: Float[Tensor, "*B N 2"]
) -> Float[Tensor, "B D"]:
    """Take the largest value of each feature over the patches: one good patch suffices."""
    return features.amax(dim=1)


def concat(
    features: Float[Tensor, "B K D"], selection: Selection, centres: Float[Tensor, "*B N 2"]
) -> Float[Tensor, "B E"]:
    """Put the patches side by side, in the order of the slots; E = K D."""
    return features.flatten(1)


class Vote(nn.Module):
    """Classify every patch by itself; an image's logits are a smooth maximum of its patches'.

        logits_c = log( mean_k exp(s votes_kc) ) / s,    s > 0 is learned

    A large s takes the patch that is surest, for things that are in one place; a small one takes
    the mean, for things that are counted. What every patch says can be read off, so a patch is
    known to be evidence as soon as the encoder can read it.

    For a class that means "nothing here" no patch is evidence: its votes are 0, and it wins where
    no patch votes for another class. Which class that is may be known only later: set `nothing`
    to its number; it is stored with the weights.

    Args:
        features: D of the encoder.
        classes: number of classes.
        dropout: probability of a feature, in [0, 1).

    References:
        Pinheiro & Collobert, From Image-level to Pixel-level Labeling with Convolutional Networks,
        CVPR 2015.
    """

    nothing: Int[Tensor, ""]

    def __init__(self, features: int, *, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.features, self.classes, self.dropout = features, classes, dropout
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.0)))
        self.register_buffer("nothing", torch.tensor(-1))  # -1: no class

    def votes(self, features: Float[Tensor, "B K D"]) -> Float[Tensor, "B K classes"]:
        """Return the logits of every patch."""
        with full_precision(features.device):
            votes: Tensor = self.layers(features)
        silent = torch.arange(self.classes, device=votes.device) == self.nothing
        return votes.masked_fill(silent, 0.0)

    def pool(self, votes: Float[Tensor, "B K classes"]) -> Float[Tensor, "B classes"]:
        """Return the logits of the images."""
        sharpness = self.log_sharpness.exp()
        total = torch.logsumexp(sharpness * votes, dim=1)
        return (total - math.log(votes.shape[1])) / sharpness

    def evidence(self, votes: Float[Tensor, "B K classes"]) -> Float[Tensor, "B K"]:
        """Return how much each patch has to say: its strongest vote above the mean of its votes.

        Where a class means "nothing here", it is the strongest vote for another class.
        """
        silent = torch.arange(self.classes, device=votes.device) == self.nothing
        if not silent.any():
            return votes.amax(dim=2) - votes.mean(dim=2)
        return votes.masked_fill(silent, -torch.inf).amax(dim=2)

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply all votes, and with them the logits of the images, by a positive factor."""
        for parameter in self.layers.parameters():
            parameter.mul_(factor)
        self.log_sharpness.sub_(math.log(factor))

    def forward(
        self,
        features: Float[Tensor, "B K D"],
        selection: Selection,
        centres: Float[Tensor, "*B N 2"],
    ) -> Float[Tensor, "B classes"]:
        """Return the logits of the images."""
        return self.pool(self.votes(features))


class Transformer(nn.Module):
    """Self-attention among the patches and their positions, then a reduction over the patches.

    As in the paper: post-norm layers, ReLU, feed-forward width twice the model's, dropout on what
    attention and feed-forward add and nowhere else, and a sum. Unlike in its code, dropout is off
    in evaluation.

    Args:
        features: D of the encoder.
        width: width of the layers.
        num_layers: number of layers.
        heads: number of attention heads; divides the width.
        dropout: probability, in [0, 1).
        norm_first: normalise before attention and feed-forward instead of after; learns sooner.
        pool: reduction over the patches (B, K, width): "sum", "mean" or "amax".
        position: module from (selection, centres) to (B, K, features); default: `FourierPosition`.

    References:
        Cordonnier et al., CVPR 2021, section 5.2; Vaswani et al., Attention Is All You Need, 2017.
    """

    def __init__(
        self,
        features: int,
        *,
        width: int = 256,
        num_layers: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        norm_first: bool = False,
        pool: Pool = "sum",
        position: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features, self.width, self.num_layers, self.heads = features, width, num_layers, heads
        self.dropout, self.norm_first, self.pool = dropout, norm_first, pool
        self.position = FourierPosition(features) if position is None else position
        self.project = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            2 * width,
            dropout,
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=norm_first,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        for each in self.layers.layers:
            each.self_attn.dropout = each.dropout.p = 0.0

    def forward(
        self,
        features: Float[Tensor, "B K D"],
        selection: Selection,
        centres: Float[Tensor, "*B N 2"],
    ) -> Float[Tensor, "B E"]:
        """Combine the patches."""
        tokens = self.project(features + self.position(selection, centres))
        joined: Tensor = self.layers(tokens)
        return pool_over(joined, self.pool, 1)


class FourierPosition(nn.Module):
    """Position of a slot: sines and cosines of its expected centre, projected to the features.

    It depends on positions, not on candidate numbers: it works for any grid and for images of
    differing sizes.

    Args:
        features: D of the result.
        octaves: number of wavelengths 2, 1, 1/2, ... of the image's side.

    References:
        Tancik et al., Fourier Features Let Networks Learn High Frequency Functions, NeurIPS 2020.
    """

    def __init__(self, features: int, *, octaves: int = 6) -> None:
        super().__init__()
        self.features, self.octaves = features, octaves
        self.project = nn.Linear(4 * octaves, features)

    def forward(
        self, selection: Selection, centres: Float[Tensor, "*B N 2"]
    ) -> Float[Tensor, "B K D"]:
        """Encode the expected centre of every slot."""
        place = selection.expected(centres)  # (B, K, 2)
        frequency = math.pi * 2.0 ** torch.arange(self.octaves, device=place.device)
        angle = (place[..., None] * frequency.to(place.dtype)).flatten(2)
        encoded: Tensor = self.project(torch.cat((angle.sin(), angle.cos()), dim=2))
        return encoded
