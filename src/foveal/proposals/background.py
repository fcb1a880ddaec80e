"""What is common in a set of images: whitened features of cells, and how rare a cell is.

    cells  = normalise((features - mean) @ axes)           (h, w, d), of length 1
    rarity = 1 - max over centres of cells . centre        (h, w)

A cell is rare where it is far from all centres of common cells, as in anomaly detection with a
memory bank (PatchCore, Roth et al., CVPR 2022).
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import max_pool2d, normalize

_DIMENSIONS, _CENTRES, _ROUNDS = 48, 256, 12
_CHUNK = 20_000  # cells compared with the centres at once


class Background(nn.Module):
    """Whitening and centres of common cells.

    Args:
        mean: (D,) of the features.
        axes: (D, d), principal axes over their deviations.
        centres: (c, d), of length 1.
    """

    mean: Tensor
    axes: Tensor
    centres: Tensor

    def __init__(
        self, mean: Float[Tensor, " D"], axes: Float[Tensor, "D d"], centres: Float[Tensor, "c d"]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes)
        self.register_buffer("centres", centres)

    def cells(self, features: Float[Tensor, "D h w"]) -> Float[Tensor, "h w d"]:
        """Whitened features of length 1: their inner product is a similarity in [-1, 1]."""
        whitened = (features.movedim(0, -1) - self.mean) @ self.axes
        return normalize(whitened, dim=-1)

    def rarity(self, cells: Float[Tensor, "h w d"]) -> Float[Tensor, "h w"]:
        """Distance of every cell from what is common, in [0, 2]."""
        return 1 - best_similarity(cells.flatten(0, 1), self.centres).view(cells.shape[:2])


def fit_background(sample: Float[Tensor, "n D"], generator: Generator) -> Background:
    """Whitening and k-means centres of a sample of cells, in seconds.

    Args:
        sample: features of cells from many images.
        generator: of the first centres, on the CPU.
    """
    mean = sample.mean(dim=0)
    spread = sample - mean
    # on the CPU: not every device has float64
    covariance = (spread.T @ spread / len(sample)).cpu().double()
    variance, axes = torch.linalg.eigh(covariance)
    largest = slice(max(len(variance) - _DIMENSIONS, 0), None)
    deviation = variance[largest].clamp(min=0).sqrt()
    # weak axes are mostly noise: their deviation is not taken below a thousandth of the largest
    whitening = (axes[:, largest] / deviation.clamp(min=1e-3 * deviation[-1] + 1e-12)).float()
    whitening = whitening.to(sample.device)
    cells = normalize(spread @ whitening, dim=-1)
    return Background(mean, whitening, _k_means(cells, generator))


def rare_peaks(rarity: Float[Tensor, "h w"], reach: int) -> Float[Tensor, "h w"]:
    """Rarity of the cells that are the rarest within `reach` cells, minus infinity elsewhere."""
    highest = max_pool2d(rarity[None, None], 2 * reach + 1, stride=1, padding=reach)[0, 0]
    return rarity.masked_fill(rarity < highest, -torch.inf)


def best_similarity(
    cells: Float[Tensor, "n d"], others: Float[Tensor, "c d"]
) -> Float[Tensor, " n"]:
    """The largest inner product of every cell with any of the others."""
    parts = [(part @ others.T).amax(dim=1) for part in torch.split(cells, _CHUNK)]
    return torch.cat(parts)


def _k_means(cells: Float[Tensor, "n d"], generator: Generator) -> Float[Tensor, "c d"]:
    """Spherical k-means; a centre that loses all its cells stays where it was."""
    first = torch.randperm(len(cells), generator=generator)[:_CENTRES]
    centres = cells[first.to(cells.device)].clone()
    for _ in range(_ROUNDS):
        parts = torch.split(cells, _CHUNK)
        nearest = torch.cat([(part @ centres.T).argmax(dim=1) for part in parts])
        sums = torch.zeros_like(centres).index_add_(0, nearest, cells)
        held = torch.bincount(nearest, minlength=len(centres)) > 0
        centres = torch.where(held[:, None], normalize(sums, dim=-1), centres)
    return centres
