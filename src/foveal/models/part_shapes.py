"""Check that the parts of a model fit each other when it is built, not when it first trains."""

import torch

from foveal.nn.modes import dry_run
from foveal.nn.protocols import Aggregate, Encoder
from foveal.topk import Selection


def check_encoder(encoder: Encoder, channels: int, patch: tuple[int, int]) -> None:
    """Encode a black patch.

    Args:
        encoder: the encoder.
        channels: channels of a patch.
        patch: height and width of a patch in pixels.

    Raises:
        ValueError: the encoder cannot take such patches, or gives other features than it says.
    """
    given = f"patches of {patch[0]} x {patch[1]} px with {channels} channels"
    try:
        shape = tuple(dry_run(encoder, torch.zeros(1, channels, *patch)).shape)
    except Exception as error:
        raise ValueError(f"the encoder cannot take {given}: {error}") from error
    if shape != (1, encoder.features):
        raise ValueError(
            f"the encoder must give (B, {encoder.features}) features: got {shape} for {given}"
        )


def aggregate_width(aggregate: Aggregate, k: int, n: int, features: int) -> int:
    """Return the width E of what an aggregator makes of k of n patches' features (1, k, features).

    Raises:
        ValueError: the aggregator cannot take them.
    """
    patches = torch.zeros(1, k, features)
    selection = Selection.one_hot(torch.arange(k)[None])
    try:
        return int(dry_run(aggregate, patches, selection, torch.zeros(n, 2)).shape[1])
    except Exception as error:
        raise ValueError(
            f"the aggregator cannot take {k} of {n} patches with {features} features: {error}"
        ) from error
