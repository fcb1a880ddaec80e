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
_CHUNK = 2**20  # similarities at a time
_NEAR = -2.0  # similarity of cells that are not elsewhere: less than any


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
    rows, columns = places.int().T.contiguous()
    other_rows, other_columns = other_places.int().T.contiguous()
    thirds = []
    size = _CHUNK // len(others) + 1
    for start in range(0, len(cells), size):
        some = slice(start, start + size)
        near = (rows[some, None] - other_rows).abs_() <= apart
        near &= (columns[some, None] - other_columns).abs_() <= apart
        similar = (cells[some] @ others.T).masked_fill_(near, _NEAR)
        thirds.append(similar.topk(_OTHERS, dim=1).values[:, -1])
    third = torch.cat(thirds)
    distance, known = 1 - third, third > _NEAR
    # a cell in the middle of a small image has nothing elsewhere: neither rare nor common there
    usual = distance[known].mean() if known.any() else distance.new_zeros(())
    return rarity + torch.where(known, distance, usual)


def reach_of(patch: tuple[int, int], stride: int) -> int:
    """Cells about one in which it is the rarest, where windows of a patch are chosen."""
    return max(min(patch) // stride // 2 - 1, 1)


def apart_of(reach: int) -> int:
    """Cells beyond which another one is elsewhere: those of a patch."""
    return 2 * (reach + 1)
