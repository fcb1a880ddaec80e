"""Large views are scored in strips: with the scores of one piece, from bounded memory."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.nn import receptive_field as strips
from foveal.nn import scorers as all_scorers
from foveal.nn.receptive_field import Reach, cell_reach, in_strips
from foveal.nn.scorers import BackboneScorer, ConvScorer
from foveal.proposals import Trunk

ROUNDING = 2e-5  # of float32 convolutions of other sizes, relative to the largest score
SCORERS: dict[str, Callable[[], nn.Module]] = {
    "ConvScorer": ConvScorer,
    "ConvScorer of pool 3": lambda: ConvScorer(pool=3),
    "residual": lambda: BackboneScorer("test_resnet", stage=1),
    "padded on one side": lambda: BackboneScorer("tf_mobilenetv3_small_minimal_100", stage=1),
    "tiles": lambda: BackboneScorer("test_convnext", stage=1),
}


@pytest.fixture(params=SCORERS)
def scorer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return SCORERS[request.param]().eval()


def seen_sides(monkeypatch: pytest.MonkeyPatch, scorer: nn.Module) -> list[int]:
    """Pixels of everything that the scorer's network is given from now on."""
    seen: list[int] = []
    network = scorer.network if isinstance(scorer, BackboneScorer) else scorer.layers
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0].numel()))
    return seen


@pytest.mark.parametrize(("height", "width"), [(333, 64), (512, 40), (401, 77)])
def test_scores_in_strips_are_those_of_one_piece(
    scorer: nn.Module, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = torch.rand(2, 3, height, width)
    with torch.no_grad():
        expected = scorer(views)
        for pixels in (1, 100 * width, 250 * width):
            for module in (strips, all_scorers):
                monkeypatch.setattr(module, "LARGE", pixels)
            seen = seen_sides(monkeypatch, scorer)
            found = scorer(views)
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= ROUNDING * expected.abs().max().clamp(min=1)
            assert len(seen) > 2
            assert max(seen) < height * width


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(20, 120),
    stride=st.sampled_from([1, 2, 4]),
    kernel=st.sampled_from([1, 3, 5]),
    rows=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_strips_of_any_height_make_the_whole(
    height: int, stride: int, kernel: int, rows: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 9, (2, 1, height, 6), generator=generator).double()
    weight = torch.randint(-3, 4, (2, 1, kernel, kernel), generator=generator).double()

    def maps(x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, weight, stride=stride, padding=kernel // 2)

    reach = Reach(kernel // 2, kernel // 2 + 1)
    limit, strips.LARGE = strips.LARGE, 6 * (rows * stride + sum(reach))
    try:
        found = in_strips(maps, images, stride=stride, reach=reach)
    finally:
        strips.LARGE = limit
    assert torch.equal(found, maps(images))  # whole numbers: nothing is rounded


@pytest.mark.parametrize(
    "name", ["test_vit", "mobilenetv3_small_050", "swin_tiny_patch4_window7_224"]
)
def test_networks_whose_cells_see_everything_or_know_their_place_have_no_reach(name: str) -> None:
    assert cell_reach(name, 1) is None


def test_the_reach_of_a_residual_network_is_that_of_its_convolutions() -> None:
    # the stem sees 7 pixels and with its pooling 11; four convolutions at a stride of 4 add 8
    # each, the one that makes it 8 another 8, and three behind it 16 each: 99 in all
    assert cell_reach("resnet18", 2) == Reach(50, 50)


def test_a_view_is_scored_in_one_piece_while_its_network_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (strips, all_scorers):
        monkeypatch.setattr(module, "LARGE", 1)
    for make in (SCORERS["ConvScorer"], SCORERS["residual"]):
        scorer = make().train()
        seen = seen_sides(monkeypatch, scorer)
        scorer(torch.rand(2, 3, 333, 64))
        assert seen == [333 * 64]
    frozen = BackboneScorer("test_resnet", stage=1, frozen=True).train()
    seen = seen_sides(monkeypatch, frozen)
    frozen(torch.rand(2, 3, 333, 64)).sum().backward()
    assert len(seen) > 2
    assert all(p.grad is not None for p in frozen.score.parameters())


def test_a_trunk_and_a_scorer_agree_on_the_reach() -> None:
    scorer = BackboneScorer("test_resnet", stage=1)
    trunk = Trunk(scorer.network, mean=scorer.mean, deviation=scorer.std)
    reach = cell_reach("test_resnet", 1)
    assert reach is not None
    assert trunk.reach == reach.before == reach.after
