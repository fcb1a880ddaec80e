"""Laws of the baseline that sees all of the image at once."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from foveal.evaluation import chosen_windows
from foveal.models import WholeImage
from foveal.nn.encoders import ThinResNet
from foveal.windows import covers
from model_contract import CLOSE, ModelContract, noise


def model(**settings: object) -> WholeImage:
    torch.manual_seed(0)
    channels = 5 if settings.get("coordinates") else 3
    return WholeImage(encoder=ThinResNet(channels, width=8), classes=4, **settings)


class TestContract(ModelContract):
    k, n, patch = 1, 1, (48, 64)

    def make(self) -> nn.Module:
        return model(size=(48, 64), coordinates=True)


def test_the_answer_is_the_encoders_of_the_whole_image() -> None:
    net, images = model().eval(), noise(2, 3, 40, 60)
    torch.testing.assert_close(net(images).logits, net.head(net.encoder(images)), **CLOSE)


def test_a_smaller_size_is_the_image_resampled() -> None:
    net, images = model(size=(20, 30)).eval(), noise(2, 3, 40, 60)
    small = interpolate(images, (20, 30), mode="bilinear", antialias=True)
    prediction = net(images)
    torch.testing.assert_close(prediction.patches[:, 0], small, **CLOSE)
    torch.testing.assert_close(prediction.logits, net.head(net.encoder(small)), **CLOSE)


def test_coordinates_are_the_places_of_pixels_from_0_to_1() -> None:
    net = model(coordinates=True).eval()
    seen: list[torch.Tensor] = []
    net.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = noise(1, 3, 3, 5)
    net(images)
    expected = torch.tensor([[[y / 2 for _ in range(5)] for y in range(3)]])
    across = torch.tensor([[[x / 4 for x in range(5)] for _ in range(3)]])
    torch.testing.assert_close(seen[0][0], torch.cat((images[0], expected, across)))


def test_with_coordinates_an_average_knows_where_a_spot_is() -> None:
    images = torch.zeros(2, 3, 192, 192, dtype=torch.float64)
    images[0, :, 56:64, 56:64] = images[1, :, 128:136, 128:136] = 1
    plain, placed = (
        model(coordinates=each).double().eval()(images).logits for each in (False, True)
    )
    # the plain network shifts along, since 72 px is a multiple of its stride and the border is far
    torch.testing.assert_close(plain[0], plain[1])
    assert (placed[0] - placed[1]).abs().max() > 1e-6  # a thousand times the rounding


def test_its_one_window_hits_every_box() -> None:
    prediction = model().eval()(noise(1, 3, 40, 60))
    assert chosen_windows(prediction).tolist() == [[[0, 0, 40, 60]]]
    assert covers(chosen_windows(prediction)[0], torch.tensor([[3, 4, 9, 9], [0, 0, 40, 60]])).all()


def test_without_a_size_images_must_be_of_one() -> None:
    with pytest.raises(ValueError, match=r"got \(30, 30\) and \(40, 40\); give a size"):
        model()([noise(3, 40, 40), noise(3, 30, 30)])
