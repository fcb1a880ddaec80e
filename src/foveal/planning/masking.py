"""How much of the images holds nothing, so that no window of it is selected."""

import torch

from foveal.data import Dataset
from foveal.images import nodata_of
from foveal.models import PatchClassifier

_LOOKED_AT = 20  # images


def describe_mask(model: PatchClassifier, images: Dataset) -> tuple[str, ...]:
    """A remark on the share of the windows that is masked, in up to 20 images.

    Only images that may have such windows are read. Empty if no window is masked.
    """
    shares = masked_shares(model, images)
    if not any(shares):
        return ()
    what = "no data" if model.mask == "nodata" else "no data or plain background"
    whole = sum(share == 1 for share in shares)
    return (
        f"masked: {sum(shares) / len(shares):.0%} of the windows of {len(shares)} images show "
        f"{what} and are not selected (--mask none: as others)"
        + (f"; {whole} of these images show nothing else" if whole else ""),
    )


def masked_shares(model: PatchClassifier, images: Dataset) -> list[float]:
    """The share of the windows that holds nothing, of each of up to 20 images."""
    count = min(len(images), _LOOKED_AT)
    some = [images[number * len(images) // count].image for number in range(count)]
    shares = []
    for image in some:
        if model.mask == "none" or (model.mask == "nodata" and nodata_of(image) is None):
            shares.append(0.0)
            continue
        windows, inside = model.geometry.windows([image], torch.device("cpu"))
        views = model.geometry.views([image], torch.device("cpu"))
        empty = model.geometry.empty([image], views, windows, model.mask)
        assert empty is not None
        shares.append(float(empty[inside.expand_as(empty)].float().mean()))
    return shares
