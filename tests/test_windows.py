import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from foveal import windows

sides = st.integers(1, 60)


@example(31, 1, 7, 1, 2, 1)
@given(sides, sides, st.integers(1, 8), st.integers(1, 8), sides, sides)
def test_regular_windows_have_the_patch_size_and_cover_the_grid(height, width, rows, columns, h, w):
    rows, columns = min(rows, height), min(columns, width)
    found = windows.regular((height, width), (rows, columns), (h, w))
    assert found.shape == (rows * columns, 4)
    assert (found[:, 2] - found[:, 0] == h).all()
    assert (found[:, 3] - found[:, 1] == w).all()
    # each window's middle is its cell's middle, but for rounding to whole pixels
    cell = torch.tensor([height / rows, width / columns], dtype=torch.float64)
    middle = windows.centres(found).view(rows, columns, 2)
    index = torch.stack(
        torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1
    )
    # (31 rows in 7 cells put a middle on 15.5 exactly: half a pixel, and the last bit of a float)
    assert ((middle - cell * (index + 0.5)).abs() <= 0.5 + 1e-9).all()


def test_windows_are_numbered_row_by_row():
    found = windows.regular((6, 8), (3, 4), (2, 2))
    assert found[1].tolist() == [0, 2, 2, 4]
    assert found[4].tolist() == [2, 0, 4, 2]


def test_the_papers_grid_is_the_one_of_its_code():
    # billiards: 30 x 30 cells of 33 px over 1000 px, patches of 100 px about 33 i + 17
    found = windows.paper((1000, 1000), (30, 30), (100, 100))
    assert windows.centres(found)[0].tolist() == [17.0, 17.0]
    assert windows.centres(found)[-1].tolist() == [29 * 33 + 17.0, 29 * 33 + 17.0]
    # traffic signs: 39 x 52 cells of 24 px, patches about 24 i + 12
    found = windows.paper((960, 1280), (39, 52), (100, 100))
    assert windows.centres(found)[53].tolist() == [36.0, 36.0]


def test_overlap_is_the_share_of_the_box_and_iou_of_the_union():
    window = torch.tensor([[0, 0, 4, 4]])
    box = torch.tensor([[0, 2, 4, 6], [1, 1, 3, 3], [4, 4, 6, 6]])
    assert windows.overlap(window, box).tolist() == [[0.5, 1.0, 0.0]]
    assert windows.iou(window, box)[0].tolist() == pytest.approx([8 / 24, 4 / 16, 0.0])
    assert windows.hits(window, box).tolist() == [[True, True, False]]
    assert windows.hits(window, box, share=0.6).tolist() == [[False, True, False]]


def test_a_box_without_area_is_covered_by_nothing():
    assert windows.overlap(torch.tensor([[0, 0, 4, 4]]), torch.tensor([[2, 2, 2, 3]])).item() == 0


@pytest.mark.parametrize(
    ("image", "grid", "patch", "words"),
    [
        ((0, 4), (1, 1), (1, 1), "sizes must be positive"),
        ((4, 4), (1, 1), (1, 0), "sizes must be positive"),
        ((4, 4), (5, 1), (1, 1), "more cells than pixels"),
    ],
)
def test_impossible_grids_are_refused_with_their_numbers(image, grid, patch, words):
    with pytest.raises(ValueError, match=words):
        windows.regular(image, grid, patch)
