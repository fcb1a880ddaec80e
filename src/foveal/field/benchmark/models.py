"""Models to compare foveal with: evidence of every cell, and random windows."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal._precision import full_precision, widened
from foveal.images import Images, sources
from foveal.nn.alignment import cell_offset
from foveal.nn.encoders import Backbone
from foveal.nn.protocols import parts_of
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.topk import Selection
from foveal.windows import centred, grid, nms


class DenseEvidence(nn.Module):
    """Dense multiple-instance learning: the encoder on the whole image at full size.

        evidence (B, classes, g, v) = 1x1 convolution of the feature map
        logits_bc = mean of the `top` largest evidence_bc

    The windows are those around the K cells with the most evidence for the predicted class that do
    not overlap much. They serve to be compared with boxes; the logits do not depend on them.

    Args:
        encoder: a network with feature maps.
        classes: number of classes.
        patch: (h, w) of a window in pixels.
        k: number of windows.
        top: number of cells that are averaged.
    """

    def __init__(
        self, *, encoder: Backbone, classes: int, patch: tuple[int, int], k: int, top: int = 4
    ) -> None:
        super().__init__()
        self.encoder, self.classes, self.patch, self.k, self.top = encoder, classes, patch, k, top
        self.offset = cell_offset(encoder.name, encoder.stage)
        self.head = nn.Conv2d(encoder.features, classes, 1)

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of one size."""
        whole = sources(images, self.encoder.channels)
        device = self.head.weight.device
        pixels = torch.stack([image.view(image.size) for image in whole]).to(device)
        maps = self.encoder.maps(pixels.contiguous(memory_format=torch.channels_last))
        with full_precision(device):
            evidence = self.head(widened(maps, pixels))  # (B, classes, g, v)
        cells = evidence.flatten(2)  # (B, classes, N)
        logits = cells.topk(min(self.top, cells.shape[2]), dim=2).values.mean(dim=2)
        with torch.no_grad():
            scores = cells[torch.arange(len(whole)), logits.argmax(dim=1)]  # (B, N)
            windows = self._windows((evidence.shape[2], evidence.shape[3])).to(device)
            best = nms(windows, scores, min(self.k, len(windows)))
            selection = Selection.one_hot(best.sort(dim=1).values, scores.dtype)
            patches = extract(whole, windows, selection, self.patch).to(device)
        return Prediction(logits, scores, windows, selection, patches)

    def _windows(self, cells: tuple[int, int]) -> Int[Tensor, "N 4"]:
        """A window around the centre of every cell."""
        first = torch.full((2,), self.offset, dtype=torch.float64)
        stride = torch.full((2,), float(self.encoder.stride), dtype=torch.float64)
        return centred(grid(first, stride, cells), self.patch)


class CellNumbers(nn.Module):
    """A scorer without parameters whose scores fall from cell to cell: no two are the same.

    Args:
        stride: distance of neighbouring cells in pixels of the view.
    """

    def __init__(self, stride: int = 8) -> None:
        super().__init__()
        self.stride, self.offset = stride, stride / 2

    def forward(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B rows columns"]:
        """Score every cell by its number."""
        rows, columns = (side // self.stride for side in view.shape[2:])
        numbers = torch.arange(rows * columns, 0, -1, device=view.device, dtype=view.dtype)
        return numbers.view(1, rows, columns).expand(len(view), -1, -1)
