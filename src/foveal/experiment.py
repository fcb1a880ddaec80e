"""An experiment: a model, the data it learns from, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from foveal.data import Splits
    from foveal.objectives import Objective
    from foveal.training import Settings


@dataclass(frozen=True)
class Experiment:
    """A model, what it learns from, and how.

    Attributes:
        recipe: the name of the recipe that made it.
        settings: keywords for the recipe, plain values. Complete: with them the recipe makes the
            same model again without a look at the data.
        classes: names of the classes, in the order of the logits.
        model: untrained, or with pretrained parts.
        splits: makes or reads the images.
        training: how it is trained.
        objective: what training minimises; None: see `foveal.training.fit`.
        multilabel: whether an image bears a set of the classes, maybe none, instead of one.
        write: writes the images into a folder as ordinary files; None where they already are.
        notes: what was chosen or noticed, to be said aloud, a line each.
    """

    recipe: str
    settings: dict[str, Any]
    classes: tuple[str, ...]
    model: nn.Module
    splits: Callable[[], Splits]
    training: Settings
    objective: Objective | None = None
    multilabel: bool = False
    write: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights made inside are a function of the seed; torch's own randomness is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
