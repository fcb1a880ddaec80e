"""Read: encoder and votes learn on proposed windows, a few of each image a step."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from foveal._precision import rounding
from foveal.data import Splits
from foveal.evaluation import evaluation_mode
from foveal.nn.encoders import encode
from foveal.phases.balancing import evened
from foveal.phases.phase_log import title
from foveal.phases.proposing import Proposed
from foveal.phases.reader import Reader
from foveal.phases.strips import Draw, Strips, margin_of
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware, Training
from foveal.training import fit
from foveal.training.devices import wait_for_all

_FIRST = 0.01  # the first window is read almost always, see `Draw`


def strips_of(
    splits: Splits, proposed: Proposed, *, patch: int, validated: int, memory: int = 2**30
) -> tuple[Strips, Strips]:
    """The proposed windows of training and of validation images as strips.

    Args:
        splits: the images.
        proposed: windows of each.
        patch: side of a window in pixels, without the margins.
        validated: number of windows of a validation image, as many as are read in a step.
        memory: bytes of strips to keep of each of the two; others are cut again.
    """
    side = patch + 2 * margin_of(patch)
    few = [windows[:validated] for windows in proposed.validation]
    return (
        Strips(splits.train, proposed.train, side=side, memory=memory),
        Strips(splits.validation, few, side=side, memory=memory),
    )


def read(
    reader: Reader,
    train: Strips,
    validation: Strips,
    training: Training,
    *,
    windows: int,
    among: int,
    hardware: Hardware,
    run: RunFolder,
    progress: bool,
) -> None:
    """Train the reader, or go on where it was stopped, to the last step.

    The weights are those of the last step, when the learning rate has fallen to 0, not those of the
    lowest validation loss: of a reader this rises with its certainty while it still learns.

    Args:
        reader: to be trained.
        train: strips to learn from, see `strips_of`.
        validation: strips to follow its progress by.
        training: steps and rates of this phase, and the augmentation.
        windows: of an image in a step.
        among: of so many windows of an image, the first ones, those of a step are drawn; if there
            are no more, the first is read almost always.
        hardware: what to train on.
        run: folder of this phase.
        progress: show progress on standard error.
    """
    augment = Draw(
        count=windows,
        patch=reader.patch,
        shift=margin_of(reader.patch),
        first=1.0 if among > windows else _FIRST,
        among=among if among > windows else None,
        flip=training.augmentation.flip,
        turn=training.augmentation.turn,
        colour=training.augmentation.colour,
    )
    splits, training = evened(Splits(train, validation), training)
    fit(
        reader,
        splits,
        training,
        hardware=hardware,
        augment=(augment,),
        run=run,
        resume=True,
        progress=progress,
        title=title("read"),
    )
    wait_for_all()  # rank zero writes the weights
    reader.load_state_dict(run.weights("last"))


def features_of(
    reader: Reader,
    strips: Strips,
    progress: Callable[[int], None],
    *,
    most: int | None = None,
    of: Sequence[int] | None = None,
    batch: int = 8,
) -> Float[Tensor, "n Q D"]:
    """What the encoder makes of the windows of strips, on the CPU.

    Args:
        reader: with the encoder; in evaluation mode meanwhile.
        strips: of images.
        progress: called with the number of strips done.
        most: windows of a strip, its first ones; None: all.
        of: numbers of the strips; None: all.
        batch: strips at a time.
    """
    found, numbers = [], range(len(strips)) if of is None else of
    with evaluation_mode(reader):
        for start in range(0, len(numbers), batch):
            some = numbers[start : start + batch]
            patches = reader.patches([strips[i].image for i in some])[:, :most]
            with rounding(reader.precision, patches.device.type):
                found.append(encode(reader.encoder, patches).cpu())
            progress(start + len(some))
    return torch.cat(found).clone()


def votes_of(
    reader: Reader, strips: Strips, progress: Callable[[int], None], *, most: int | None = None
) -> Float[Tensor, "n Q classes"]:
    """What the windows of every strip say, on the CPU; see `features_of`."""
    features = features_of(reader, strips, progress, most=most)
    with evaluation_mode(reader):
        return reader.vote.votes(features.to(reader.vote.log_sharpness.device)).cpu().clone()
