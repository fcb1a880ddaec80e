"""The paper's baseline on traffic signs: its patches' network on the whole scene."""

from dataclasses import dataclass, replace
from pathlib import Path

from foveal._checks import check_size
from foveal.experiment import CachedCall, Experiment, seeded
from foveal.paper.recipes.traffic_signs import classes_and_notes
from foveal.settings import Augmentation, Optimisation, Size, Training


@dataclass(frozen=True, kw_only=True)
class WholeSceneModel:
    """The network for the whole scene.

    Attributes:
        encoder: timm network, trained from scratch, or thin for the one of 60 000 parameters.
        size: height and width in pixels that scenes are resampled to; if not given, they must all
            be of one size.
        coordinates: give the network two more channels that hold the position of every pixel.
    """

    encoder: str = "thin"
    size: Size | None = None
    coordinates: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_size("size", self.size)


def traffic_signs_cnn(
    *,
    data: Path | None = None,
    classes: tuple[str, ...] | None = None,
    model: WholeSceneModel = WholeSceneModel(),
    optimisation: Optimisation = Optimisation(
        steps=70_000,
        batch=32,
        weight_decay=1.0,
        warm_up=0.0,
        clip_value=1.0,
        clip_norm=None,
        entropy=0.0,
    ),
    augmentation: Augmentation = Augmentation(shift=100, colour=True),
    seed: int = 0,
) -> Experiment:
    """Swedish traffic signs by a network that sees the whole scene: the paper's baseline.

    Settings are those of the paper's code; the learning rate is the one it starts from, of the four
    it tried with five seeds each: 1e-3, 5e-4, 1e-4 and 5e-5. A weight decay of 1.0 is what the
    paper's code does with 1e-4. A constant predictor reaches 65.9 % on the test images.

    Command:  foveal train traffic_signs_cnn --data PATH
    Hardware: a GPU
    Time:     not run yet
    Paper:    63.0 % (mean of 5 runs, deviation 2.6)
    Ours:     not run yet

    Args:
        data: folder of the Swedish set, or other images as for `foveal train folder`.
        classes: names of the classes in order; those of the data if not given.
        model: the network.
        optimisation: how the weights are optimised.
        augmentation: random changes of the training images.
        seed: seed of all random numbers.
    """
    from foveal.models import WholeImage
    from foveal.nn.encoders import Backbone, ThinResNet
    from foveal.paper.data.traffic_signs import download, read_scenes

    data = data and data.resolve()
    splits = CachedCall(read_scenes, data=data, classes=classes, seed=seed)
    classes, notes = classes_and_notes(splits, data, classes)
    splits = CachedCall(read_scenes, data=data, classes=classes, seed=seed)
    channels = 5 if model.coordinates else 3
    with seeded(seed):
        thin = model.encoder == "thin"
        network = WholeImage(
            encoder=ThinResNet(channels) if thin else Backbone(model.encoder, channels=channels),
            classes=len(classes),
            size=model.size,
            coordinates=model.coordinates,
        )
    every = optimisation.validate_every or max(100, optimisation.steps // 70)
    return Experiment(
        recipe="traffic_signs_cnn",
        options={
            "data": data,
            "classes": classes,
            "model": model,
            "optimisation": optimisation,
            "augmentation": augmentation,
            "seed": seed,
        },
        classes=classes,
        model=network,
        splits=splits,
        write=download if data is None else None,
        training=Training(
            optimisation=replace(optimisation, validate_every=every),
            augmentation=augmentation,
            seed=seed,
        ),
        notes=notes,
    )
