"""Law of the scorers' geometry: cell (i, j) looks where `offset` and `stride` say."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foveal.nn.alignment import cell_offset
from foveal.nn.scorers import BackboneScorer, ConvScorer
from foveal.paper.nn.scorers import TanhScorer, excited

# a family each, at the stage that scores and one beside it
NETWORKS = [
    ("resnet18", 2),
    ("test_byobnet", 1),
    ("mobilenetv3_small_050", 2),
    ("test_efficientnet", 2),
    ("tf_mobilenetv3_small_minimal_100", 2),
    ("test_convnext", 0),
    ("test_convnext", 1),
    ("swin_tiny_patch4_window7_224", 0),
    ("swin_tiny_patch4_window7_224", 1),
    ("test_vit", 1),
]
SCORERS: dict[str, Callable[[], nn.Module]] = {
    "ConvScorer": ConvScorer,
    "ConvScorer of pool 3": lambda: ConvScorer(pool=3),
    "ConvScorer with excitation": lambda: excited(ConvScorer(pool=4)),
    "TanhScorer": lambda: TanhScorer(3),
    **{f"{n}, stage {s}": lambda n=n, s=s: BackboneScorer(n, stage=s) for n, s in NETWORKS},
}


def energy(scorer: nn.Module, side: int, images: int) -> tuple[Tensor, int]:
    """Squared gradient (side, side) of the middle cell, summed over random images, and its row."""
    views = (0.5 + 0.2 * torch.randn(images, 3, side, side)).requires_grad_()
    scores = scorer(views)  # (B, rows, columns)
    cell = scores.shape[1] // 2
    (gradient,) = torch.autograd.grad(scores[:, cell, cell].sum(), views)
    return gradient.double().square().sum(dim=(0, 1)), cell


@pytest.mark.parametrize("name", SCORERS)
def test_a_cell_looks_where_its_scorer_says(name: str) -> None:
    # the gradient of random networks is centred there on average: no tap of a kernel is preferred
    shares: Tensor | float = 0.0
    for seed in range(6):
        torch.manual_seed(seed)
        scorer = SCORERS[name]().eval()
        side = 13 * scorer.stride + (12 if scorer.stride <= 4 else 0)
        found, cell = energy(scorer, side, 4 if hasattr(scorer, "network") else 16)
        shares = shares + found / found.sum() / 6
    where = torch.arange(side, dtype=torch.float64) + 0.5  # the middles of the pixels
    expected = scorer.offset + scorer.stride * cell
    errors = [abs(float(shares.sum(dim=axis) @ where) - expected) for axis in (0, 1)]
    # half a pixel for the grid of pixels, and an eighth of a cell: the noise of few random networks
    assert max(errors) <= max(0.5, scorer.stride / 8)


def test_the_offset_is_that_of_the_architecture_and_measured_without_a_trace() -> None:
    cell_offset.cache_clear()
    state = torch.get_rng_state()
    assert cell_offset("test_convnext", 1) == 4.0
    assert torch.equal(torch.get_rng_state(), state)
    for seed in range(2):
        cell_offset.cache_clear()
        torch.manual_seed(seed)
        assert BackboneScorer("test_resnet", stage=1).offset == 0.5
    # pools of 2 x 2 in the shortcuts shift one path of two by two pixels
    assert 0.5 <= cell_offset("test_resnet", 2) <= 2.5


def test_a_network_for_one_size_is_measured_at_its_own() -> None:
    assert cell_offset("test_vit_relpos", 1) == pytest.approx(8.0, abs=16 / 8)
