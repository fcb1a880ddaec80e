"""What is repeated in its image is less rare there than what is in it once or twice."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from foveal._seeding import derived_generator
from foveal.proposals.repeats import apart_of, rank_in_image, reach_of


def scene(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of a map, their places, and a rarity of each."""
    random = derived_generator(seed)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    cells = normalize(torch.randn(rows * columns, 8, generator=random), dim=1)
    return cells, places, torch.rand(rows * columns, generator=random)


def ranked(cells: Tensor, places: Tensor, rarity: Tensor, apart: int) -> Tensor:
    return rank_in_image(cells, places, rarity, cells, places, apart=apart)


def test_it_is_the_rarity_and_the_distance_to_the_third_nearest_elsewhere() -> None:
    cells, places, rarity = scene(9, 14)
    found = ranked(cells, places, rarity, 3)
    for i in range(len(cells)):
        elsewhere = [
            float(cells[i] @ cells[j])
            for j in range(len(cells))
            if max(abs(places[i] - places[j])) > 3
        ]
        third = sorted(elsewhere, reverse=True)[2]
        assert found[i] == pytest.approx(float(rarity[i]) + 1 - third, abs=1e-5)


@pytest.mark.parametrize(("copies", "first"), [(1, True), (2, True), (3, True), (4, False)])
def test_what_is_in_an_image_up_to_three_times_is_rare_there(copies: int, first: bool) -> None:
    cells, places, _ = scene(20, 20)
    thing = normalize(-cells.mean(dim=0), dim=0)
    others = normalize(cells + 4 * cells.mean(dim=0).sign(), dim=1)  # much like each other
    here = [0, 19, 380, 399][:copies]
    others[here] = thing
    found = ranked(others, places, torch.ones(len(cells)), apart=5)
    assert (set(found.topk(copies).indices.tolist()) == set(here)) == first


def test_where_nothing_is_elsewhere_the_order_is_that_of_rarity() -> None:
    cells, places, rarity = scene(5, 6)
    found = ranked(cells, places, rarity, apart=6)
    assert torch.equal(found.argsort(), rarity.argsort())
    assert torch.equal(ranked(cells[:2], places[:2], rarity[:2], apart=0), rarity[:2])


def test_the_middle_of_a_small_image_is_not_rare_for_being_in_the_middle() -> None:
    cells, places, _ = scene(11, 11)
    found = ranked(cells, places, torch.zeros(len(cells)), apart=5).view(11, 11)
    edge = torch.cat((found[0], found[-1], found[:, 0], found[:, -1]))
    assert edge.min() < found[5, 5] < edge.max()  # it has no cell elsewhere


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, places, rarity = scene(12, 12)
    whole = ranked(cells, places, rarity, 4)
    monkeypatch.setattr("foveal.proposals.repeats._CHUNK", 1000)
    torch.testing.assert_close(ranked(cells, places, rarity, 4), whole)


def test_elsewhere_is_beyond_a_patch() -> None:
    assert apart_of(reach_of((64, 64), 8)) == 8
    assert apart_of(reach_of((64, 128), 8)) == 8
    assert apart_of(reach_of((8, 8), 8)) == 4
