"""The baseline: an encoder on all of the image at once, which is one window and one look."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal.images import Image, Images, sources
from foveal.nn.protocols import Encoder
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection
from foveal.windows import by_image_size


class WholeImage(nn.Module):
    """Classify images by an encoder that sees all of them.

    In the words of the other models: N = 1 window, the image itself, and K = 1 slot that always
    looks at it; the patch is the image, resampled where a size is given. Every box is therefore
    hit, which says nothing.

    Args:
        encoder: images (B, C, h, w) -> features (B, D), with `features` = D; of `channels` + 2
            channels where there are coordinates.
        classes: number of classes.
        size: (h, w) that images are resampled to, whatever their aspect; None: as they are, which
            must then be of one size.
        coordinates: whether two channels are appended, y and x of every pixel in [0, 1]: an average
            over the image forgets places otherwise.
        channels: of the images.

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
        self.coordinates, self.channels = coordinates, channels
        self.head = nn.Linear(encoder.features, classes)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images."""
        whole = sources(images, self.channels)
        size = self._common_size(whole) if self.size is None else self.size
        sizes = [image.size for image in whole]
        windows = by_image_size(sizes, _all_of_it).to(
            self.head.weight.device
        )  # (1, 4) or (B, 1, 4)
        selection = self._always_the_first(len(whole))
        patches = extract(whole, windows, selection, size)  # (B, 1, C, h, w)
        seen = patches[:, 0]
        if self.coordinates:
            seen = torch.cat((seen, _coordinates(seen)), dim=1)  # (B, C + 2, h, w)
        seen = seen.contiguous(memory_format=torch.channels_last)
        return Prediction(
            logits=self.head(self.encoder(seen)),
            scores=torch.zeros_like(selection.weights[:, 0]),
            windows=windows,
            selection=selection,
            patches=patches,
        )

    def _always_the_first(self, batch: int) -> Selection:
        candidates = torch.zeros(batch, 1, dtype=torch.int64, device=self.head.weight.device)
        return Selection(candidates, self.head.weight.new_ones(batch, 1, 1))

    @staticmethod
    def _common_size(images: Sequence[Image]) -> tuple[int, int]:
        sizes = sorted({image.size for image in images})
        if len(sizes) > 1:
            raise ValueError(
                f"images must be of one size: got {sizes[0]} and {sizes[-1]}; give a size to "
                "resample them to"
            )
        return sizes[0]


def _all_of_it(size: tuple[int, int]) -> Int[Tensor, "1 4"]:
    return torch.tensor([[0, 0, *size]])


def _coordinates(images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 2 h w"]:
    """The places (y, x) of the pixels, from 0 at one side to 1 at the other."""
    down, across = (
        torch.linspace(0, 1, length, dtype=images.dtype, device=images.device)
        for length in images.shape[2:]
    )
    places = torch.stack(torch.meshgrid(down, across, indexing="ij"))  # (2, h, w)
    return places.expand(len(images), -1, -1, -1)
