"""Read: encoder and votes learn on proposed windows, a few of each image a step."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.data import Splits
from foveal.evaluation import evaluation_mode
from foveal.phases.proposing import Proposed
from foveal.phases.reader import Reader
from foveal.phases.strips import Strips, draw
from foveal.runs.folder import RunFolder
from foveal.settings import Augmentation, Hardware, Training
from foveal.training import fit

_MARGIN = 0.25  # of a patch, on every side, for shifts and zooms


def strips_of(splits: Splits, proposed: Proposed, *, patch: int) -> Splits:
    """The proposed windows of training and validation images as strips."""
    side = patch + 2 * round(_MARGIN * patch)
    return Splits(
        Strips(splits.train, proposed.train, side=side),
        Strips(splits.validation, proposed.validation, side=side),
    )


def read(
    reader: Reader,
    strips: Splits,
    training: Training,
    *,
    windows: int,
    first: float,
    hardware: Hardware,
    run: RunFolder,
    progress: bool,
) -> None:
    """Train the reader, or go on where it was stopped, and give it the best weights.

    Args:
        reader: to be trained.
        strips: see `strips_of`.
        training: steps and rates of this phase, and the augmentation.
        windows: of an image in a step.
        first: how much the first windows are preferred, see `foveal.phases.strips.draw`.
        hardware: what to train on.
        run: folder of this phase.
        progress: show progress on standard error.
    """
    augment = draw(
        windows,
        patch=reader.patch,
        shift=round(_MARGIN * reader.patch),
        first=first,
        flip=training.augmentation.flip,
        turn=training.augmentation.turn,
        colour=training.augmentation.colour,
    )
    plain = replace(training, augmentation=Augmentation())
    fit(
        reader,
        strips,
        plain,
        hardware=hardware,
        augment=(augment,),
        run=run,
        resume=True,
        progress=progress,
    )
    reader.load_state_dict(run.weights("best"))


def votes_of(reader: Reader, strips: Strips, batch: int = 8) -> Float[Tensor, "n Q classes"]:
    """What every window of every strip says."""
    found = []
    with evaluation_mode(reader):
        for start in range(0, len(strips), batch):
            some = range(start, min(start + batch, len(strips)))
            found.append(reader.votes(reader.patches([strips[i].image for i in some])))
    return torch.cat(found).clone()
