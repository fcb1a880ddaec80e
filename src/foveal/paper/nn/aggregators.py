"""The transformer of the paper's code, errors included; see `foveal.nn.aggregators`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.paper.nn.dropout import LastingDropout
from foveal.topk import Selection


class PublishedTransformer(nn.Module):
    """`foveal.nn.aggregators.Transformer` that drops in evaluation too, as the paper's code does by
    mistake; see `LastingDropout` for what is dropped then.

    Args:
        features: D of the encoder.
        position: module from (selection, centres) to (B, K, features): the paper's is
            `TablePosition`.
        width: width of the layers.
        num_layers: number of layers.
        heads: number of attention heads; divides the width.
        dropout: probability, in [0, 1).

    References:
        Cordonnier et al., CVPR 2021: its released code.
    """

    def __init__(
        self,
        features: int,
        position: nn.Module,
        *,
        width: int = 256,
        num_layers: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.features, self.position = features, position
        self.width, self.num_layers, self.heads = width, num_layers, heads
        self.dropout = dropout
        self.project = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            2 * width,
            dropout,
            # with nn.functional.relu, evaluation takes a fast path that knows no dropout
            activation=torch.relu,
            layer_norm_eps=1e-6,
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        for number, each in enumerate(self.layers.layers):
            each.self_attn.dropout = each.dropout.p = 0.0
            each.dropout1 = LastingDropout(dropout, seed=2 * number)
            each.dropout2 = LastingDropout(dropout, seed=2 * number + 1)

    def forward(
        self,
        features: Float[Tensor, "B K D"],
        selection: Selection,
        centres: Float[Tensor, "*B N 2"],
    ) -> Float[Tensor, "B E"]:
        """Combine the patches."""
        tokens = self.project(features + self.position(selection, centres))
        joined: Tensor = self.layers(tokens)
        return joined.sum(dim=1)


class TablePosition(nn.Module):
    """The paper's position encoding: a learned vector per candidate, mixed by the slot's weights.

    The same as a dense layer on the slots' rows of N weights, in the time and memory of the M
    active candidates.

    Args:
        candidates: N; the model then works on this grid alone.
        features: D of the result.
    """

    def __init__(self, candidates: int, features: int) -> None:
        super().__init__()
        self.candidates, self.features = candidates, features
        self.table = nn.Parameter(torch.empty(candidates, features))
        self.bias = nn.Parameter(torch.zeros(features))
        nn.init.normal_(self.table, std=features**-0.5)

    def forward(
        self, selection: Selection, centres: Float[Tensor, "*B N 2"]
    ) -> Float[Tensor, "B K D"]:
        """Mix the vectors of each slot's candidates."""
        return selection.expected(self.table) + self.bias
