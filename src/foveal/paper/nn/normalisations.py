"""Normalisations by the names that the released code gives them in its settings."""

import re
from functools import partial

from foveal.nn import normalisations
from foveal.nn.normalisations import Normalisation, in_turn, smoothing

_NAMES = ("identity", "min_max", "zero_one", "softmax", "sigmoid", "layer_norm")


def named_normalisation(words: str) -> Normalisation:
    """Return the normalisation of a name, or several in turn, separated by "|".

    >>> import torch
    >>> named_normalisation("softmax|smoothing(0.5)")(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])

    Args:
        words: names of functions of `foveal.nn.normalisations`; smoothing with its share, as above.

    Returns:
        A function of `foveal.nn.normalisations` or a `functools.partial` of one.

    Raises:
        ValueError: a name is none of them, or the share lies outside 0 to 1.
    """
    steps = tuple(_step(word.strip()) for word in words.split("|"))
    return steps[0] if len(steps) == 1 else partial(in_turn, steps=steps)


def _step(word: str) -> Normalisation:
    if match := re.fullmatch(r"smoothing\((\d+|\d*\.\d+|\d+e-\d+)\)", word):
        share = float(match[1])
        if share > 1:
            raise ValueError(f"share must lie in 0..1: got {share}")
        return partial(smoothing, share=share)
    if word not in _NAMES:
        raise ValueError(
            f"unknown normalisation {word!r}: choose {', '.join(_NAMES)} or smoothing(SHARE), or "
            'several in turn, as in "softmax|smoothing(0.1)"'
        )
    found: Normalisation = getattr(normalisations, word)
    return found
