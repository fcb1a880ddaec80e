import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from foveal import windows
from foveal.paper.nn import anchors
from foveal.paper.nn.grids import cordonnier_grid

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
    found = cordonnier_grid((1000, 1000), (30, 30), (100, 100))
    assert windows.centres(found)[0].tolist() == [17.0, 17.0]
    assert windows.centres(found)[-1].tolist() == [29 * 33 + 17.0, 29 * 33 + 17.0]
    # traffic signs: 39 x 52 cells of 24 px, patches about 24 i + 12
    found = cordonnier_grid((960, 1280), (39, 52), (100, 100))
    assert windows.centres(found)[53].tolist() == [36.0, 36.0]


def test_overlap_is_the_share_of_the_box_and_iou_of_the_union():
    window = torch.tensor([[0, 0, 4, 4]])
    box = torch.tensor([[0, 2, 4, 6], [1, 1, 3, 3], [4, 4, 6, 6]])
    assert windows.coverage(window, box).tolist() == [[0.5, 1.0, 0.0]]
    assert windows.iou(window, box)[0].tolist() == pytest.approx([8 / 24, 4 / 16, 0.0])
    assert windows.covers(window, box).tolist() == [[True, True, False]]
    assert windows.covers(window, box, fraction=0.6).tolist() == [[False, True, False]]


def test_a_box_without_area_is_covered_by_nothing():
    assert windows.coverage(torch.tensor([[0, 0, 4, 4]]), torch.tensor([[2, 2, 2, 3]])).item() == 0


def test_anchors_are_those_of_the_released_code():
    # written down from the formulas: level, scale, aspect, row, column, in this order
    expected = []
    levels = ((32, 48, (1, 2), 14), (64, 96, (1, 2), 7), (128, 192, (0, 1, 2), 4))
    for stride, size, powers, cells in levels:
        for power in powers:
            for aspect in (0.667, 1, 1.5):
                h = math.floor(size * 2 ** (power / 3) / math.sqrt(aspect))
                w = math.floor(size * 2 ** (power / 3) * math.sqrt(aspect))
                above, before = math.ceil((h - stride) / 2), math.ceil((w - stride) / 2)
                for i in range(cells):
                    for j in range(cells):
                        top, left = i * stride - above, j * stride - before
                        expected.append([top, left, top + h, left + w])
    assert len(expected) == 1176 + 294 + 144
    assert anchors.anchors((448, 448)).tolist() == expected


@given(st.integers(1, 600), st.integers(1, 600))
def test_anchors_are_centred_on_points_that_cover_the_image(height, width):
    found = anchors.anchors((height, width))
    start = 0
    for stride, _, scales in anchors.LEVELS:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        for _ in range(3 * len(scales)):
            middle = windows.centres(found[start : start + rows * columns])
            start += rows * columns
            points = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) + 0.5
            assert ((middle - stride * points).abs() <= 0.5).all()
    assert start == len(found)


def test_anchors_have_the_aspects_and_are_symmetric_in_the_image():
    found = anchors.anchors((448, 448))
    sides = (found[:, 2:] - found[:, :2]).double()
    aspect = sides[:, 1] / sides[:, 0]
    # whole pixels: both sides are rounded down, by less than one pixel of 49 or more
    nearest = (aspect[:, None] - torch.tensor(anchors.ASPECTS)).abs().amin(dim=1)
    assert (nearest < 1.5 / 49).all()
    # a mirrored image has the same windows; the last level has 4 x 128 px, more than the image
    exact = found[: 1176 + 294]
    for axis in (0, 1):
        mirrored = exact.clone()
        mirrored[:, axis], mirrored[:, axis + 2] = 448 - exact[:, axis + 2], 448 - exact[:, axis]
        odd = (sides[: len(exact), axis] % 2).long()  # half a pixel up or left, mirrored the other
        mirrored[:, axis] -= odd
        mirrored[:, axis + 2] -= odd
        assert sorted(mirrored.tolist()) == sorted(exact.tolist())


def suppressed(boxes, scores, k, most):
    """Greedy suppression of one image in plain Python."""
    left = sorted(range(len(boxes)), key=lambda n: (-scores[n], n))
    kept, passed = [], []
    while left and len(kept) < k:
        best, *rest = left
        kept.append(best)
        left = []
        for other in rest:
            h = max(0, min(boxes[best][2], boxes[other][2]) - max(boxes[best][0], boxes[other][0]))
            w = max(0, min(boxes[best][3], boxes[other][3]) - max(boxes[best][1], boxes[other][1]))
            area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[best], boxes[other])]
            (passed if h * w / (sum(area) - h * w) >= most else left).append(other)
    again = sorted(passed, key=lambda n: (-scores[n], n))
    return kept + again[: k - len(kept)]


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.1, 0.25, 0.7]))
def test_nms_is_greedy_suppression(seed, k, most):
    random = torch.Generator().manual_seed(seed)
    top_left = torch.randint(0, 30, (12, 2), generator=random)
    boxes = torch.cat((top_left, top_left + torch.randint(1, 30, (12, 2), generator=random)), dim=1)
    scores = torch.randint(0, 6, (3, 12), generator=random).double()  # with ties
    found = windows.nms(boxes, scores, k, most)
    expected = [suppressed(boxes.tolist(), each, k, most) for each in scores.tolist()]
    assert found.tolist() == expected


def test_more_windows_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"k=3 for N=2"):
        windows.nms(torch.tensor([[0, 0, 2, 2], [2, 2, 4, 4]]), torch.rand(1, 2), 3)


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


def test_coordinates_are_where_the_pixels_lie_in_the_image() -> None:
    seen = torch.tensor([[[-4.0, 6, 4, 14], [10, 0, 18, 8]], [[0, 0, 32, 16], [30, 30, 38, 38]]])
    sizes = torch.tensor([[[20.0, 40]], [[32, 64]]])
    found = windows.coordinates(seen, sizes, (8, 8))
    assert found.shape == (2, 2, 2, 8, 8)
    # a whole window's pixels have their middles at half pixels; one that is resampled, its cells'
    assert found[0, 0, :, 0, 0].tolist() == pytest.approx([-3.5 / 20, 6.5 / 40])
    assert found[0, 1, :, 7, 2].tolist() == pytest.approx([17.5 / 20, 2.5 / 40])
    assert found[1, 0, :, 1, 1].tolist() == pytest.approx([6 / 32, 3 / 64])
    middle = found.mean(dim=(3, 4))
    torch.testing.assert_close(middle, (seen[..., :2] + seen[..., 2:]) / 2 / sizes)


def test_torchvisions_order_has_x_before_y_and_goes_back() -> None:
    found = windows.regular((30, 20), (3, 2), (4, 6))
    boxes = windows.to_xyxy(found)
    assert (boxes[:, 2] - boxes[:, 0] == 6).all()  # widths
    assert (boxes[:, 3] - boxes[:, 1] == 4).all()  # heights
    assert boxes[:, 0].max() < 20 <= boxes[:, 1].max() + 4
    assert torch.equal(windows.from_xyxy(boxes), found)


def test_windows_by_image_size_are_shared_where_all_images_have_one_size() -> None:
    calls = []

    def build(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(size)
        found = windows.regular(size, (2, 2), (3, 3))
        return found, found[:, 0] > size[0] // 2

    found, below = windows.by_image_size([(8, 9)] * 3, build)
    assert (found.shape, below.shape) == ((4, 4), (4,))
    assert calls == [(8, 9)]
    found, below = windows.by_image_size([(8, 9), (20, 30), (8, 9)], build)
    assert (found.shape, below.shape) == ((3, 4, 4), (3, 4))
    assert len(calls) == 3  # once per distinct size
    for b, size in enumerate([(8, 9), (20, 30), (8, 9)]):
        assert torch.equal(found[b], build(size)[0])
        assert torch.equal(below[b], build(size)[1])
