"""What is rare among all images may be common in its own: a pad, a rivet, a window of a house.

    rank = rarity + 1 - similarity to the third most similar cell elsewhere in the image

As where anomalies are found by the self-similarity of an image (Ehret et al., Reducing Anomaly
Detection in Images to Detection in Noise, ICIP 2018). The third, because evidence may be in an
image twice or three times.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RARE_CELLS = 4000  # of an image, which are compared with each other
_OTHERS = 3
_CHUNK = 2**22  # similarities at a time


def rank_in_image(
    cells: Float[Tensor, "n d"],
    places: Int[Tensor, "n 2"],
    rarity: Float[Tensor, " n"],
    others: Float[Tensor, "m d"],
    other_places: Int[Tensor, "m 2"],
    *,
    apart: int,
) -> Float[Tensor, " n"]:
    """Rarity of cells, and how far they are from others in their own image, in [0, 4].

    Args:
        cells: of length 1.
        places: row and column of each.
        rarity: of each, see `Background.rarity`.
        others: the rarest cells of the image: one that is like them elsewhere is among them.
        other_places: row and column of each.
        apart: cells, in rows or columns, beyond which another cell is elsewhere.
    """
    if len(others) < _OTHERS:
        return rarity
    distances, enough = [], []
    for some in torch.split(
        torch.arange(len(cells), device=cells.device), _CHUNK // len(others) + 1
    ):
        away = (places[some, None] - other_places[None]).abs().amax(dim=2) > apart
        similar = (cells[some] @ others.T).masked_fill(~away, -1.0)
        distances.append(1 - similar.topk(_OTHERS, dim=1).values[:, -1])
        enough.append(away.sum(dim=1) >= _OTHERS)
    distance, known = torch.cat(distances), torch.cat(enough)
    # a cell in the middle of a small image has nothing elsewhere: neither rare nor common there
    usual = distance[known].mean() if known.any() else distance.new_zeros(())
    return rarity + torch.where(known, distance, usual)


def reach_of(patch: tuple[int, int], stride: int) -> int:
    """Cells about one in which it is the rarest, where windows of a patch are chosen."""
    return max(min(patch) // stride // 2 - 1, 1)


def apart_of(reach: int) -> int:
    """Cells beyond which another one is elsewhere: those of a patch."""
    return 2 * (reach + 1)
