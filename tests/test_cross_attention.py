"""Laws of cross-attention."""

import math

import pytest
import torch

from foveal.nn.aggregators import FourierPosition
from foveal.nn.cross_attention import CrossAttention, attention
from foveal.topk import Selection, hard


def made(**settings: object) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(8, **{"num_queries": 2, "heads": 4, **settings}).double().eval()


def arguments(k: int = 3) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    features = torch.randn(2, k, 8, generator=random, dtype=torch.float64)
    selection = hard(torch.rand(2, 9, generator=random, dtype=torch.float64), k)
    return features, selection, torch.rand(9, 2, generator=random, dtype=torch.float64)


def shares(net: CrossAttention, features: torch.Tensor) -> list:
    """Softmax of scaled dot products, image by image, head by head and query by query."""
    found = []
    for tokens in features:
        heads = []
        for h in range(4):
            part = slice(2 * h, 2 * h + 2)
            queries = [(net.ask.weight @ q)[part] for q in net.queries]
            keys = [(net.key.weight @ token)[part] for token in tokens]
            rows = [[float((q @ key).detach()) / math.sqrt(2) for key in keys] for q in queries]
            heads.append([[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in rows])
        found.append(heads)
    return found


def test_attention_is_the_mean_softmax_of_scaled_dot_products() -> None:
    net, (features, *where) = made(), arguments()
    expected = torch.tensor(shares(net, features), dtype=torch.float64).mean(dim=(1, 2))
    found = attention(net.affinity(features, *where))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_the_affinity_of_a_patch_does_not_depend_on_the_others() -> None:
    net, (features, selection, centres) = made(position=FourierPosition(8)), arguments()
    together = net.affinity(features, selection, centres)
    for j in range(3):
        alone = Selection(selection.candidates[:, j : j + 1], selection.weights[:, :1, :1])
        found = net.affinity(features[:, j : j + 1], alone, centres)
        torch.testing.assert_close(found, together[..., j : j + 1])


def test_the_result_is_what_the_queries_read_head_by_head() -> None:
    net, (features, *where) = made(), arguments()
    expected = []
    for tokens, heads in zip(features, shares(net, features), strict=True):
        for number, query in enumerate(net.queries):
            values = [net.value.weight @ token for token in tokens]
            read = sum(
                torch.cat([heads[h][number][j] * v[2 * h : 2 * h + 2] for h in range(4)])
                for j, v in enumerate(values)
            )
            normed = net.norm(query + net.join.weight @ read)
            expected.append(net.last_norm(normed + net.feed_forward(normed)))
    torch.testing.assert_close(net(features, *where), torch.stack(expected).view(2, 16))


def test_the_order_of_the_patches_does_not_matter_without_places() -> None:
    net, (features, *where) = made(), arguments()
    torch.testing.assert_close(net(features.flip(1), *where), net(features, *where))


def test_with_places_equal_patches_are_told_apart() -> None:
    net, (features, *where) = made(position=FourierPosition(8)), arguments()
    same = features[:, :1].expand(-1, 3, -1)
    spread = [attention(each.affinity(same, *where)).std(dim=1).min() for each in (net, made())]
    assert spread[0] > 1e-3
    assert spread[1] < 1e-12


def test_dropout_is_off_in_evaluation_alone() -> None:
    net, (features, *where) = made(dropout=0.5), arguments()
    assert torch.equal(net(features, *where), net(features, *where))
    net.train()
    assert not torch.equal(net(features, *where), net(features, *where))


def test_heads_that_do_not_divide_the_features_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 for 8 features"):
        made(heads=3)
