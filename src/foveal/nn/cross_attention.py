"""Cross-attention: learned queries read the features of K patches (B, K, D); the attention says
which patches mattered."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.topk import Selection


class CrossAttention(nn.Module):
    """Aggregator: learned query tokens attend to the patches, then a feed-forward layer.

        share(h, q, j) = softmax_j(<query_q, key_j>_h / sqrt(D / heads)),  h one of the heads

    Time and memory are linear in the number of patches. Norms come after the sums; dropout, also
    that of the attention, is off in evaluation.

    Args:
        features: D of the encoder.
        num_queries: number Q of learned tokens; the result has a vector of each, side by side.
        heads: number of attention heads; divides the features.
        hidden: width of the feed-forward layer; default: 4 D.
        dropout: probability, in [0, 1).
        position: module from (selection, centres) to (B, K, D), added to the features;
            `foveal.nn.aggregators.FourierPosition` for instance. None: positions do not matter.

    Raises:
        ValueError: the heads do not divide the features.

    References:
        Bergner et al., Iterative Patch Selection, ICLR 2023.
    """

    def __init__(
        self,
        features: int,
        *,
        num_queries: int = 1,
        heads: int = 8,
        hidden: int | None = None,
        dropout: float = 0.1,
        position: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if features % heads:
            raise ValueError(f"heads must divide the features: got {heads} for {features} features")
        hidden = 4 * features if hidden is None else hidden
        bound = (heads / features) ** 0.5
        self.features, self.num_queries, self.heads = features, num_queries, heads
        self.hidden, self.dropout, self.position = hidden, dropout, position
        self.rows = heads * num_queries
        self.queries = nn.Parameter(torch.empty(num_queries, features).uniform_(-bound, bound))
        self.ask = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)
        self.value = nn.Linear(features, features, bias=False)
        self.join = nn.Linear(features, features, bias=False)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.feed_forward = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features), nn.Dropout(dropout)
        )
        self.last_norm = nn.LayerNorm(features, eps=1e-6)

    def forward(
        self,
        features: Float[Tensor, "B K D"],
        selection: Selection,
        centres: Float[Tensor, "*B N 2"],
    ) -> Float[Tensor, "B E"]:
        """Combine the patches; E = Q D."""
        tokens = self._tokens(features, selection, centres)
        shares = self.drop(torch.softmax(self._affinity(tokens), dim=-1))  # (B, heads, Q, K)
        read = shares @ self._by_head(self.value(tokens))  # (B, heads, Q, D / heads)
        read = self.drop(self.join(read.transpose(1, 2).flatten(2)))  # (B, Q, D)
        read = self.norm(self.queries + read)
        joined: Tensor = self.last_norm(read + self.feed_forward(read))
        return joined.flatten(1)

    def affinity(
        self,
        features: Float[Tensor, "B K D"],
        selection: Selection,
        centres: Float[Tensor, "*B N 2"],
    ) -> Float[Tensor, "B L K"]:
        """Return what the softmax is taken of, for every head and query; L = heads x Q, `rows`.

        That of a patch does not depend on the others: it can be computed group by group.
        """
        return self._affinity(self._tokens(features, selection, centres)).flatten(1, 2)

    def _tokens(self, features: Tensor, selection: Selection, centres: Tensor) -> Tensor:
        if self.position is None:
            return features
        placed: Tensor = features + self.position(selection, centres)
        return placed

    def _affinity(self, tokens: Float[Tensor, "B K D"]) -> Float[Tensor, "B heads Q K"]:
        queries = self._by_head(self.ask(self.queries)[None])  # (1, heads, Q, D / heads)
        keys = self._by_head(self.key(tokens))  # (B, heads, K, D / heads)
        affinity: Tensor = queries @ keys.mT / keys.shape[-1] ** 0.5
        return affinity

    def _by_head(self, tokens: Float[Tensor, "B K D"]) -> Float[Tensor, "B heads K d"]:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def attention(affinity: Float[Tensor, "B L K"]) -> Float[Tensor, "B K"]:
    """Return each patch's share of the attention, averaged over heads and queries.

    Returns:
        Nonnegative; rows sum to one.
    """
    return torch.softmax(affinity, dim=2).mean(dim=1)
