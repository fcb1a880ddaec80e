"""The paper's baseline on traffic signs: its patches' network on the whole scene."""

from pathlib import Path

from foveal.experiment import Experiment, seeded
from foveal.paper.recipes.traffic_signs import classes_and_notes, reader


def traffic_signs_cnn(
    *,
    data: Path | None = None,
    classes: tuple[str, ...] | None = None,
    encoder: str = "thin",
    size: tuple[int, int] | None = None,
    coordinates: bool = False,
    steps: int = 70_000,
    batch: int = 32,
    learning_rate: float = 1e-4,
    weight_decay: float = 1.0,
    clip: float = 1.0,
    shift: int = 100,
    workers: int = 0,
    seed: int = 0,
) -> Experiment:
    """Swedish traffic signs by a network that sees the whole scene: the paper's baseline.

    Settings are those of the paper's code; the rate is the one it starts from, of the four it tried
    with five seeds each: 1e-3, 5e-4, 1e-4 and 5e-5. Always saying EMPTY is right in 65.9 % of the
    test images.

    Command:  foveal train traffic_signs_cnn --data PATH
    Hardware: a GPU
    Time:     not run yet
    Paper:    63.0 % (mean of 5 runs, deviation 2.6)
    Ours:     not run yet

    Args:
        data: folder of the Swedish set, or other images as for `foveal train folder`
        classes: names of the classes in order, else those found
        encoder: timm network, trained from scratch, or thin for the one of 60 000 parameters
        size: height and width that images are resampled to, else they must be of one size
        coordinates: whether two channels tell the network where a pixel lies
        steps: of training
        batch: pictures a step
        learning_rate: the highest
        weight_decay: pull of all weights but biases and norms towards zero, times the learning
            rate: 1.0 is what the paper's code does with 1e-4
        clip: largest value of a gradient's entry
        shift: largest random translation in pixels
        workers: processes that decode images
        seed: of all random numbers
    """
    settings = dict(locals(), data=data and data.resolve())  # before any other name exists
    from foveal.models import WholeImage
    from foveal.nn.encoders import Backbone, ThinResNet
    from foveal.paper.data import traffic_signs as swedish
    from foveal.training import Settings

    pictures = reader(settings["data"], classes, seed)
    settings["classes"], notes = classes_and_notes(pictures, settings["data"], classes)
    channels = 5 if coordinates else 3
    with seeded(seed):
        thin = encoder == "thin"
        model = WholeImage(
            encoder=ThinResNet(channels) if thin else Backbone(encoder, channels=channels),
            classes=len(settings["classes"]),
            size=size,
            coordinates=coordinates,
        )
    return Experiment(
        recipe="traffic_signs_cnn",
        settings=settings,
        classes=settings["classes"],
        model=model,
        splits=pictures,
        write=swedish.download if data is None else None,
        training=Settings(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warm_up=0.0,
            clip_value=clip,
            clip_norm=None,
            entropy=0.0,
            shift=shift,
            colour=True,
            validate_every=max(100, steps // 70),
            workers=workers,
            seed=seed,
        ),
        notes=notes,
    )
