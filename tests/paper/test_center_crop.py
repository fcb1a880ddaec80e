"""The middle of an image, and where its windows lie in the image."""

import pytest
import torch

from foveal.images import TensorImage
from foveal.paper.nn import center_crop

CPU = torch.device("cpu")


def test_an_image_of_the_whole_size_is_cropped_and_not_resampled():
    image = torch.rand(3, 60, 80)
    view = center_crop.views([TensorImage(image)], (60, 80), (40, 50), CPU)
    assert torch.equal(view[0], image[:, 10:50, 15:65])


def test_an_image_of_another_size_is_resampled_first_its_aspect_ignored():
    small, large = torch.rand(3, 30, 120), torch.rand(3, 90, 20)
    views = center_crop.views([TensorImage(small), TensorImage(large)], (60, 60), (40, 40), CPU)
    for view, image in zip(views, (small, large), strict=True):
        assert torch.equal(view, TensorImage(image).view((60, 60))[:, 10:50, 10:50])


def test_a_window_of_the_view_lies_where_its_pixels_are_in_the_image():
    # an image of 120 x 240 px is seen at half and a quarter of its size: one bright block of it
    image = torch.zeros(1, 120, 240)
    image[:, 60:80, 80:120] = 1
    seen = center_crop.views([TensorImage(image)], (60, 60), (40, 40), CPU)[0, 0]
    rows, columns = (seen > 0.5).nonzero().unbind(dim=1)
    box = torch.stack((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))[None]
    assert center_crop.in_images(box, [(120, 240)], (60, 60), (40, 40)).tolist() == [
        [60, 80, 80, 120]
    ]


def test_windows_differ_by_image_where_sizes_do():
    window = torch.tensor([[0, 0, 40, 40]])
    same = center_crop.in_images(window, [(60, 60)] * 2, (60, 60), (40, 40))
    other = center_crop.in_images(window, [(60, 60), (120, 30)], (60, 60), (40, 40))
    assert same.tolist() == [[10, 10, 50, 50]]
    assert other.tolist() == [[[10, 10, 50, 50]], [[20, 5, 100, 25]]]


def test_a_middle_larger_than_the_whole_is_refused():
    with pytest.raises(ValueError, match=r"\(61, 40\) px of \(60, 60\)"):
        center_crop.views([TensorImage(torch.rand(3, 8, 8))], (60, 60), (61, 40), CPU)
