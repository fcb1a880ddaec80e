"""The baseline: an encoder on the whole image, as one window and one patch."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal._precision import full_precision, widened
from foveal.errors import ImageRefused
from foveal.images import Image, Images, sources
from foveal.models.part_shapes import check_encoder
from foveal.nn.protocols import Encoder, parts_of
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection
from foveal.windows import by_image_size


class WholeImage(nn.Module):
    """Classify images by an encoder that sees the whole image.

    In the terms of the other models: N = 1 window, the image itself, and K = 1 slot; the patch is
    the image, resampled if a size is given. Every box is therefore hit, which says nothing.

    Args:
        encoder: images (B, C, h, w) -> features (B, D), with `features` = D; C is `channels` + 2
            with coordinates.
        classes: number of classes.
        size: (h, w) that images are resampled to, whatever their aspect; None: not resampled, all
            images must then have one size.
        coordinates: append two channels, y and x of every pixel in [0, 1]; without them an average
            over the image forgets places.
        channels: channels of the images.

    Raises:
        ValueError: the encoder cannot take images of the size.

    References:
        Cordonnier et al., CVPR 2021, tables 1 and 2 (CNN, ResNet18, "+ concat. position",
        "+ downscale").
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        classes: int,
        size: tuple[int, int] | None = None,
        coordinates: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.encoder, self.size = encoder, size
        self.classes, self.coordinates, self.channels = classes, coordinates, channels
        if size is not None:
            check_encoder(encoder, channels + 2 * coordinates, size)
        self.head = nn.Linear(encoder.features, classes)

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images."""
        whole = sources(images, self.channels)
        size = self._common_size(whole) if self.size is None else self.size
        sizes = [image.size for image in whole]
        weight = self.head.weight
        windows = by_image_size(sizes, _whole).to(weight.device)  # (1, 4) or (B, 1, 4)
        first = torch.zeros(len(whole), 1, dtype=torch.int64, device=weight.device)
        selection = Selection.one_hot(first, weight.dtype)
        patches = extract(whole, windows, selection, size)  # (B, 1, C, h, w)
        inputs = patches[:, 0]
        if self.coordinates:
            inputs = torch.cat((inputs, _coordinates(inputs)), dim=1)  # (B, C + 2, h, w)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features = widened(self.encoder(inputs), weight)
        with full_precision(weight.device):
            logits = self.head(features)
        return Prediction(
            logits=logits,
            scores=torch.zeros_like(selection.weights[:, 0]),
            windows=windows,
            selection=selection,
            patches=patches,
        )

    @staticmethod
    def _common_size(images: Sequence[Image]) -> tuple[int, int]:
        sizes = sorted({image.size for image in images})
        if len(sizes) > 1:
            raise ImageRefused(
                f"images must be of one size: got {sizes[0]} and {sizes[-1]}; give a size to "
                "resample them to"
            )
        return sizes[0]


def _whole(size: tuple[int, int]) -> Int[Tensor, "1 4"]:
    return torch.tensor([[0, 0, *size]])


def _coordinates(images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 2 h w"]:
    """The places (y, x) of the pixels, from 0 at one side to 1 at the other."""
    down, across = (
        torch.linspace(0, 1, length, dtype=images.dtype, device=images.device)
        for length in images.shape[2:]
    )
    places = torch.stack(torch.meshgrid(down, across, indexing="ij"))  # (2, h, w)
    return places.expand(len(images), -1, -1, -1)
