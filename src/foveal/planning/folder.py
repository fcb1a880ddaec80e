"""Your own images: what a model for them should look like, chosen from the images themselves."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.errors import UserError
from foveal.experiment import Experiment, seeded
from foveal.planning import sizing

if TYPE_CHECKING:
    from torch import nn

    from foveal.data import Splits
    from foveal.training import Settings

SMALLEST = 64  # pixels of a shorter side below which there is nothing to look at closely
DECODED = 2000  # images of a part that are decoded before training begins, to find damaged ones

Size = tuple[int, int]


def folder(
    *,
    data: Path,
    classes: tuple[str, ...] | None = None,
    view: tuple[int, int] | None = None,
    patch: int | None = None,
    k: int | None = None,
    encoder: str = "resnet18",
    stage: int = -1,
    scorer: str | None = None,
    scorer_stage: int = 2,
    scorer_frozen: bool = False,
    aggregate: str = "max",
    weights: Path | None = None,
    steps: int | None = None,
    batch: int = 16,
    learning_rate: float = 3e-4,
    scorer_learning_rate: float = 1.0,
    weight_decay: float = 1e-4,
    sigma: float = 0.02,
    entropy: float = 0.01,
    class_weights: bool | tuple[float, ...] = True,
    shift: int | None = None,
    flip: bool = False,
    workers: int = 0,
    seed: int = 0,
) -> Experiment:
    """Your own images, in class folders or listed in a CSV.

    What is not given is chosen from the images and said aloud: a view of a third of their length,
    at most 384 px; patches of a twelfth, 64 to 128 px; so many of them that together they cover
    about a twelfth of the image; and steps for about 40 passes.

    Command:  foveal train folder --data PATH
    Hardware: any; a GPU where images are many
    Time:     depends on the images; about 40 passes over them

    Args:
        data: a folder with a folder per class, or a CSV with columns file,label
        classes: names of the classes in order, else those found
        view: height and width of the view of the whole image in pixels, as in [224,384]
        patch: side of a patch in pixels of the full image
        k: how many patches are looked at
        encoder: timm network for the patches, or thin for the one of 60 000 parameters
        stage: which feature map of the encoder to stop at, 0 the finest, -1 the last
        scorer: timm network whose early stages score the view, else the paper's four convolutions
        scorer_stage: which feature map of that network scores; 2 has a stride of 8 in a ResNet
        scorer_frozen: whether that network stays as it came and only its last layer learns
        aggregate: what joins the patches: max (one good look suffices), mean, or transformer (where
            they were and how they relate matters too)
        weights: file (.pt or .safetensors) that encoder and scorer start from
        steps: of training
        batch: images a step
        learning_rate: the highest, after warming up
        scorer_learning_rate: what it is multiplied by for the scorer
        weight_decay: pull of all weights towards zero, times the learning rate
        sigma: noise on the scores at the start, in [0, 1]; it falls to 0
        entropy: reward for a scorer that keeps its options open, 0 or more
        class_weights: whether rare classes count as much as frequent ones, or a weight per class
        shift: largest random translation in pixels, else a thirtieth of the image's length
        flip: whether training images are mirrored at random; not for writing or road signs
        workers: processes that decode images
        seed: of all random numbers
    """
    settings = dict(locals())  # before any other name exists
    settings |= {"data": data.resolve(), "weights": weights and weights.resolve()}
    splits = _Reader(settings["data"], classes, seed)
    notes: tuple[str, ...] = ()
    if class_weights is True or None in (classes, view, patch, k, steps, shift):
        notes = _complete(settings, splits())
    with seeded(seed):
        model = _model(settings)
    if notes:
        sizing.try_shapes(model, sizing.sizes(splits().train))
    return Experiment(
        recipe="folder",
        settings=settings,
        classes=tuple(settings["classes"]),
        model=model,
        splits=splits,
        training=_training(settings),
        notes=notes,
    )


class _Reader:
    """Reads the images of the parts when first called, and keeps the list of them."""

    def __init__(self, data: Path, classes: tuple[str, ...] | None, seed: int) -> None:
        self.data, self.classes, self.seed = data, classes, seed
        self.splits: Splits | None = None

    def __call__(self) -> "Splits":
        from foveal.data.folder import read_folder

        if self.splits is None:
            self.splits = read_folder(self.data, seed=self.seed, classes=self.classes)
        return self.splits


def _complete(settings: dict[str, Any], splits: "Splits") -> tuple[str, ...]:
    """Fill in what was left open, from the images; return what to say about it."""
    from foveal.data.folder import check, describe

    for part in (splits.train, splits.validation, splits.test):
        if part is not None:
            check(part, decode=len(part) <= DECODED)
    sizes = sizing.sizes(splits.train)
    typical = sizing.median(sizes)
    given = {name: value for name, value in settings.items() if value is not None}
    if {"view", "patch"} - set(given) and min(typical) < SMALLEST:
        raise UserError(
            f"{settings['data']}: images of about {_shown(typical)} px, too small to look at in "
            f"patches: use images of at least {SMALLEST} px, or give --view and --patch"
        )
    settings["classes"] = splits.train.classes
    settings["view"] = given.get("view", sizing.view(typical))
    settings["patch"] = given.get("patch", sizing.patch(typical))
    settings["k"] = given.get("k", sizing.k(typical, settings["patch"]))
    settings["steps"] = given.get("steps", sizing.steps(len(splits.train), settings["batch"]))
    settings["shift"] = given.get("shift", max(typical) // 30)
    if settings["class_weights"] is True:
        settings["class_weights"] = sizing.balanced(splits.train)
    _check(settings, typical)
    return describe(splits), _chosen(settings, given, typical), *sizing.scarce(splits.train)


def _check(settings: dict[str, Any], image: Size) -> None:
    """Refuse what cannot be meant, before anything is built."""
    patch = settings["patch"]
    if not 1 <= patch <= min(image):
        raise UserError(
            f"--patch {patch}: a patch must be smaller than the images, which are about "
            f"{_shown(image)} px; choose 1 to {min(image)}"
        )
    if settings["aggregate"] not in ("max", "mean", "transformer"):
        raise UserError(f"--aggregate {settings['aggregate']}: choose max, mean or transformer")


def _chosen(settings: dict[str, Any], given: dict[str, Any], image: Size) -> str:
    names = [name for name in ("view", "patch", "k", "steps", "shift") if name not in given]
    chosen = ", ".join(f"{name} {_shown(settings[name])}" for name in names)
    view, patch, k = settings["view"], settings["patch"], settings["k"]
    scale = min(view[0] / image[0], view[1] / image[1])
    seen = min(1.0, k * patch**2 / (image[0] * image[1]))
    return (
        f"{f'chosen from the images: {chosen}; ' if names else ''}of an image of "
        f"{_shown(image)} px all is seen at {scale:.0%} of its size, {seen:.1%} of it at full size"
    )


def _shown(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _model(settings: dict[str, Any]) -> "nn.Module":
    from foveal.models import PatchClassifier
    from foveal.nn import aggregators
    from foveal.nn.encoders import Backbone, ThinResNet
    from foveal.nn.scorers import BackboneScorer, ConvScorer
    from foveal.nn.selectors import TopK

    weights, name = settings["weights"], settings["scorer"]
    if settings["encoder"] == "thin":
        encoder: Any = ThinResNet(width=64)
    else:
        encoder = Backbone(settings["encoder"], stage=settings["stage"], weights=weights)
    scorer: Any = ConvScorer()
    if name is not None:
        stage, frozen = settings["scorer_stage"], settings["scorer_frozen"]
        scorer = BackboneScorer(name, stage=stage, weights=weights, frozen=frozen)
    joins: dict[str, Any] = {
        "max": lambda: aggregators.max,
        "mean": lambda: aggregators.mean,
        "transformer": lambda: aggregators.Transformer(
            encoder.features, width=128, num_layers=1, heads=4
        ),
    }
    return PatchClassifier(
        scorer=scorer,
        select=TopK(settings["k"], sigma=settings["sigma"]),
        encoder=encoder,
        aggregate=joins[settings["aggregate"]](),
        classes=len(settings["classes"]),
        view=tuple(settings["view"]),
        patch=(settings["patch"], settings["patch"]),
    )


def _training(settings: dict[str, Any]) -> "Settings":
    from foveal.training import Settings

    own = {field.name for field in fields(Settings)} - {"class_weights"}
    return Settings(
        **{name: value for name, value in settings.items() if name in own},
        class_weights=settings["class_weights"] or None,
        validate_every=max(1, settings["steps"] // 20),
        colour=True,
    )
