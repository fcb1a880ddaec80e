"""Close looks of several sizes: what a loop over all windows sees, with the same gradient."""

import pytest
import torch
from torch.nn.functional import interpolate

from foveal import closeups, patches, windows
from foveal.topk import Selection, hard, perturbed


def scene(seed=0):
    """Two images of 40 x 50 px and 60 windows of four sizes, many over the border."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 40, 50, generator=random, dtype=torch.float64)
    sides = torch.tensor([(12, 12), (9, 20), (30, 17), (48, 56)])[torch.arange(60) % 4]
    top_left = torch.randint(-20, 35, (60, 2), generator=random)
    return images, torch.cat((top_left, top_left + sides), dim=1), random


def looped(images, where, selection, size):
    """Every window of every image cut out of a padded image, resampled, weighted and added."""
    dense = selection.dense(len(where))
    padded = torch.nn.functional.pad(images, (60, 60, 60, 60))
    crops = []
    for top, left, bottom, right in (where + 60).tolist():
        crop = padded[:, :, top:bottom, left:right]
        if crop.shape[-2:] != size:
            crop = interpolate(crop, size, mode="bilinear", antialias=True)
        crops.append(crop)
    return torch.einsum("bkn,nbchw->bkchw", dense, torch.stack(crops))


@pytest.mark.parametrize("size", [(16, 16), (12, 12)])
def test_a_soft_look_is_the_weighted_sum_of_all_windows_resampled(size):
    images, where, random = scene()
    scores = torch.rand(2, 60, generator=random, dtype=torch.float64, requires_grad=True)
    selection = perturbed(scores, 3, 0.1)
    found = closeups.extract(images, where, selection, size)
    expected = looped(images, where, selection, size)
    # both are sums of the same terms in float64, in another order
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    incoming = torch.randn(found.shape, generator=random, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((x * incoming).sum(), scores, retain_graph=True)[0]
        for x in (found, expected)
    ]
    assert gradients[1].abs().max() > 0.1
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_a_hard_look_is_the_window_itself():
    images, where, random = scene(1)
    selection = hard(torch.rand(2, 60, generator=random), 4)
    found = closeups.extract(images.float(), where, selection, (16, 16))
    plain = patches.extract(images.float(), where, selection, (16, 16))
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)  # float32


def test_images_may_differ_in_which_sizes_are_in_reach():
    images, where, _ = scene(2)
    numbers = torch.tensor(
        [[0, 4], [1, 2]]
    )  # two windows of the first size, none and one of others
    selection = Selection(numbers, torch.eye(2, dtype=torch.float64).repeat(2, 1, 1))
    found = closeups.extract(images, where, selection, (12, 12))
    assert torch.equal(found, looped(images, where, selection, (12, 12)))


def test_the_windows_of_a_bird_are_all_reached():
    # one window of each of the 21 sizes of the anchors, at weight 1/21: the mean of 21 close looks
    where = windows.anchors((64, 64))
    firsts = torch.unique(where[:, 2:] - where[:, :2], dim=0, return_inverse=True)[1]
    numbers = torch.stack([(firsts == kind).nonzero()[0, 0] for kind in range(21)])[None]
    selection = Selection(numbers, torch.full((1, 1, 21), 1 / 21, dtype=torch.float64))
    image = torch.ones(1, 1, 64, 64, dtype=torch.float64)
    found = closeups.extract(image, where, selection, (8, 8))
    one_by_one = [
        closeups.extract(
            image, where, Selection(number[None, None], torch.ones(1, 1, 1).double()), (8, 8)
        )
        for number in numbers[0]
    ]
    torch.testing.assert_close(found, torch.stack(one_by_one).mean(dim=0), rtol=0, atol=1e-12)
