"""A trained model as one program of standard tensor operations, for images of one size.

    images UInt8 (B, C, H, W)  ->  probabilities (B, classes)   windows Int (B, K, 4)

For one size, the windows and the part of the view that is covered are constants. The views of a
batch are resampled together, and the patches are gathered pixel by pixel, so that B may be any.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import pad

from foveal.data.labels import probabilities
from foveal.errors import UserError
from foveal.evaluation import chosen_windows
from foveal.images import TensorImage
from foveal.images.resampling import resampled
from foveal.models import PatchClassifier
from foveal.prediction import Prediction
from foveal.topk import Selection


class Program(nn.Module):
    """Preprocessing, model and probabilities of images of one size.

    Args:
        model: in evaluation mode, with hard selections.
        size: (H, W) of the images, in pixels.
        multilabel: whether an image has any number of the classes.

    Raises:
        ImageRefused: the model cannot take images of this size.
        UserError: the windows of this size differ from one another, or the model glances twice.
    """

    candidates: Int[Tensor, "N 4"]
    inside: Tensor

    def __init__(self, model: PatchClassifier, size: tuple[int, int], *, multilabel: bool) -> None:
        super().__init__()
        self.model, self.size, self.multilabel = model, size, multilabel
        if model.second is not None:
            raise UserError(
                "a model of two glances cannot be exported: it reads the image again, where its "
                "first glance says; train one with --glances 1"
            )
        device = next(model.parameters()).device
        blank = TensorImage(torch.empty(model.channels, *size, dtype=torch.uint8, device="meta"))
        windows, inside = model.geometry.windows([blank], device)
        (side,) = model.geometry.sides([blank], device)
        if side is None:
            raise UserError("a model whose windows differ in size cannot be exported")
        self.side, self.covered = side, model.geometry.fitted(size)[1]
        self.register_buffer("candidates", windows, persistent=False)
        self.register_buffer("inside", inside, persistent=False)

    def forward(
        self, images: UInt8[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B classes"], Int[Tensor, "B K 4"]]:
        """Return the probability of every class, and the windows that were looked at."""
        prediction = self.predict(images)
        shares = probabilities(prediction.logits, multilabel=self.multilabel)
        return shares, chosen_windows(prediction)

    def predict(self, images: UInt8[Tensor, "B C H W"]) -> Prediction:
        """Return all that the model says."""
        return self.model.look(
            self.views(images),
            self.candidates,
            self.inside,
            [self.size],
            lambda selection: self.patches(images, selection),
        )

    def views(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Return the images, small, in the top left corner of the view."""
        (height, width), (rows, columns) = self.model.view, self.covered
        views = pad(resampled(images, self.covered), (0, width - columns, 0, height - rows))
        return views.contiguous(memory_format=torch.channels_last)

    def patches(
        self, images: UInt8[Tensor, "B C H W"], selection: Selection
    ) -> Float[Tensor, "B K C h w"]:
        """Cut out the windows of a hard selection, zero outside the image."""
        (height, width), (h, w) = self.size, self.side
        batch, channels = images.shape[:2]
        corners = self.candidates[selection.candidates, :2]  # (B, K, 2)
        rows = corners[..., :1] + torch.arange(h, device=images.device)  # (B, K, h)
        columns = corners[..., 1:] + torch.arange(w, device=images.device)  # (B, K, w)
        known = _within(rows, height)[..., :, None] & _within(columns, width)[..., None, :]
        pixel = rows.clamp(0, height - 1)[..., :, None] * width
        pixel = (pixel + columns.clamp(0, width - 1)[..., None, :]).flatten(1)  # (B, K h w)
        crops = images.flatten(2).gather(2, pixel[:, None].expand(-1, channels, -1))
        crops = crops.reshape(batch, channels, -1, h, w).transpose(1, 2)  # (B, K, C, h, w)
        crops = crops.masked_fill(~known[:, :, None], 0)
        if self.side == self.model.patch:
            return crops / 255
        small = resampled(crops.flatten(0, 1), self.model.patch)
        return small.reshape(*crops.shape[:3], *self.model.patch)


def _within(places: Int[Tensor, "B K side"], end: int) -> Tensor:
    return (places >= 0) & (places < end)
